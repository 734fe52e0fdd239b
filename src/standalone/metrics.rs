//! Takes derived metrics from ingestion to the metrics store of the same process.

use async_trait::async_trait;
use taffrail_ingestion::{DeltaBatch, MetricsSink, PushError};
use taffrail_metrics::{Delta, Store, StoreError};

/// The metrics store, as ingestion sees it.
pub(crate) struct LocalMetrics(pub(crate) Store);

#[async_trait]
impl MetricsSink for LocalMetrics {
    async fn push(&self, batch: DeltaBatch) -> Result<(), PushError> {
        let samples = batch
            .deltas
            .into_iter()
            .map(|delta| Delta {
                metric: delta.metric,
                kind: delta.kind.into(),
                labels: delta.labels,
                timestamp_ms: delta.timestamp,
                value: delta.value,
            })
            .collect();
        let batch = taffrail_metrics::DeltaBatch { origin: batch.origin, samples };
        let pushed = self.0.push(&batch).map_err(|error| match error {
            StoreError::Overlap { counted, .. } => PushError::Overlap(counted),
            StoreError::Invalid(reason) => PushError::Refused(reason),
            other => PushError::Unavailable(other.to_string()),
        })?;
        if let Some((_, reason)) = pushed.reasons.first() {
            tracing::warn!(refused = pushed.refused, %reason, "the metrics store refused samples derived from logs");
        }
        Ok(())
    }

    async fn counted(&self, source: &str) -> Result<Option<u64>, PushError> {
        Ok(self.0.counted(source))
    }
}
