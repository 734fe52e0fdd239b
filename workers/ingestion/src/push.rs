//! Pushing derived metrics, in the order of each lane.
//!
//! The metrics store tells by their origin what it has counted already. Where records can be read again, logs do not
//! wait for metrics longer than a moment (see [`crate::counting`]). Elsewhere a batch is accounted for when its metrics
//! are counted, so that a crash in between makes them be derived again; only as many batches may be ahead of the metrics
//! as there are senders.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::batch::Batcher;
use crate::counting::Waiting;
use crate::deliver::Pause;
use crate::health::{Health, METRICS_UNAVAILABLE, Part};
use crate::lane::Lane;
use crate::{DeltaBatch, MetricsSink, PushError};

/// Deltas that wait for the metrics store at most, of all lanes. They take some 8 MiB.
const MOST_WAITING: u32 = if cfg!(test) { 1_000 } else { 250_000 };

/// How long logs wait for metrics where records can be read again.
const MOMENT: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 500 });

/// How long pushing what is left may take when a pipeline stops; what is left then is read again.
const FAREWELL: Duration = Duration::from_secs(1);

/// Has the metrics of a pipeline counted.
#[derive(Clone)]
pub(crate) struct Counter {
    metrics: Arc<dyn MetricsSink>,
    health: Arc<Health>,
    room: Arc<Semaphore>,
    /// Lanes, once for each batch that they have queued.
    queued: mpsc::UnboundedSender<Arc<Lane>>,
    /// Lanes that must be read again, once each time that they fall behind.
    behind: mpsc::UnboundedSender<Arc<Lane>>,
}

/// What a [`Counter`] asks others to do.
pub(crate) struct Asked {
    pub(crate) queued: mpsc::UnboundedReceiver<Arc<Lane>>,
    pub(crate) behind: mpsc::UnboundedReceiver<Arc<Lane>>,
}

/// What it takes to make metrics again of records that are read again.
pub(crate) struct Recount {
    pub(crate) counter: Counter,
    pub(crate) batcher: Batcher,
    /// Lanes that have fallen behind.
    pub(crate) behind: mpsc::UnboundedReceiver<Arc<Lane>>,
}

