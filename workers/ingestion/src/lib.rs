//! Moves logs from sources to sinks, derives metrics, and accounts for every record.
