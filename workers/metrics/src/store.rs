//! The store: open, push, describe.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex, RwLock};
use rustc_hash::FxHashMap;
use taffrail_runtime::Telemetry;
use tokio::sync::Semaphore;

use crate::checkpoint;
use crate::error::StoreError;
use crate::index::{Index, SeriesId};
use crate::maintenance::{self, Signal};
use crate::model::{DeltaBatch, Description, Pushed};
use crate::record::Record;
use crate::state::{Descriptions, Shard, State};
use crate::telemetry::OwnMetrics;
use crate::wal::Wal;

/// Tells the time in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How a store is to be.
#[derive(Clone)]
pub struct Options {
    /// Samples older than this are dropped, and refused.
    pub retention: Duration,
    /// Series that there may be; samples of others are refused.
    pub max_series: usize,
    /// Tells what is old and what is yet to come.
    pub clock: Clock,
}

impl Default for Options {
    /// 15 days, a million series, the system's clock.
    fn default() -> Self {
        Self { retention: Duration::from_secs(15 * 86_400), max_series: 1_000_000, clock: Arc::new(system_time) }
    }
}

impl Options {
    /// The time before which nothing is kept.
    pub(crate) fn oldest(&self) -> i64 {
        let retention = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        (self.clock)().saturating_sub(retention)
    }
}

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Series.
    pub series: usize,
    /// Different names and values of labels.
    pub symbols: usize,
    /// Compressed blocks of samples.
    pub chunks: usize,
    /// Bytes of memory for samples and what belongs to each series, without the index.
    pub bytes: usize,
}

fn system_time() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What only one batch at a time may change.
pub(crate) struct Writer {
    pub(crate) wal: Wal,
    /// Numbers of dropped series.
    pub(crate) free: Vec<SeriesId>,
    /// The first number that no series has had.
    pub(crate) next: SeriesId,
    /// Where records are made.
    pub(crate) frame: Vec<u8>,
}

/// The store itself, shared by its handle, queries under way and the thread that looks after it.
///
/// Locks are taken in this order: `writer`, `index`, one of `shards`; the others alone.
pub(crate) struct Core {
    pub(crate) directory: PathBuf,
    pub(crate) options: Options,
    pub(crate) own: OwnMetrics,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) index: RwLock<Index>,
    pub(crate) shards: Vec<RwLock<Shard>>,
    pub(crate) positions: RwLock<FxHashMap<String, u64>>,
    pub(crate) descriptions: RwLock<Descriptions>,
    /// The log has been written to since it was last brought to the disk.
    pub(crate) dirty: AtomicBool,
    /// Bytes in segments of the log before the one that is written, which no checkpoint holds.
    pub(crate) old_log_bytes: AtomicU64,
    pub(crate) checkpoint_bytes: AtomicU64,
    /// One checkpoint or pruning at a time.
    pub(crate) maintenance: Mutex<()>,
    pub(crate) signal: Signal,
    /// What went wrong with the last write to the data directory.
    pub(crate) trouble: Mutex<Option<String>>,
    /// Queries that may run at once.
    pub(crate) queries: Semaphore,
    /// Held as long as anyone uses the directory.
    _lock: File,
}

/// A time series store in memory, with a log on disk. Cheap to clone; the last clone that is dropped closes the store.
#[derive(Clone)]
pub struct Store {
    owner: Arc<Owner>,
}

struct Owner {
    core: Arc<Core>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.core.signal.stop();
        if let Some(thread) = self.thread.take() {
            // It has reported its own end if it did not come to it.
            let _ = thread.join();
        }
    }
}

fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join("lock");
    let file = File::create(&path).map_err(StoreError::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &path)(error)),
    }
}