impl Counter {
    pub(crate) fn new(metrics: Arc<dyn MetricsSink>, health: Arc<Health>) -> (Self, Asked) {
        let (queued, to_push) = mpsc::unbounded_channel();
        let (behind, to_recount) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(MOST_WAITING as usize));
        (Self { metrics, health, room, queued, behind }, Asked { queued: to_push, behind: to_recount })
    }

    /// Notes that a lane's stream goes on to an offset. Gives from which offset on metrics are to be derived. Where
    /// nobody knows, waits until the metrics store answers, or, where records can be read again, for a moment: to guess
    /// would count twice or not at all.
    pub(crate) async fn admit(&self, lane: &Arc<Lane>, next: i64) -> i64 {
        loop {
            if let Some(from) = lane.counting.admit(next) {
                return from;
            }
            let asking = self.ask(lane);
            let is_behind = if lane.counting.can_recount() {
                match tokio::time::timeout(self.patience(), asking).await {
                    Ok(counted) => lane.counting.learn(counted),
                    Err(_) => lane.counting.fall_behind(),
                }
            } else {
                lane.counting.learn(asking.await)
            };
            if is_behind {
                self.recount(lane);
            }
        }
    }

    /// The first offset of a lane that the metrics store has not counted. Waits until it answers.
    pub(crate) async fn ask(&self, lane: &Lane) -> i64 {
        let Some(origin) = &lane.origin else { return i64::MIN };
        let mut pause = Pause::new();
        loop {
            match self.metrics.counted(origin).await {
                Ok(counted) => {
                    self.health.recover(Part::Metrics);
                    return counted.map_or(i64::MIN, |offset| i64::try_from(offset).unwrap_or(i64::MAX));
                }
                Err(error) => {
                    self.health.fail(Part::Metrics, METRICS_UNAVAILABLE, error.to_string());
                    pause.wait().await;
                }
            }
        }
    }

    fn patience(&self) -> Duration {
        if self.health.is_failing(Part::Metrics) { Duration::ZERO } else { MOMENT }
    }

    fn recount(&self, lane: &Arc<Lane>) {
        // Nobody listens where the pipeline is about to end.
        let _ = self.behind.send(lane.clone());
    }

    /// Queues what was derived of a batch of records. Gives what to wait for until the batch is accounted for.
    pub(crate) async fn queue(&self, batches: Vec<(Arc<Lane>, DeltaBatch)>) -> Vec<oneshot::Receiver<()>> {
        let deadline = tokio::time::Instant::now() + self.patience();
        let mut to_count = Vec::new();
        for (lane, batch) in batches {
            let places = u32::try_from(batch.deltas.len() + 1).unwrap_or(MOST_WAITING).min(MOST_WAITING);
            let room = self.room.clone().acquire_many_owned(places);
            let can_recount = lane.counting.can_recount();
            let room = if can_recount { tokio::time::timeout_at(deadline, room).await.ok() } else { Some(room.await) };
            // The semaphore is never closed.
            let Some(Ok(room)) = room else {
                if lane.counting.fall_behind() {
                    self.recount(&lane);
                }
                continue;
            };
            let (counted, is_counted) = oneshot::channel();
            let counted = (!can_recount).then_some(counted);
            if counted.is_some() {
                to_count.push(is_counted);
            }
            if lane.counting.queue(Waiting { batch, counted, room }) {
                self.wake(&lane, 1);
            }
        }
        to_count
    }

    fn wake(&self, lane: &Arc<Lane>, times: usize) {
        for _ in 0..times {
            // Nobody pushes any more where the pipeline has ended.
            let _ = self.queued.send(lane.clone());
        }
    }

    /// Pushes what is queued, for ever.
    pub(crate) async fn push_all(self, mut queued: mpsc::UnboundedReceiver<Arc<Lane>>) {
        while let Some(lane) = queued.recv().await {
            let Some(Waiting { batch, counted, room }) = lane.counting.next() else { continue };
            self.push(&lane, batch).await;
            drop(room);
            if let Some(counted) = counted {
                // Nobody listens any more where the batch was given up.
                let _ = counted.send(());
            }
        }
    }

    /// Waits until everything is pushed, but not long.
    pub(crate) async fn flush(&self) {
        if !self.health.is_failing(Part::Metrics) {
            // What is left is read again.
            let _ = tokio::time::timeout(FAREWELL, self.room.acquire_many(MOST_WAITING)).await;
        }
    }

    /// Everything below the offset at which a lane was handed back is counted. False where it has fallen behind again.
    pub(crate) fn reopen(&self, lane: &Arc<Lane>) -> bool {
        let queued = lane.counting.open();
        self.wake(lane, queued.unwrap_or_default());
        queued.is_some()
    }

    /// Pushes metrics of a lane until they are counted, or refused for good.
    pub(crate) async fn push(&self, lane: &Lane, mut batch: DeltaBatch) {
        let next = batch.origin.as_ref().and_then(|origin| i64::try_from(origin.next).ok());
        let mut pause = Pause::new();
        while !batch.is_over() {
            match self.metrics.push(&batch).await {
                Ok(()) => break,
                Err(PushError::Overlap(counted)) => batch.skip_to(counted),
                Err(PushError::Refused(reason)) => {
                    let deltas = batch.deltas.len();
                    tracing::error!(reason, deltas, "the metrics store refused derived metrics for good");
                    break;
                }
                Err(error @ PushError::Unavailable(_)) => {
                    self.health.fail(Part::Metrics, METRICS_UNAVAILABLE, error.to_string());
                    pause.wait().await;
                }
            }
        }
        self.health.recover(Part::Metrics);
        if let Some(next) = next {
            lane.counting.advance(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{Book, Identity, Ledger};
    use crate::testing::MemoryMetrics;
    use crate::{Delta, DeltaKind, Origin, Series};

    #[tokio::test]
    async fn what_another_worker_has_counted_is_left_out() {
        let metrics = Arc::new(MemoryMetrics::default());
        let (counter, _) = Counter::new(metrics.clone(), Arc::new(Health::new("default/shop".to_owned(), false)));
        let book = Book::new("logs", 0, Ledger::default(), None);
        let lane = Lane::new(book, Identity::Offset("a".to_owned()), Some("a".to_owned()), 0, None);
        let series = Series { metric: "errors".into(), kind: DeltaKind::Counter, labels: Arc::default() };
        let batch = |range: std::ops::Range<u64>| DeltaBatch {
            origin: Some(Origin { source: "a".to_owned(), first: range.start, next: range.end }),
            series: vec![series.clone()],
            deltas: range.map(|offset| Delta { series: 0, timestamp: 0, value: 1.0, offset }).collect(),
        };
        for range in [0..10, 4..16, 2..12, 16..20] {
            counter.push(&lane, batch(range)).await;
        }
        let offsets: Vec<u64> =
            metrics.batches.lock().iter().flat_map(|batch| batch.deltas.iter().map(|delta| delta.offset)).collect();
        assert_eq!(offsets, (0..20).collect::<Vec<_>>());
        assert_eq!(lane.counting.span().0, 20);
    }
}
