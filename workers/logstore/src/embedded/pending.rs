//! Logs that are acknowledged, but that no index has yet.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use tantivy::TantivyDocument;

use super::schema;
use crate::{Outcome, Record, RecordRef, day};

/// A log that can be stored.
pub(super) struct Prepared {
    pub(super) day: i64,
    pub(super) record: Record,
    /// None once the index has taken it; if that comes to nothing, it is made again.
    pub(super) document: Option<TantivyDocument>,
}

impl Prepared {
    /// Reads a record, which takes the most time of all that is to be done before it is acknowledged.
    pub(super) fn new(record: Record) -> Result<Self, Outcome> {
        let refused = |reason| Outcome::Refused { status: 400, reason };
        let Record { id, timestamp, source } = &record;
        let day = day::checked(RecordRef { id, timestamp: *timestamp, source }).map_err(refused)?;
        let document = schema::document(&record).map_err(refused)?;
        Ok(Self { day, record, document: Some(document) })
    }

    pub(super) const fn bytes(&self) -> usize {
        self.record.source.len()
    }
}

/// What the indices are to get next, and the ids of all that they do not have yet.
#[derive(Default)]
pub(super) struct Pending {
    /// What no round of indexing has taken yet.
    pub(super) fresh: Vec<Prepared>,
    /// The size of that, in bytes of sources.
    pub(super) bytes: usize,
    /// Since when there is something.
    pub(super) since: Option<Instant>,
    /// The ids by day: of what is fresh, and of what is being indexed.
    ids: HashMap<i64, HashSet<Box<str>>>,
    /// Why indexing is not getting on.
    pub(super) trouble: Option<String>,
    /// The store is being closed.
    pub(super) stopping: bool,
}

impl Pending {
    pub(super) fn has(&self, day: i64, id: &str) -> bool {
        self.ids.get(&day).is_some_and(|ids| ids.contains(id))
    }

    pub(super) fn has_any_of(&self, day: i64) -> bool {
        self.ids.contains_key(&day)
    }

    pub(super) fn ids_of(&self, day: i64) -> impl Iterator<Item = &str> {
        self.ids.get(&day).into_iter().flatten().map(|id| &**id)
    }

    /// False if the id was there before.
    pub(super) fn add_id(&mut self, day: i64, id: &str) -> bool {
        self.ids.entry(day).or_default().insert(id.into())
    }

    /// The index has these, or nothing has them.
    pub(super) fn forget_ids<'a>(&mut self, records: impl IntoIterator<Item = &'a Prepared>) {
        for Prepared { day, record, .. } in records {
            if let Some(ids) = self.ids.get_mut(day) {
                ids.remove(record.id.as_str());
                if ids.is_empty() {
                    self.ids.remove(day);
                }
            }
        }
    }

    pub(super) fn add(&mut self, records: Vec<Prepared>) {
        self.bytes += records.iter().map(Prepared::bytes).sum::<usize>();
        self.since = self.since.or_else(|| (!records.is_empty()).then(Instant::now));
        self.fresh.extend(records);
    }

    /// Everything fresh, for a round of indexing.
    pub(super) fn take(&mut self) -> Vec<Prepared> {
        self.bytes = 0;
        self.since = None;
        std::mem::take(&mut self.fresh)
    }
}
