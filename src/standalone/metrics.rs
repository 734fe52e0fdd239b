//! Takes derived metrics from ingestion to the metrics store of the same process.

use async_trait::async_trait;
use taffrail_ingestion::{DeltaBatch, MetricsSink, PushError, Series};
use taffrail_metrics::{Delta, Store, StoreError};

/// The metrics store, as ingestion sees it.
pub(crate) struct LocalMetrics(pub(crate) Store);

#[async_trait]
impl MetricsSink for LocalMetrics {
    async fn push(&self, batch: &DeltaBatch) -> Result<(), PushError> {
        let sample = |delta: &taffrail_ingestion::Delta| {
            let Series { metric, kind, labels } = &batch.series[delta.series as usize];
            Delta {
                metric: metric.clone(),
                kind: (*kind).into(),
                labels: labels.clone(),
                timestamp_ms: delta.timestamp,
                value: delta.value,
            }
        };
        let samples = batch.deltas.iter().map(sample).collect();
        let batch = taffrail_metrics::DeltaBatch { origin: batch.origin.clone(), samples };
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
