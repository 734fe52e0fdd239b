//! The store: open, push, describe.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex, RwLock};
use rustc_hash::FxHashMap;
use taffrail_runtime::Telemetry;
use tokio::sync::Semaphore;

use crate::checkpoint;
use crate::error::StoreError;
use crate::frame;
use crate::index::{self, Index, SeriesId};
use crate::maintenance::{self, Signal};
use crate::model::{
    Delta, DeltaBatch, Description, Kind, Origin, Pushed, Refusal, check_new_series, check_sample, present,
};
use crate::record::{NewSeries, Record, Sample, put_batch, put_description};
use crate::series::Series;
use crate::state::{Descriptions, Shard, State, place, shard_of};
use crate::telemetry::OwnMetrics;
use crate::wal::Wal;

/// Samples in one batch, at most.
pub const MAX_BATCH_SAMPLES: usize = 1_000_000;
/// Sources whose position is kept, at most. A topic's partition is one.
const MAX_SOURCES: usize = 100_000;
const MAX_SOURCE_BYTES: usize = 1024;
const MAX_DESCRIPTIONS: usize = 10_000;
const MAX_BOUNDS: usize = 200;
const MAX_HELP_BYTES: usize = 1024;

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
    next: SeriesId,
    frame: Vec<u8>,
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

/// What a batch comes to before it is written.
#[derive(Default)]
struct Plan<'a> {
    pushed: Pushed,
    new: Vec<NewSeries<'a>>,
    samples: Vec<Sample>,
}

impl Core {
    fn push(&self, batch: &DeltaBatch) -> Result<Pushed, StoreError> {
        if batch.samples.len() > MAX_BATCH_SAMPLES {
            return Err(StoreError::Invalid(format!(
                "a batch of {} samples is too large: send at most {MAX_BATCH_SAMPLES} at once",
                batch.samples.len()
            )));
        }
        let mut writer = self.writer.lock();
        if let Some(origin) = &batch.origin
            && !self.is_to_be_counted(origin)?
        {
            self.own.batches_seen.inc();
            return Ok(Pushed { seen: true, ..Pushed::default() });
        }
        let plan = self.plan(batch, &writer);
        for (_, refusal) in &plan.pushed.reasons {
            tracing::debug!(%refusal, "refused a sample");
        }
        if plan.samples.is_empty() && batch.origin.is_none() {
            return Ok(plan.pushed);
        }
        let Writer { wal, frame, .. } = &mut *writer;
        frame::begin(frame);
        put_batch(frame, batch.origin.as_ref(), &plan.new, &plan.samples);
        self.write(wal, frame)?;
        self.apply(&mut writer, &plan);
        if let Some(origin) = &batch.origin {
            self.positions.write().insert(origin.source.clone(), origin.next);
        }
        drop(writer);
        self.own.samples.inc_by(plan.samples.len() as u64);
        self.mark_dirty();
        Ok(plan.pushed)
    }

    /// Writes the record that the frame holds.
    fn write(&self, wal: &mut Wal, buffer: &mut [u8]) -> Result<(), StoreError> {
        if buffer.len() > frame::MAX_RECORD {
            return Err(StoreError::Invalid("the batch is too large: send it in parts".to_owned()));
        }
        frame::end(buffer);
        let written = wal.append(buffer);
        self.note("log", &written);
        written.map(|_| ())
    }

    /// Keeps in mind, and counts, when a write to the data directory goes wrong.
    pub(crate) fn note<T>(&self, what: &'static str, outcome: &Result<T, StoreError>) {
        if let Err(error) = outcome {
            self.own.fail(what);
            *self.trouble.lock() = Some(error.to_string());
        }
    }

    pub(crate) fn mark_dirty(&self) {
        if !self.dirty.swap(true, Ordering::AcqRel) {
            self.signal.wake();
        }
    }

    fn is_to_be_counted(&self, origin: &Origin) -> Result<bool, StoreError> {
        if origin.first > origin.next || origin.source.len() > MAX_SOURCE_BYTES {
            return Err(StoreError::Invalid(format!(
                "positions {} to {} of a source whose name has {} bytes can't be: the first is not after the next, and \
                 a name has at most {MAX_SOURCE_BYTES} bytes",
                origin.first,
                origin.next,
                origin.source.len()
            )));
        }
        let positions = self.positions.read();
        match positions.get(&origin.source) {
            Some(&counted) if origin.next <= counted => Ok(false),
            Some(&counted) if origin.first < counted => Err(StoreError::Overlap {
                source_name: origin.source.clone(),
                first: origin.first,
                next: origin.next,
                counted,
            }),
            None if positions.len() >= MAX_SOURCES => Err(StoreError::Invalid(format!(
                "`{}` would be one source more than the {MAX_SOURCES} whose positions are kept",
                origin.source
            ))),
            _ => Ok(true),
        }
    }

