//! Takes derived metrics from ingestion to the metrics store of the same process.

use async_trait::async_trait;
use taffrail_ingestion::{DeltaBatch, DeltaKind, MetricsSink, PushError};
use taffrail_metrics::{Delta, Kind, Origin, Store, StoreError};

/// The metrics store, as ingestion sees it.
pub(crate) struct LocalMetrics(pub(crate) Store);

#[async_trait]
impl MetricsSink for LocalMetrics {
    async fn push(&self, batch: DeltaBatch) -> Result<(), PushError> {
        let origin =
            batch.origin.map(|origin| Origin { source: origin.source, first: origin.first, next: origin.next });
        let samples = batch
            .deltas
            .into_iter()
            .map(|delta| Delta {
                metric: delta.metric,
                kind: match delta.kind {
                    DeltaKind::Counter => Kind::Counter,
                    DeltaKind::Gauge => Kind::Gauge,
                    DeltaKind::Histogram => Kind::Histogram,
                },
                labels: delta.labels,
                timestamp_ms: delta.timestamp,
                value: delta.value,
            })
            .collect();
        let pushed = self.0.push(&taffrail_metrics::DeltaBatch { origin, samples }).map_err(|error| match error {
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
