//! Writing: a batch is checked, written to the log, and only then applied.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use rustc_hash::FxHashMap;

use crate::error::StoreError;
use crate::frame;
use crate::index::{self, Index, SeriesId};
use crate::model::{
    Delta, DeltaBatch, Description, Kind, Origin, Pushed, Refusal, check_new_series, check_sample, present,
};
use crate::record::{NewSeries, Sample, put_batch, put_description};
use crate::series::Series;
use crate::state::{place, shard_of};
use crate::store::{Core, Writer};
use crate::wal::Wal;

/// Samples in one batch, at most.
pub const MAX_BATCH_SAMPLES: usize = 1_000_000;
/// Sources whose position is kept, at most. A topic's partition is one.
const MAX_SOURCES: usize = 100_000;
const MAX_SOURCE_BYTES: usize = 1024;
const MAX_DESCRIPTIONS: usize = 10_000;
const MAX_BOUNDS: usize = 200;
const MAX_HELP_BYTES: usize = 1024;
const KEPT_FRAME_BYTES: usize = 1 << 20;

/// What a batch comes to before it is written.
#[derive(Default)]
struct Plan<'a> {
    pushed: Pushed,
    new: Vec<NewSeries<'a>>,
    samples: Vec<Sample>,
}

impl Core {
    pub(crate) fn push(&self, batch: &DeltaBatch) -> Result<Pushed, StoreError> {
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
    fn write(&self, wal: &mut Wal, buffer: &mut Vec<u8>) -> Result<(), StoreError> {
        if buffer.len() > frame::MAX_RECORD {
            return Err(StoreError::Invalid("the batch is too large: send it in parts".to_owned()));
        }
        frame::end(buffer);
        let written = wal.append(buffer);
        self.note("log", &written);
        // One great batch is no reason to keep as much memory for ever.
        buffer.clear();
        buffer.shrink_to(KEPT_FRAME_BYTES);
        written.map(|_| ())
    }

    /// Keeps in mind, and counts, when a write to the data directory goes wrong.
    pub(crate) fn note<T>(&self, what: &'static str, outcome: &Result<T, StoreError>) {
        if let Err(error) = outcome {
            self.own.fail(what);
            *self.trouble.lock() = Some(error.to_string());
        }
    }

    fn mark_dirty(&self) {
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
        let conflict =
            |existing: Kind| Refusal::Type { metric: sample.metric.to_string(), existing, given: sample.kind };
        if let Some((id, kind)) = index.find(identity, &sample.metric, labels.clone()) {
            return if kind == sample.kind { Ok(id) } else { Err(conflict(kind)) };
        }
        let same = made
            .by_identity
            .get(&identity)
            .into_iter()
            .flatten()
            .map(|at| &new[*at])
            .find(|series| *series.metric == *sample.metric && series.labels.iter().copied().eq(labels.clone()));
        if let Some(series) = same {
            return if series.kind == sample.kind { Ok(series.id) } else { Err(conflict(series.kind)) };
        }
        check_new_series(sample)?;
        let existing = index.kind(&sample.metric).or_else(|| made.kinds.get(&*sample.metric).copied());
        if let Some(existing) = existing.filter(|kind| kind.type_name() != sample.kind.type_name()) {
            return Err(conflict(existing));
        }
        let limit = self.options.max_series;
        let too_many = || Refusal::TooManySeries { metric: sample.metric.to_string(), limit };
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

    pub(crate) fn describe(&self, metric: &str, description: Description) -> Result<(), StoreError> {
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
