//! The engine: takes records from the source, fills batches, and keeps the senders busy.
//!
//! What is in memory is bounded by construction: one chunk per place in the source's channel, one batch that fills, and
//! one batch per sender. While all senders are busy the batch that fills keeps growing, up to its limits; then the
//! source is not read from any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::batch::{Batch, Batcher, Room};
use crate::deliver::Courier;
use crate::health::{Health, Part, TOO_MANY_SERIES};
use crate::lane::Lane;
use crate::push::Counter;
use crate::record::Chunk;

/// Batches that are sent at the same time.
pub(crate) const SENDERS: u32 = 2;

/// Chunks of records that wait for the engine.
pub(crate) const CHUNKS: usize = 4;

/// Records that a batch never exceeds, however small they are.
const MAX_RECORDS: usize = 50_000;

/// Asks the engine not to wait for batches to fill.
#[derive(Debug, Default)]
pub(crate) struct Hurry {
    wanted: AtomicBool,
    changed: Notify,
}

impl Hurry {
    /// While this is on, batches are sent as they are.
    pub(crate) fn set(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Release);
        self.changed.notify_one();
    }
}

/// When a batch is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) records: usize,
    pub(crate) timeout: Duration,
    pub(crate) bytes: usize,
}

/// What derived metrics could not be made of.
#[derive(Debug, Default)]
pub(crate) struct Derived {
    pub(crate) without_value: AtomicU64,
    pub(crate) overflowed: AtomicU64,
}

pub(crate) struct Engine {
    pub(crate) batcher: Batcher,
    pub(crate) courier: Arc<Courier>,
    /// Where there are derived metrics.
    pub(crate) counter: Option<Counter>,
    /// What the counter is to push.
    pub(crate) to_push: Option<mpsc::UnboundedReceiver<Arc<Lane>>>,
    pub(crate) health: Arc<Health>,
    pub(crate) derived: Arc<Derived>,
    pub(crate) limits: Limits,
    pub(crate) hurry: Arc<Hurry>,
    /// Called after each resolved batch, before anybody is told of it.
    pub(crate) checkpoint: Arc<dyn Fn() + Send + Sync>,
    /// Gives up what is under way.
    pub(crate) abort: CancellationToken,
}

impl Engine {
    /// Runs until the source has closed its channel and everything is resolved, or until it is aborted.
    pub(crate) async fn run(self, records: mpsc::Receiver<Chunk>) {
        let abort = self.abort.clone();
        tokio::select! {
            () = abort.cancelled() => {}
            () = self.work(records) => {}
        }
    }

    async fn work(mut self, mut records: mpsc::Receiver<Chunk>) {
        let senders = Arc::new(Semaphore::new(SENDERS as usize));
        let pushing = self.counter.clone().zip(self.to_push.take());
        let _pushing = pushing.map(|(counter, queued)| AbortOnDropHandle::new(tokio::spawn(counter.push_all(queued))));
        // Dropped, they give up what they send: when the engine is aborted.
        let mut sending = JoinSet::new();
        let mut waiting = None;
        let mut batch = Batch::new(Instant::now());
        let mut is_open = true;
        loop {
            while sending.try_join_next().is_some() {}
            self.fill(&mut batch, &mut waiting, &senders).await;
            if !is_open && batch.is_empty() {
                break;
            }
            let deadline = batch.since + self.limits.timeout;
            // What still waits had no room.
            let is_full = waiting.is_some() || batch.bytes >= self.limits.bytes || batch.len() >= MAX_RECORDS;
            let is_due = is_full
                || !is_open
                || batch.len() >= self.limits.records
                || self.hurry.wanted.load(Ordering::Acquire)
                || Instant::now() >= deadline;
            tokio::select! {
                biased;
                permit = senders.clone().acquire_owned(), if is_due && !batch.is_empty() => {
                    // The semaphore is never closed.
                    let Ok(permit) = permit else { break };
                    let ready = std::mem::replace(&mut batch, Batch::new(Instant::now()));
                    self.send(ready, permit, &mut sending).await;
                }
                chunk = records.recv(), if is_open && !is_full => match chunk {
                    Some(chunk) => waiting = Some((Arc::new(chunk), 0)),
                    None => is_open = false,
                },
                () = self.hurry.changed.notified() => {}
                () = tokio::time::sleep_until(deadline.into()), if !is_due && !batch.is_empty() => {}
            }
        }
        while sending.join_next().await.is_some() {}
        if let Some(counter) = &self.counter {
            counter.flush().await;
        }
    }

    /// Moves records into the batch, until there are none, the batch is full, or it is large enough and a sender free.
    async fn fill(&mut self, batch: &mut Batch, waiting: &mut Option<(Arc<Chunk>, usize)>, senders: &Semaphore) {
        while let Some((chunk, from)) = waiting {
            let run = chunk.run_of(*from);
            if run.lane.is_closed() {
                // Somebody else reads it again.
                if run.indices.end == chunk.len() {
                    *waiting = None;
                } else {
                    *from = run.indices.end;
                }
                continue;
            }
            let derive_from = match (&self.counter, chunk.end_of(run)) {
                (Some(counter), Some(end)) => counter.admit(&run.lane, end).await,
                _ => i64::MAX,
            };
            let records = if senders.available_permits() > 0 { self.limits.records } else { MAX_RECORDS };
            let room = Room { records: records.min(MAX_RECORDS), bytes: self.limits.bytes };
            if batch.is_empty() {
                batch.since = Instant::now();
            }
            let to = self.batcher.add(batch, chunk, *from, derive_from, room);
            if to == chunk.len() {
                *waiting = None;
            } else if to == *from {
                break;
            } else {
                *from = to;
            }
        }
        if let Some(deriver) = &self.batcher.deriver {
            let mut deriver = deriver.lock();
            if let Some(overflow) = deriver.overflow.take() {
                self.health.fail(Part::Series, TOO_MANY_SERIES, overflow);
            }
            self.derived.without_value.store(deriver.without_value, Ordering::Relaxed);
            self.derived.overflowed.store(deriver.overflowed, Ordering::Relaxed);
        }
    }

    async fn send(&mut self, mut batch: Batch, permit: OwnedSemaphorePermit, sending: &mut JoinSet<()>) {
        let deltas = match &self.batcher.deriver {
            Some(deriver) => batch.cut(Some(&mut deriver.lock())),
            None => batch.cut(None),
        };
        let mut to_count = match &self.counter {
            Some(counter) if !deltas.is_empty() => counter.queue(deltas).await,
            _ => Vec::new(),
        };
        let courier = self.courier.clone();
        let checkpoint = self.checkpoint.clone();
        sending.spawn(async move {
            courier.deliver(&mut batch).await;
            for counted in &mut to_count {
                if counted.await.is_err() {
                    return;
                }
            }
            batch.resolve(&*checkpoint);
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests;
