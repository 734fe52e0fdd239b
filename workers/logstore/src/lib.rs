//! The log entry, and the stores that keep and search it.
