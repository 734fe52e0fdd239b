//! The store's content, and how a record of the log changes it: the same when it is written and when it is read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::index::{Index, SeriesId};
use crate::model::{DEFAULT_BOUNDS, Description};
use crate::record::{NewSeries, Record};
use crate::series::Series;

/// Parts that the series are spread over, each with a lock of its own.
pub(crate) const SHARDS: usize = 64;

/// Series by their number divided by [`SHARDS`].
pub(crate) type Shard = Vec<Option<Box<Series>>>;

pub(crate) const fn shard_of(id: SeriesId) -> (usize, usize) {
    (id as usize % SHARDS, id as usize / SHARDS)
}

pub(crate) const fn id_of(shard: usize, slot: usize) -> SeriesId {
    (slot * SHARDS + shard) as SeriesId
}

/// What is known of metrics apart from their series.
#[derive(Debug, Clone)]
pub(crate) struct Descriptions {
    by_metric: BTreeMap<String, (Description, Arc<[f64]>)>,
    default_bounds: Arc<[f64]>,
}

impl Default for Descriptions {
    fn default() -> Self {
        Self { by_metric: BTreeMap::new(), default_bounds: Arc::from(DEFAULT_BOUNDS) }
    }
}

impl Descriptions {
    pub(crate) fn get(&self, metric: &str) -> Option<&Description> {
        self.by_metric.get(metric).map(|known| &known.0)
    }

    pub(crate) fn bounds(&self, metric: &str) -> &Arc<[f64]> {
        self.by_metric.get(metric).map_or(&self.default_bounds, |known| &known.1)
    }

    pub(crate) fn set(&mut self, metric: &str, description: Description) {
        let bounds = description.bounds();
        self.by_metric.insert(metric.to_owned(), (description, bounds));
    }

    pub(crate) fn len(&self) -> usize {
        self.by_metric.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Description)> {
        self.by_metric.iter().map(|(metric, known)| (metric, &known.0))
    }
}

/// Puts a series in its place.
pub(crate) fn place(shard: &mut Shard, slot: usize, series: Series) {
    if shard.len() <= slot {
        shard.resize_with(slot + 1, || None);
    }
    shard[slot] = Some(Box::new(series));
}

/// The whole content, while nobody else looks at it.
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) shards: Vec<Shard>,
    pub(crate) positions: FxHashMap<String, u64>,
    pub(crate) descriptions: Descriptions,
    /// The first record of the log whose effects on a shard were not in the checkpoint.
    pub(crate) read_from: [u64; SHARDS],
    /// Samples of series that are not known, because the log is not whole.
    pub(crate) orphans: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            index: Index::default(),
            shards: (0..SHARDS).map(|_| Shard::new()).collect(),
            positions: FxHashMap::default(),
            descriptions: Descriptions::default(),
            read_from: [0; SHARDS],
            orphans: 0,
        }
    }
}

impl State {
    /// Applies a record of the log again. Samples from before `oldest` count in totals only.
    pub(crate) fn replay(&mut self, number: u64, record: Record<'_>, oldest: i64) {
        match record {
            Record::Batch { position, new, samples } => {
                for series in new {
                    self.create(number, &series);
                }
                for (id, time, value) in samples {
                    let (shard, slot) = shard_of(id);
                    if number < self.read_from[shard] {
                        continue;
                    }
                    match self.shards[shard].get_mut(slot) {
                        Some(Some(series)) if time < oldest => series.count(value),
                        Some(Some(series)) => series.append(time, value),
                        _ => self.orphans += 1,
                    }
                }
                if let Some((source, next)) = position {
                    match self.positions.get_mut(source) {
                        Some(position) => *position = next.max(*position),
                        None => {
                            self.positions.insert(source.to_owned(), next);
                        }
                    }
                }
            }
            Record::Describe { metric, description } => {
                let bounds = description.bounds();
                if bounds != *self.descriptions.bounds(metric) {
                    for id in self.index.series_of(metric) {
                        let (shard, slot) = shard_of(id);
                        if number >= self.read_from[shard]
                            && let Some(Some(series)) = self.shards[shard].get_mut(slot)
                        {
                            series.set_bounds(&bounds);
                        }
                    }
                }
                self.descriptions.set(metric, description);
            }
        }
    }

    fn create(&mut self, number: u64, new: &NewSeries<'_>) {
        let (shard, slot) = shard_of(new.id);
        if number < self.read_from[shard] {
            return;
        }
        let labels = new.labels.iter().copied();
        let identity = crate::index::identity(new.metric, labels.clone());
        // A series is only made when there is none with its name and labels, under a number that is free: those that
        // are in the way had been dropped, which the log does not say.
        let same = self.index.find(identity, new.metric, labels.clone()).map(|found| found.0);
        for gone in same.into_iter().chain([new.id]) {
            let (shard, slot) = shard_of(gone);
            if let Some(place) = self.shards[shard].get_mut(slot) {
                *place = None;
            }
            self.index.remove(&[gone]);
        }
        self.index.insert(new.id, new.kind, new.metric, labels);
        place(&mut self.shards[shard], slot, Series::new(identity, new.kind, self.descriptions.bounds(new.metric)));
    }

    /// Numbers below the greatest that no series has, and the first number above.
    pub(crate) fn free_ids(&self) -> (Vec<SeriesId>, SeriesId) {
        let slots = self.shards.iter().map(Vec::len).max().unwrap_or(0);
        let mut next = (slots * SHARDS) as SeriesId;
        while next > 0 && !self.index.contains(next - 1) {
            next -= 1;
        }
        // The lowest is taken first.
        ((0..next).rev().filter(|id| !self.index.contains(*id)).collect(), next)
    }
}
