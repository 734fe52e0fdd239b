//! What goes on beside reading and writing: bringing the log to the disk, checkpoints, dropping what is old.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::checkpoint;
use crate::error::StoreError;
use crate::index::SeriesId;
use crate::state::{id_of, shard_of};
use crate::store::Core;
use crate::wal;

/// The log is brought to the disk this long after the first write that is not there.
const SYNC_AFTER: Duration = Duration::from_millis(50);

/// Time between looks for what is older than the retention, at most.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// A checkpoint is written when the log has this size, or that of the last checkpoint, whichever is more: so the disk
/// takes each sample about twice, and a restart reads at most half of what it needs from the log.
const CHECKPOINT_BYTES: u64 = 32 << 20;

/// How long to wait after a checkpoint that failed.
const CHECKPOINT_RETRY: Duration = Duration::from_secs(60);

/// Wakes the thread.
pub(crate) struct Signal {
    pub(crate) stopping: Mutex<bool>,
    pub(crate) changed: Condvar,
}

impl Signal {
    pub(crate) fn wake(&self) {
        // With the lock held the thread either sleeps already, or is yet to see why it should not.
        let _guard = self.stopping.lock();
        self.changed.notify_all();
    }

    pub(crate) fn stop(&self) {
        *self.stopping.lock() = true;
        self.changed.notify_all();
    }
}

/// Starts the thread that looks after a store until it is told to stop.
pub(crate) fn start(core: Arc<Core>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("metrics-store".to_owned()).spawn(move || run(&core))
}

fn run(core: &Core) {
    let prune_every = (core.options.retention / 20).clamp(Duration::from_secs(1), PRUNE_EVERY);
    let mut next_prune = Instant::now() + prune_every;
    let mut no_checkpoint_before = Instant::now();
    loop {
        let mut stopping = core.signal.stopping.lock();
        while !*stopping && !core.dirty.load(Ordering::Acquire) {
            if core.signal.changed.wait_until(&mut stopping, next_prune).timed_out() {
                break;
            }
        }
        if !*stopping && core.dirty.load(Ordering::Acquire) {
            // Others may write in the meantime, so that one sync serves them all.
            core.signal.changed.wait_for(&mut stopping, SYNC_AFTER);
        }
        let stop = *stopping;
        drop(stopping);
        if core.dirty.load(Ordering::Acquire)
            && let Err(error) = core.sync()
        {
            tracing::error!(%error, "the metrics store's log is not safe from a loss of power");
            // It is tried again with the next write, or pruning.
        }
        if stop {
            return;
        }
        if core.wants_checkpoint() && Instant::now() >= no_checkpoint_before {
            if let Err(error) = core.checkpoint() {
                core.own.fail("checkpoint");
                tracing::error!(%error, "could not write a checkpoint of the metrics store; its log goes on growing");
            }
            no_checkpoint_before = Instant::now() + CHECKPOINT_RETRY;
        }
        if Instant::now() >= next_prune {
            core.prune();
            next_prune = Instant::now() + prune_every;
        }
    }
}

impl Core {
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let (file, path) = self.writer.lock().wal.file();
        // Before syncing: what is written from now on is for the next time.
        self.dirty.store(false, Ordering::Release);
        let synced = file.sync_data().map_err(StoreError::io("sync", &path));
        self.note("sync", &synced);
        if synced.is_ok() {
            // What could not be written before could be since, or was refused to its sender.
            *self.trouble.lock() = None;
        }
        synced
    }

    fn log_bytes(&self) -> u64 {
        let bytes = self.old_log_bytes.load(Ordering::Acquire) + self.writer.lock().wal.length();
        self.own.log_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        bytes
    }

    fn wants_checkpoint(&self) -> bool {
        self.log_bytes() > self.checkpoint_bytes.load(Ordering::Acquire).max(CHECKPOINT_BYTES)
    }

    /// Writes the whole content to a file and deletes the log before it.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        let _alone = self.maintenance.lock();
        let start = Instant::now();
        let (mut writer, number) = {
            let mut log = self.writer.lock();
            let (old, path) = log.wal.file();
            let old_bytes = log.wal.length();
            log.wal.rotate()?;
            self.old_log_bytes.fetch_add(old_bytes, Ordering::AcqRel);
            let (number, next) = (log.wal.number(), log.wal.next());
            let positions = self.positions.read().clone();
            let descriptions = self.descriptions.read().clone();
            drop(log);
            old.sync_data().map_err(StoreError::io("sync", &path))?;
            let writer = checkpoint::Writer::begin(&self.directory, number, next, positions.iter(), &descriptions)?;
            (writer, number)
        };
        for shard in 0..self.shards.len() {
            let records = {
                // No batch is half applied while this is held.
                let log = self.writer.lock();
                let index = self.index.read();
                writer.encode(shard, log.wal.next(), &self.shards[shard].read(), &index)
            };
            for record in records {
                writer.write(&record)?;
            }
        }
        let bytes = writer.finish()?;
        wal::delete_before(&self.directory, number)?;
        self.old_log_bytes.store(0, Ordering::Release);
        self.checkpoint_bytes.store(bytes, Ordering::Release);
        tracing::debug!(bytes, milliseconds = start.elapsed().as_millis() as u64, "wrote a checkpoint");
        Ok(())
    }

    /// Drops what is older than the retention, and series without samples.
    pub(crate) fn prune(&self) {
        let _alone = self.maintenance.lock();
        let oldest = self.options.oldest();
        let mut empty: Vec<SeriesId> = Vec::new();
        for (number, shard) in self.shards.iter().enumerate() {
            for (slot, series) in shard.write().iter_mut().enumerate() {
                let Some(series) = series else { continue };
                series.prune(oldest);
                if series.is_empty() {
                    empty.push(id_of(number, slot));
                }
            }
        }
        if !empty.is_empty() {
            self.drop_series(empty);
        }
        self.own.series.set(self.index.read().len() as i64);
        self.log_bytes();
    }

    fn drop_series(&self, mut empty: Vec<SeriesId>) {
        let mut writer = self.writer.lock();
        empty.retain(|id| {
            let (shard, slot) = shard_of(*id);
            let mut shard = self.shards[shard].write();
            let Some(place) = shard.get_mut(slot) else { return false };
            // A batch may have come in between.
            let is_empty = place.as_ref().is_some_and(|series| series.is_empty());
            if is_empty {
                *place = None;
            }
            is_empty
        });
        self.index.write().remove(&empty);
        tracing::debug!(series = empty.len(), "dropped series without samples");
        writer.free.extend(empty);
    }
}