impl Store {
    /// Opens the store in a directory, which is made if it is not there, with all that was acknowledged before. Its own
    /// metrics are registered as `taffrail_metrics_…`. Blocks.
    ///
    /// # Errors
    /// When the directory is in use or can't be used, or holds files of another version.
    pub fn open(directory: &Path, options: Options, telemetry: &Telemetry) -> Result<Self, StoreError> {
        let start = Instant::now();
        fs::create_dir_all(directory).map_err(StoreError::io("create", directory))?;
        let lock = lock(directory)?;
        let loaded = checkpoint::load(directory)?;
        let mut state = loaded.state;
        let oldest = options.oldest();
        let (wal, recovered) = Wal::open(directory, loaded.segment, loaded.next, |number, content| {
            state.replay(number, Record::read(content)?, oldest);
            Ok(())
        })?;
        if let Some(damage) = &recovered.damage {
            tracing::warn!(
                directory = %directory.display(),
                damage,
                records = recovered.records,
                "the log of the metrics store was damaged; kept what comes before that"
            );
        }
        if state.orphans > 0 {
            tracing::warn!(samples = state.orphans, "left out samples of series that the log does not describe");
        }
        let (free, next) = state.free_ids();
        let old_log_bytes = recovered.bytes.saturating_sub(wal.length());
        let State { index, shards, positions, descriptions, .. } = state;
        tracing::info!(
            directory = %directory.display(),
            series = index.len(),
            log_records = recovered.records,
            milliseconds = start.elapsed().as_millis() as u64,
            "opened the metrics store"
        );
        let core = Arc::new(Core {
            directory: directory.to_owned(),
            own: OwnMetrics::new(telemetry),
            writer: Mutex::new(Writer { wal, free, next, frame: Vec::new() }),
            index: RwLock::new(index),
            shards: shards.into_iter().map(RwLock::new).collect(),
            positions: RwLock::new(positions),
            descriptions: RwLock::new(descriptions),
            dirty: AtomicBool::new(false),
            old_log_bytes: AtomicU64::new(old_log_bytes),
            checkpoint_bytes: AtomicU64::new(loaded.bytes),
            maintenance: Mutex::new(()),
            signal: Signal { stopping: Mutex::new(false), changed: Condvar::new() },
            trouble: Mutex::new(None),
            queries: Semaphore::new(std::thread::available_parallelism().map_or(2, |cores| cores.get() * 2)),
            options,
            _lock: lock,
        });
        core.prune();
        let thread = maintenance::start(Arc::clone(&core)).map_err(StoreError::io("start a thread for", directory))?;
        Ok(Self { owner: Arc::new(Owner { core, thread: Some(thread) }) })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.owner.core
    }

    /// Stores a batch: all of it, apart from samples that are refused each for itself, or nothing. It survives the end of
    /// the process when this returns, and a loss of power 100 ms later, or after [`Store::sync`].
    ///
    /// A batch with an origin is counted once: again, it is left out, which [`Pushed::seen`] says. Batches of one source
    /// are to be sent in order, one after the other.
    ///
    /// Blocks for as long as it takes to hand the batch to the operating system.
    ///
    /// # Errors
    /// When a part of the batch has been counted before, when it is not valid as a whole, or when it can't be written.
    pub fn push(&self, batch: &DeltaBatch) -> Result<Pushed, StoreError> {
        self.core().push(batch)
    }

    /// The first position of a source that is not counted yet; none for a source that is not known.
    #[must_use]
    pub fn counted(&self, source: &str) -> Option<u64> {
        self.core().positions.read().get(source).copied()
    }

    /// Says what a metric means, and which buckets a histogram has on `/metrics`. Other bounds than before make its
    /// running totals begin anew.
    ///
    /// # Errors
    /// When the description is not valid or can't be written.
    pub fn describe(&self, metric: &str, description: Description) -> Result<(), StoreError> {
        self.core().describe(metric, description)
    }

    /// Brings everything that was pushed to the disk. Blocks.
    ///
    /// # Errors
    /// When the operating system can't.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.core().sync()
    }

    /// Whether the last writes to the data directory went well.
    ///
    /// # Errors
    /// What did not.
    pub fn check(&self) -> Result<(), String> {
        self.core().trouble.lock().clone().map_or(Ok(()), Err)
    }

    /// What the store holds, and the memory it takes. Looks at all series.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let core = self.core();
        let mut usage = {
            let index = core.index.read();
            Usage { series: index.len(), symbols: index.symbols(), chunks: 0, bytes: 0 }
        };
        for shard in &core.shards {
            for series in shard.read().iter().flatten() {
                let (chunks, bytes) = series.size();
                usage.chunks += chunks;
                usage.bytes += bytes;
            }
        }
        usage
    }

    /// Number of series.
    #[must_use]
    pub fn series(&self) -> usize {
        self.core().index.read().len()
    }

    /// The time by the store's clock, milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> i64 {
        (self.core().options.clock)()
    }
}

#[cfg(test)]
mod tests;
