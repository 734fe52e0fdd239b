//! Records on their way through the pipeline.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut as _, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::lane::{Lane, Mark};

/// Records that a source hands over at once: one buffer, and where each of them is in it. Chunks are what keeps the cost
/// of a record down to a copy; nothing is allocated for one.
#[derive(Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    heads: Vec<Head>,
    runs: Vec<Run>,
}

/// What is known of a record beside its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) mark: Mark,
    /// The offset after this record.
    pub(crate) next: i64,
    /// Where its bytes end.
    end: u32,
}

/// Records of one lane that came one after the other.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) lane: Arc<Lane>,
    /// Which of the chunk's records these are.
    pub(crate) indices: Range<usize>,
    waiting: Option<Waiting>,
}

/// Somebody waits for what becomes of the records of a run.
#[derive(Debug)]
struct Waiting {
    ticket: Arc<Ticket>,
    /// The ticket's number for the first of them.
    first: usize,
    /// The ids that the sender chose, for as many of them as there are here; otherwise the lane makes one.
    ids: Vec<Option<String>>,
}

/// A record as its source gave it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawRecord<'a> {
    chunk: &'a Chunk,
    run: &'a Run,
    index: usize,
}

impl Chunk {
    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    /// The buffer that holds all records.
    pub(crate) fn buffer(&self) -> &Bytes {
        &self.bytes
    }

    /// The run that a record belongs to.
    pub(crate) fn run_of(&self, index: usize) -> &Run {
        &self.runs[self.runs.partition_point(|run| run.indices.end <= index)]
    }

    /// The offset after the last record of a run.
    pub(crate) fn end_of(&self, run: &Run) -> Option<i64> {
        Some(self.heads[run.indices.clone()].last()?.next)
    }

    /// A record.
    pub(crate) fn get(&self, index: usize) -> RawRecord<'_> {
        RawRecord { chunk: self, run: self.run_of(index), index }
    }

    /// How far the chunk goes in each lane.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&Arc<Lane>, i64)> {
        self.runs.iter().filter_map(|run| Some((&run.lane, self.end_of(run)?)))
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.heads[before].end as usize)
    }
}

impl<'a> RawRecord<'a> {
    /// The record at an index of a run of a chunk, where the run is known.
    pub(crate) fn of(chunk: &'a Chunk, run: &'a Run, index: usize) -> Self {
        Self { chunk, run, index }
    }

    pub(crate) fn lane(&self) -> &'a Arc<Lane> {
        &self.run.lane
    }

    pub(crate) fn head(&self) -> &'a Head {
        &self.chunk.heads[self.index]
    }

    pub(crate) fn mark(&self) -> Mark {
        self.head().mark
    }

    /// Where its bytes are in the chunk's buffer.
    pub(crate) fn range(&self) -> Range<usize> {
        self.chunk.start(self.index)..self.head().end as usize
    }

    pub(crate) fn payload(&self) -> &'a [u8] {
        &self.chunk.bytes[self.range()]
    }

    /// Its bytes, which are shared and not copied.
    pub(crate) fn share(&self) -> Bytes {
        self.chunk.bytes.slice(self.range())
    }

    /// Writes the record's id behind what is there.
    pub(crate) fn write_id(&self, id: &mut String) {
        let given = self.run.waiting.as_ref().and_then(|waiting| waiting.ids.get(self.place())?.as_deref());
        match given {
            Some(given) => id.push_str(given),
            None => self.run.lane.write_id(self.mark(), id),
        }
    }

    pub(crate) fn id(&self) -> String {
        let mut id = String::new();
        self.write_id(&mut id);
        id
    }

    /// Who waits for what becomes of it, and under which number.
    pub(crate) fn ticket(&self) -> Option<(&'a Arc<Ticket>, usize)> {
        self.run.waiting.as_ref().map(|waiting| (&waiting.ticket, waiting.first + self.place()))
    }

    /// Its place in the run.
    fn place(&self) -> usize {
        self.index - self.run.indices.start
    }
}

/// Fills chunks.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    buffer: BytesMut,
    heads: Vec<Head>,
    runs: Vec<Run>,
    /// Bytes of the last chunk: the next one will have as many.
    expected: usize,
}

impl Filling {
    /// Records that a source hands over at once, and their bytes, at most (unless one record has more).
    const MAX_RECORDS: usize = 4_000;
    const MAX_BYTES: usize = 1 << 20;

    pub(crate) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Whether it is time to hand over.
    pub(crate) fn is_full(&self) -> bool {
        self.heads.len() >= Self::MAX_RECORDS || self.buffer.len() >= Self::MAX_BYTES
    }

    /// Adds a record. `next` is the offset after it.
    pub(crate) fn push(&mut self, lane: &Arc<Lane>, mark: Mark, next: i64, payload: &[u8]) {
        let index = self.push_bytes(mark, next, payload);
        match self.runs.last_mut() {
            Some(run) if Arc::ptr_eq(&run.lane, lane) && run.waiting.is_none() => run.indices.end = index + 1,
            _ => self.runs.push(Run { lane: lane.clone(), indices: index..index + 1, waiting: None }),
        }
    }

