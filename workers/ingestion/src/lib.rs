//! Moves logs from sources to sinks, derives metrics, and accounts for every record.

#![forbid(unsafe_code)]

mod batch;
mod config;
mod counting;
mod dead_letter;
mod decode;
mod deliver;
mod deltas;
mod derive;
mod digits;
mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod health;
mod lane;
mod pipeline;
mod positions;
mod pulse;
mod push;
mod random;
mod record;
mod redrive;
mod remote;
mod sink;
mod source;
mod status;
mod telemetry;
#[cfg(test)]
mod testing;
mod transform;

pub use config::{PipelineConfig, Report, SecretError, Secrets, StartError};
pub use dead_letter::dead_letters;
pub use deltas::{Delta, DeltaBatch, DeltaKind, MetricsSink, Origin, PushError, Series};
pub use pipeline::{Pipeline, PipelineHandle};
pub use redrive::Redriver;
pub use remote::RemoteMetrics;
pub use sink::elasticsearch_options;
pub use telemetry::IngestionMetrics;
pub use transform::check_transform;