    /// Finds the series of each sample, or makes up a new one, and refuses what can't be stored.
    fn plan<'a>(&self, batch: &'a DeltaBatch, writer: &Writer) -> Plan<'a> {
        let now = (self.options.clock)();
        let oldest = self.options.oldest();
        let index = self.index.read();
        let mut plan = Plan { samples: Vec::with_capacity(batch.samples.len()), ..Plan::default() };
        let mut made: Made<'a> = Made::default();
        // Taken for good only when the batch is written.
        let mut free = writer.free.iter().rev().copied().chain(writer.next..SeriesId::MAX);
        for (position, sample) in batch.samples.iter().enumerate() {
            let id = check_sample(sample, now, oldest)
                .and_then(|()| self.series_of(sample, &index, &mut plan.new, &mut made, &mut free));
            match id {
                Ok(id) => plan.samples.push((id, sample.timestamp_ms, sample.value)),
                Err(refusal) => {
                    self.own.refuse(refusal.reason());
                    plan.pushed.refuse(position, refusal);
                }
            }
        }
        plan.pushed.accepted = plan.samples.len();
        plan
    }

    fn series_of<'a>(
        &self,
        sample: &'a Delta,
        index: &Index,
        new: &mut Vec<NewSeries<'a>>,
        made: &mut Made<'a>,
        free: &mut impl Iterator<Item = SeriesId>,
    ) -> Result<SeriesId, Refusal> {
        let labels = present(&sample.labels);
        let identity = index::identity(&sample.metric, labels.clone());
        let conflict = |existing: Kind| Refusal::Type { metric: sample.metric.clone(), existing, given: sample.kind };
        if let Some((id, kind)) = index.find(identity, &sample.metric, labels.clone()) {
            return if kind == sample.kind { Ok(id) } else { Err(conflict(kind)) };
        }
        let same = made
            .by_identity
            .get(&identity)
            .into_iter()
            .flatten()
            .map(|at| &new[*at])
            .find(|series| series.metric == sample.metric && series.labels.iter().copied().eq(labels.clone()));
        if let Some(series) = same {
            return if series.kind == sample.kind { Ok(series.id) } else { Err(conflict(series.kind)) };
        }
        check_new_series(sample)?;
        let existing = index.kind(&sample.metric).or_else(|| made.kinds.get(sample.metric.as_str()).copied());
        if let Some(existing) = existing.filter(|kind| kind.type_name() != sample.kind.type_name()) {
            return Err(conflict(existing));
        }
        let limit = self.options.max_series;
        let too_many = || Refusal::TooManySeries { metric: sample.metric.clone(), limit };
        if index.len() + new.len() >= limit {
            return Err(too_many());
        }
        let id = free.next().ok_or_else(too_many)?;
        made.by_identity.entry(identity).or_default().push(new.len());
        made.kinds.insert(&sample.metric, sample.kind);
        new.push(NewSeries { id, kind: sample.kind, metric: &sample.metric, labels: labels.collect() });
        Ok(id)
    }

    fn apply(&self, writer: &mut Writer, plan: &Plan<'_>) {
        if !plan.new.is_empty() {
            let descriptions = self.descriptions.read();
            let mut index = self.index.write();
            for new in &plan.new {
                // As planned: freed numbers from the end, then those that no series has had.
                if writer.free.pop().is_none() {
                    writer.next = new.id + 1;
                }
                let identity = index.insert(new.id, new.kind, new.metric, new.labels.iter().copied());
                let (shard, slot) = shard_of(new.id);
                let series = Series::new(identity, new.kind, descriptions.bounds(new.metric));
                place(&mut self.shards[shard].write(), slot, series);
            }
            self.own.series.set(index.len() as i64);
        }
        for &(id, time, value) in &plan.samples {
            let (shard, slot) = shard_of(id);
            if let Some(Some(series)) = self.shards[shard].write().get_mut(slot) {
                series.append(time, value);
            }
        }
    }

    fn describe(&self, metric: &str, description: Description) -> Result<(), StoreError> {
        let bounds = &description.bounds;
        let is_ascending = bounds.iter().all(|bound| bound.is_finite()) && bounds.is_sorted_by(|a, b| a < b);
        if !is_ascending || bounds.len() > MAX_BOUNDS {
            return Err(StoreError::Invalid(format!(
                "the buckets of {metric} can't be {bounds:?}: write at most {MAX_BOUNDS} numbers, each greater than the \
                 one before"
            )));
        }
        if description.help.len() > MAX_HELP_BYTES {
            return Err(StoreError::Invalid(format!(
                "the help text of {metric} has {} bytes, at most {MAX_HELP_BYTES} may be",
                description.help.len()
            )));
        }
        let mut writer = self.writer.lock();
        let other_bounds = {
            let known = self.descriptions.read();
            if known.get(metric) == Some(&description) {
                return Ok(());
            }
            if known.len() >= MAX_DESCRIPTIONS {
                return Err(StoreError::Invalid(format!(
                    "{metric} would be one metric more than the {MAX_DESCRIPTIONS} that can be described"
                )));
            }
            let bounds = description.bounds();
            (bounds != *known.bounds(metric)).then_some(bounds)
        };
        let Writer { wal, frame, .. } = &mut *writer;
        frame::begin(frame);
        put_description(frame, metric, &description);
        self.write(wal, frame)?;
        if let Some(bounds) = other_bounds {
            let ids = self.index.read().series_of(metric);
            for (shard, slot) in ids.into_iter().map(shard_of) {
                if let Some(Some(series)) = self.shards[shard].write().get_mut(slot) {
                    series.set_bounds(&bounds);
                }
            }
        }
        self.descriptions.write().set(metric, description);
        drop(writer);
        self.mark_dirty();
        Ok(())
    }
}

/// The new series of a batch.
#[derive(Default)]
struct Made<'a> {
    /// Their places in the list of new series; two may have the same identity.
    by_identity: FxHashMap<u64, Vec<usize>>,
    kinds: HashMap<&'a str, Kind>,
}

#[cfg(test)]
mod tests;
