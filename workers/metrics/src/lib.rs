//! The time series database, its query engine and its HTTP interface.