    /// Adds a record that somebody waits for, with the id that its sender chose, if any. Those of one ticket come in the
    /// order of their numbers.
    pub(crate) fn push_for(
        &mut self,
        (ticket, number): (&Arc<Ticket>, usize),
        id: Option<String>,
        (lane, mark, next): (&Arc<Lane>, Mark, i64),
        payload: &[u8],
    ) {
        let index = self.push_bytes(mark, next, payload);
        if let Some(run) = self.runs.last_mut()
            && Arc::ptr_eq(&run.lane, lane)
            && let Some(waiting) = &mut run.waiting
            && Arc::ptr_eq(&waiting.ticket, ticket)
        {
            run.indices.end = index + 1;
            waiting.ids.push(id);
            return;
        }
        let waiting = Waiting { ticket: ticket.clone(), first: number, ids: vec![id] };
        self.runs.push(Run { lane: lane.clone(), indices: index..index + 1, waiting: Some(waiting) });
    }

    /// Gives the record's index.
    fn push_bytes(&mut self, mark: Mark, next: i64, payload: &[u8]) -> usize {
        const LEAST: usize = 16 << 10;
        let wanted = if self.is_empty() { payload.len().max(self.expected) } else { payload.len() };
        if self.buffer.capacity() - self.buffer.len() < wanted {
            // Taken back from an earlier chunk where nobody has that any more.
            self.buffer.reserve(wanted.max(LEAST));
        }
        self.buffer.put_slice(payload);
        // A chunk is not larger than its limit and one record.
        let end = u32::try_from(self.buffer.len()).unwrap_or(u32::MAX);
        self.heads.push(Head { mark, next, end });
        self.heads.len() - 1
    }

    /// What was added, if anything.
    pub(crate) fn take(&mut self) -> Option<Chunk> {
        if self.heads.is_empty() {
            return None;
        }
        self.expected = self.buffer.len();
        let spare = Vec::with_capacity(self.heads.len());
        let heads = std::mem::replace(&mut self.heads, spare);
        Some(Chunk { bytes: self.buffer.split().freeze(), heads, runs: std::mem::take(&mut self.runs) })
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Indexed,
    Duplicate,
    DeadLetter { status: u16, reason: String },
    Filtered,
}

/// Tells somebody who handed in several records together what became of all of them.
#[derive(Debug)]
pub(crate) struct Ticket {
    missing: AtomicUsize,
    fates: Mutex<Vec<Option<Fate>>>,
    complete: Notify,
}

impl Ticket {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            missing: AtomicUsize::new(count),
            fates: Mutex::new(vec![None; count]),
            complete: Notify::new(),
        })
    }

    pub(crate) fn tell(&self, index: usize, fate: Fate) {
        if self.fates.lock()[index].replace(fate).is_none() && self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.complete.notify_one();
        }
    }

    /// Waits for all of them. For one waiter.
    pub(crate) async fn all(&self) -> Vec<Fate> {
        while self.missing.load(Ordering::Acquire) > 0 {
            self.complete.notified().await;
        }
        self.fates.lock().drain(..).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{Book, Identity, Ledger};

    fn lane(partition: i32) -> Arc<Lane> {
        let book = Book::new("logs", partition, Ledger::default(), None);
        Lane::new(book, Identity::Offset(format!("logs-{partition}")), None, 0, None)
    }

    #[test]
    fn records_of_a_chunk_keep_their_bytes_their_lanes_and_who_waits() {
        let (one, two) = (lane(1), lane(2));
        let ticket = Ticket::new(9);
        let mark = |offset| Mark { offset, timestamp: 5, crc: 0 };
        let mut filling = Filling::default();
        assert!(filling.take().is_none());
        filling.push(&one, mark(0), 1, b"a");
        filling.push(&one, mark(1), 2, b"");
        filling.push(&two, mark(0), 1, b"bcd");
        filling.push_for((&ticket, 7), None, (&two, mark(1), 2), b"e");
        filling.push_for((&ticket, 8), Some("mine".to_owned()), (&two, mark(2), 3), b"fg");
        filling.push(&two, mark(3), 4, b"h");
        let chunk = filling.take().expect("records");
        let shown: Vec<_> = (0..chunk.len())
            .map(|index| {
                let raw = chunk.get(index);
                let payload = std::str::from_utf8(raw.payload()).expect("text");
                (raw.id(), payload, raw.head().next, raw.ticket().map(|(_, number)| number))
            })
            .collect();
        let expected = [
            ("logs-1-0", "a", 1, None),
            ("logs-1-1", "", 2, None),
            ("logs-2-0", "bcd", 1, None),
            ("logs-2-1", "e", 2, Some(7)),
            ("mine", "fg", 3, Some(8)),
            ("logs-2-3", "h", 4, None),
        ];
        assert_eq!(shown, expected.map(|(id, payload, next, number)| (id.to_owned(), payload, next, number)));
        let ends: Vec<_> = chunk.ends().map(|(lane, next)| (lane.book.partition, next)).collect();
        assert_eq!(ends, [(1, 2), (2, 1), (2, 3), (2, 4)]);
        assert!(filling.is_empty());
    }
}
