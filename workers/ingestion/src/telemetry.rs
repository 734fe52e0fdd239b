//! The worker's own metrics.

use taffrail_runtime::Telemetry;

/// The metrics of all pipelines of a process, named `taffrail_ingestion_…`, each with a label `pipeline`.
#[derive(Clone)]
pub struct IngestionMetrics {}

impl IngestionMetrics {
    /// Registers the metrics. Once per process.
    #[must_use]
    pub fn new(_telemetry: &Telemetry) -> Self {
        Self {}
    }
}
