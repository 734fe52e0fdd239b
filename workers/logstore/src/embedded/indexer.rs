//! The thread that brings what is acknowledged into the days' indices, in rounds, and that deletes old days.
//!
//! A round takes everything that is pending, begins a new segment of the write-ahead log, commits the index of each day
//! that logs came for, and then deletes the segments before. Each commit says which segments it has seen the end of, so
//! that after a crash nothing is indexed twice. What can't be committed stays, and is tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::Shared;
use super::day::Day;
use super::pending::Prepared;
use super::schema;
use super::writers::{Kept, Writers};

/// How long acknowledged logs wait for others to be indexed with.
const ROUND_AFTER: Duration = Duration::from_millis(400);
/// Of so much, in bytes of sources, a round is made at once.
const ROUND_BYTES: usize = 4 << 20;
/// So many days are committed at a time: it is mostly waiting for the disk.
const AT_A_TIME: usize = 8;
/// How long after a failure it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// So often at most it is looked for days that are too old.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// After so many logs it is looked whether the store is being closed.
const STOP_EVERY: usize = 1_000;

/// Indexes until the store is closed.
pub(super) fn run(shared: &Arc<Shared>) {
    let mut indexer = Indexer {
        shared: Arc::clone(shared),
        writers: Mutex::default(),
        round: None,
        retry_at: Instant::now(),
        opened: Instant::now(),
        swept: None,
    };
    while indexer.await_work() {
        indexer.work();
    }
}

struct Indexer {
    shared: Arc<Shared>,
    writers: Mutex<Writers>,
    /// What is left of a round that has failed.
    round: Option<Round>,
    retry_at: Instant,
    opened: Instant,
    swept: Option<Instant>,
}

struct Round {
    /// All of it is in segments of the write-ahead log below this number.
    logged_before: u64,
    days: BTreeMap<i64, Vec<Prepared>>,
    is_retry: bool,
}

/// Why a day was not committed.
enum Failure {
    Stopped,
    Index(tantivy::TantivyError),
}

impl<E: Into<tantivy::TantivyError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Index(error.into())
    }
}

impl Indexer {
    /// Returns when there is something to do; false when the store is being closed.
    fn await_work(&self) -> bool {
        let mut pending = self.shared.pending.lock();
        loop {
            if pending.stopping {
                return false;
            }
            let round = match (&self.round, pending.since) {
                (Some(_), _) => Some(self.retry_at),
                (None, Some(_)) if pending.bytes >= ROUND_BYTES => Some(self.retry_at),
                (None, since) => since.map(|since| self.retry_at.max(since + ROUND_AFTER)),
            };
            let times = [round, self.writers.lock().next_to_close(), Some(self.next_sweep())];
            let wake = times.into_iter().flatten().min().unwrap_or_else(Instant::now);
            if wake <= Instant::now() {
                return true;
            }
            self.shared.changed.wait_until(&mut pending, wake);
        }
    }

    fn work(&mut self) {
        let now = Instant::now();
        if self.retry_at <= now
            && let Err(reason) = self.make_round()
        {
            tracing::warn!(reason, "logs are kept, but can't be indexed now");
            self.shared.pending.lock().trouble = Some(reason);
            self.retry_at = Instant::now() + RETRY_AFTER;
        }
        let idle = self.writers.lock().take_idle();
        if let Some(error) = idle.into_iter().filter_map(|kept| kept.close().err()).last() {
            tracing::warn!(%error, "an index of logs can't be read again");
        }
        if self.next_sweep() <= now {
            self.sweep();
            self.swept = Some(now);
        }
    }

