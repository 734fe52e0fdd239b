//! Moves logs from sources to sinks, derives metrics, and accounts for every record.

#![forbid(unsafe_code)]

mod config;
mod deltas;
mod pipeline;
mod telemetry;
mod transform;

pub use config::{PipelineConfig, Report, Secrets, StartError};
pub use deltas::{Delta, DeltaBatch, DeltaKind, MetricsSink, Origin, PushError};
pub use pipeline::{Pipeline, PipelineHandle};
pub use telemetry::IngestionMetrics;
pub use transform::check_transform;
