//! Pushing derived metrics, in order.
//!
//! A batch's metrics are pushed before the batch is accounted for, so that a crash in between makes them be derived
//! again; the metrics store tells by their origin what it has counted already. Logs are written to their store
//! meanwhile and do not wait; only as many batches may be ahead of the metrics as there are senders.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::deliver::Pause;
use crate::health::{Health, METRICS_UNAVAILABLE, Part};
use crate::lane::Lane;
use crate::{DeltaBatch, MetricsSink, PushError};

/// Metrics of a batch, and whom to tell when they are counted.
pub(crate) type Job = (Vec<DeltaBatch>, oneshot::Sender<()>);

/// Pushes jobs in the order in which they come, until there are no more.
pub(crate) async fn push_all(mut jobs: mpsc::Receiver<Job>, metrics: Arc<dyn MetricsSink>, health: Arc<Health>) {
    while let Some((batches, counted)) = jobs.recv().await {
        for batch in batches {
            push(batch, &*metrics, &health).await;
        }
        // Nobody listens any more where the batch was given up.
        let _ = counted.send(());
    }
}

async fn push(mut batch: DeltaBatch, metrics: &dyn MetricsSink, health: &Health) {
    let mut pause = Pause::new();
    loop {
        match metrics.push(&batch).await {
            Ok(()) => return health.recover(Part::Metrics),
            Err(PushError::Overlap(counted)) => {
                batch.skip_to(counted);
                if batch.origin.as_ref().is_some_and(|origin| origin.first >= origin.next) {
                    return health.recover(Part::Metrics);
                }
            }
            Err(PushError::Refused(reason)) => {
                tracing::error!(
                    reason,
                    deltas = batch.deltas.len(),
                    "the metrics store refused derived metrics for good"
                );
                return;
            }
            Err(error @ PushError::Unavailable(_)) => {
                health.fail(Part::Metrics, METRICS_UNAVAILABLE, error.to_string());
                pause.wait().await;
            }
        }
    }
}

/// The first offset of a lane from which on metrics are to be derived. Waits until the metrics store answers: to guess
/// would count twice or not at all.
pub(crate) async fn counted(lane: &Lane, metrics: &dyn MetricsSink, health: &Health) -> i64 {
    if let Some(offset) = lane.counted.get() {
        return *offset;
    }
    let Some(origin) = &lane.origin else { return *lane.counted.get_or_init(|| i64::MIN) };
    let mut pause = Pause::new();
    loop {
        match metrics.counted(origin).await {
            Ok(counted) => {
                health.recover(Part::Metrics);
                let offset = counted.map_or(i64::MIN, |offset| i64::try_from(offset).unwrap_or(i64::MAX));
                return *lane.counted.get_or_init(|| offset);
            }
            Err(error) => {
                health.fail(Part::Metrics, METRICS_UNAVAILABLE, error.to_string());
                pause.wait().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::MemoryMetrics;
    use crate::{Delta, DeltaKind, Origin, Series};

    #[tokio::test]
    async fn what_another_worker_has_counted_is_left_out() {
        let metrics = Arc::new(MemoryMetrics::default());
        let series = Series { metric: "errors".into(), kind: DeltaKind::Counter, labels: Arc::default() };
        let batch = |range: std::ops::Range<u64>| DeltaBatch {
            origin: Some(Origin { source: "a".to_owned(), first: range.start, next: range.end }),
            series: vec![series.clone()],
            deltas: range.map(|offset| Delta { series: 0, timestamp: 0, value: 1.0, offset }).collect(),
        };
        let health = Health::new("default/shop".to_owned());
        for range in [0..10, 4..16, 2..12, 16..20] {
            push(batch(range), &*metrics, &health).await;
        }
        let offsets: Vec<u64> =
            metrics.batches.lock().iter().flat_map(|batch| batch.deltas.iter().map(|delta| delta.offset)).collect();
        assert_eq!(offsets, (0..20).collect::<Vec<_>>());
    }
}
