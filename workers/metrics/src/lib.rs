//! The time series database, its query engine and its HTTP interface.
//!
//! [`Store`] holds series in memory, compressed, with a log on disk; it answers queries as
//! [`taffrail_query::MetricsEngine`]. [`router`] is the metrics worker's HTTP interface.

#![forbid(unsafe_code)]

mod bits;
mod checkpoint;
mod chunk;
mod codec;
mod dense;
mod engine;
mod error;
mod evaluate;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod index;
mod maintenance;
mod model;
mod record;
mod series;
mod sketch;
mod state;
mod store;
mod sum;
mod symbols;
mod telemetry;
mod totals;
mod wal;
mod write;

pub use error::StoreError;
pub use http::router;
pub use model::{
    DEFAULT_BOUNDS, Delta, DeltaBatch, Description, Kind, MAX_AHEAD_MS, MAX_LABELS, MAX_NAME_BYTES, MAX_VALUE_BYTES,
    Origin, Pushed, Refusal,
};
pub use sketch::SKETCH_RELATIVE_ERROR;
pub use store::{Clock, Options, Store, Usage};
pub use write::MAX_BATCH_SAMPLES;