    fn make_round(&mut self) -> Result<(), String> {
        let mut round = match self.round.take() {
            Some(round) => round,
            None => {
                let mut wal = self.shared.wal.lock();
                let mut pending = self.shared.pending.lock();
                if pending.fresh.is_empty() {
                    return Ok(());
                }
                let logged_before =
                    wal.rotate().map_err(|error| format!("the write-ahead log can't be written: {error}"))?;
                let mut days: BTreeMap<_, Vec<_>> = BTreeMap::new();
                for prepared in pending.take() {
                    days.entry(prepared.day).or_default().push(prepared);
                }
                self.shared.changed.notify_all();
                Round { logged_before, days, is_retry: false }
            }
        };
        let days = Mutex::new(std::mem::take(&mut round.days).into_iter());
        let failed = Mutex::new((None, BTreeMap::new()));
        std::thread::scope(|scope| {
            let work = || {
                while let Some((day, mut records)) = { days.lock().next() } {
                    match self.index(day, &mut records, &round) {
                        Ok(()) => self.shared.pending.lock().forget_ids(&records),
                        Err(Failure::Stopped) => return,
                        Err(Failure::Index(error)) => {
                            let mut failed = failed.lock();
                            failed.0 = Some(format!("{}: {error}", crate::day::date_of(day)));
                            failed.1.insert(day, records);
                        }
                    }
                }
            };
            let count = days.lock().len().min(AT_A_TIME);
            (1..count).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        let (failed, left) = failed.into_inner();
        if self.shared.pending.lock().stopping {
            return Ok(());
        }
        if let Some(reason) = failed {
            self.round = Some(Round { days: left, is_retry: true, ..round });
            return Err(reason);
        }
        self.shared.pending.lock().trouble = None;
        let deleted = self.shared.wal.lock().delete_before(round.logged_before);
        if let Err(error) = deleted {
            // The next round deletes them.
            tracing::warn!(%error, "segments of the write-ahead log that are no longer needed can't be deleted");
        }
        Ok(())
    }

    /// Commits the logs of one day.
    fn index(&self, day: i64, records: &mut [Prepared], round: &Round) -> Result<(), Failure> {
        let day: Arc<Day> = self.shared.days.get_or_make(day)?;
        if round.is_retry && day.logged_before()? >= round.logged_before {
            // It had come further than it knew.
            return Ok(day.reload()?);
        }
        let kept = self.writers.lock().take(day.number);
        let mut writer = kept.map_or_else(|| day.writer(), |kept| Ok(kept.writer))?;
        for (count, prepared) in records.iter_mut().enumerate() {
            if count % STOP_EVERY == 0 && self.shared.pending.lock().stopping {
                return Err(Failure::Stopped);
            }
            let document = match prepared.document.take() {
                Some(document) => document,
                None => schema::document(&prepared.record).map_err(tantivy::TantivyError::InvalidArgument)?,
            };
            writer.add_document(document)?;
        }
        day.commit(&mut writer, round.logged_before)?;
        // A writer with which something went wrong is not kept, and neither is what it has not committed.
        let surplus = self.writers.lock().keep(day, writer);
        if let Some(Err(error)) = surplus.map(Kept::finish) {
            tracing::warn!(%error, "an index of logs is not as compact as it could be");
        }
        Ok(())
    }

    fn retention(&self) -> Duration {
        Duration::from_secs(self.shared.retention.load(Ordering::Relaxed))
    }

    /// When the store has been opened, and from then on the more often the less is kept.
    fn next_sweep(&self) -> Instant {
        let every = (self.retention() / 10).clamp(Duration::from_secs(1), SWEEP_EVERY);
        self.swept.map_or(self.opened, |swept| swept + every)
    }

    /// Deletes what nothing has been added to for longer than the retention.
    fn sweep(&mut self) {
        let retention = self.retention();
        for day in self.shared.days.unwritten_for(retention) {
            if self.shared.pending.lock().has_any_of(day) {
                continue;
            }
            drop(self.writers.lock().take(day));
            let date = crate::day::date_of(day);
            match self.shared.days.delete(day) {
                Ok(()) => tracing::info!(%date, "deleted a day of logs that was older than the retention"),
                Err(error) => tracing::warn!(%date, %error, "a day of logs that is too old can't be deleted"),
            }
        }
        if let Some(horizon) = SystemTime::now().checked_sub(retention)
            && let Err(error) = self.shared.letters.delete_before(horizon)
        {
            tracing::warn!(%error, "dead letters that are too old can't be deleted");
        }
    }
}
