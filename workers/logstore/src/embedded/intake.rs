//! The thread that acknowledges logs: it tells new ones from those that were stored before, and brings them to the
//! write-ahead log. Writes that come while the disk is busy with others go to it together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Shared;
use super::ids::{Filters, Ids};
use super::pending::{Pending, Prepared};
use crate::{Outcome, WriteError};

/// Writes go to the disk together up to this size.
const GROUP_BYTES: usize = 2 << 20;
/// With so much waiting for being indexed, in bytes of sources, nothing more is taken.
const MAX_PENDING: usize = 6 << 20;
/// How long a write waits for indexing to get on.
const PATIENCE: Duration = Duration::from_secs(10);

/// A write, and who waits for it.
pub(super) struct Write {
    /// What can be stored, and what became of the rest already.
    pub(super) records: Vec<Result<Prepared, Outcome>>,
    pub(super) bytes: usize,
    pub(super) reply: oneshot::Sender<Result<Vec<Outcome>, WriteError>>,
    /// The room that it takes until it is answered.
    pub(super) room: OwnedSemaphorePermit,
}

/// Acknowledges writes until nobody can send more of them.
pub(super) fn run(shared: &Arc<Shared>, mut writes: mpsc::Receiver<Write>) {
    let mut intake = Intake { shared: Arc::clone(shared), filters: Filters::default() };
    while let Some(first) = writes.blocking_recv() {
        let mut bytes = first.bytes;
        let mut group = vec![first];
        while bytes < GROUP_BYTES
            && let Ok(next) = writes.try_recv()
        {
            bytes += next.bytes;
            group.push(next);
        }
        intake.acknowledge(group);
    }
}

struct Intake {
    shared: Arc<Shared>,
    filters: Filters,
}

impl Intake {
    fn acknowledge(&mut self, group: Vec<Write>) {
        let (records, replies): (Vec<_>, Vec<_>) =
            group.into_iter().map(|write| (write.records, (write.reply, write.room))).unzip();
        match self.store(records) {
            Ok(outcomes) => replies.into_iter().zip(outcomes).for_each(|((reply, _room), outcomes)| {
                // Who does not wait any longer writes again, and is told that they are duplicates.
                let _ = reply.send(Ok(outcomes));
            }),
            Err(error) => replies.into_iter().for_each(|(reply, _room)| {
                let _ = reply.send(Err(error.clone()));
            }),
        }
    }

    /// Stores what is new of each write, and says what became of all of it.
    fn store(&mut self, writes: Vec<Vec<Result<Prepared, Outcome>>>) -> Result<Vec<Vec<Outcome>>, WriteError> {
        self.await_room()?;
        let mut new = Vec::new();
        let mut known = HashMap::new();
        let shared = Arc::clone(&self.shared);
        let mut pending = shared.pending.lock();
        let outcomes = writes.into_iter().map(|records| {
            let outcome = |record| match record {
                Err(outcome) => outcome,
                Ok(prepared) => match self.is_new(&mut pending, &mut known, &prepared) {
                    Ok(true) => {
                        new.push(prepared);
                        Outcome::Indexed
                    }
                    Ok(false) => Outcome::Duplicate,
                    Err(error) => Outcome::Retry { status: 503, reason: format!("its day can't be read: {error}") },
                },
            };
            records.into_iter().map(outcome).collect()
        });
        let outcomes = outcomes.collect();
        drop(pending);
        if new.is_empty() {
            return Ok(outcomes);
        }
        // Indexing begins a new segment and takes what is pending in one step, and must not come between these two.
        let mut wal = shared.wal.lock();
        let logged = wal.append(new.iter().map(|prepared| &prepared.record));
        let mut pending = shared.pending.lock();
        if let Err(error) = logged {
            pending.forget_ids(&new);
            return Err(WriteError::Unavailable(format!("its write-ahead log can't be written: {error}")));
        }
        pending.add(new);
        shared.changed.notify_all();
        Ok(outcomes)
    }

    /// Whether nobody has written this record before. If so, its id is pending from now on.
    fn is_new(
        &mut self,
        pending: &mut Pending,
        known: &mut HashMap<i64, Option<Ids>>,
        Prepared { day, record, .. }: &Prepared,
    ) -> tantivy::Result<bool> {
        if pending.has(*day, &record.id) {
            return Ok(false);
        }
        // Ids stop pending only once the index has them: whatever was written is in one or the other.
        let indexed = |known: &mut HashMap<i64, Option<Ids>>| {
            if !known.contains_key(day) {
                let index = self.shared.days.get(*day)?;
                known.insert(*day, index.map(|index| Ids::of(&index.searcher())).transpose()?);
            }
            tantivy::Result::Ok(())
        };
        let filter = self.filters.of(*day, |filter| {
            pending.ids_of(*day).for_each(|id| filter.insert(id));
            indexed(known)?;
            known.get(day).into_iter().flatten().try_for_each(|ids| ids.teach(filter))
        })?;
        if filter.may_have(&record.id) {
            indexed(known)?;
            if let Some(Some(ids)) = known.get(day)
                && ids.contain(&record.id)?
            {
                return Ok(false);
            }
        }
        filter.insert(&record.id);
        Ok(pending.add_id(*day, &record.id))
    }

    fn await_room(&self) -> Result<(), WriteError> {
        let deadline = Instant::now() + PATIENCE;
        let mut pending = self.shared.pending.lock();
        while pending.bytes >= MAX_PENDING {
            let late = self.shared.changed.wait_until(&mut pending, deadline).timed_out();
            if late || pending.stopping {
                let reason = pending.trouble.clone();
                return Err(WriteError::Unavailable(reason.unwrap_or_else(|| "it does not keep up".to_owned())));
            }
        }
        Ok(())
    }
}
