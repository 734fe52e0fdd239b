//! Records on their way into a store, many at once.

use std::ops::Range;

use bytes::Bytes;
use rustc_hash::FxHashSet;

use crate::scan::{Leaf, Member, Path, Scanner, Text, Visit};

/// A log on its way into a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Tells this record from all others for good: a store keeps one document for it, however often it is written.
    pub id: String,
    /// When it happened, milliseconds since 1970. Its UTC day decides the index or partition.
    pub timestamp: i64,
    /// The document: a [`crate::LogEntry`] as JSON.
    pub source: Bytes,
}

/// A [`Record`] among [`Records`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// As [`Record::id`].
    pub id: &'a str,
    /// As [`Record::timestamp`].
    pub timestamp: i64,
    /// As [`Record::source`].
    pub source: &'a [u8],
}

/// Records that are written together. Their sources are parts of few buffers, and their ids are in one: a record more
/// allocates nothing.
#[derive(Debug, Clone, Default)]
pub struct Records {
    rows: Vec<Row>,
    buffers: Vec<Bytes>,
    ids: String,
    numbers: Numbers,
    bytes: usize,
}

/// The paths in `fields` that have numbers.
#[derive(Debug, Clone, Default)]
struct Numbers {
    all: FxHashSet<String>,
    /// Some of them, in the order in which they come in a record: records are much like one another.
    usual: Vec<String>,
    /// The place there of the one that comes next.
    next: usize,
    /// As text.
    path: String,
}

impl Numbers {
    /// Looked through for each that is not where it was.
    const USUAL: usize = 16;

    fn note(&mut self, path: &Path<'_, '_>) {
        if self.usual.get(self.next).is_some_and(|usual| path.is(usual)) {
            self.next += 1;
            return;
        }
        if let Some(place) = self.usual.iter().position(|usual| path.is(usual)) {
            self.next = place + 1;
            return;
        }
        path.write(&mut self.path);
        if !self.all.contains(&self.path) {
            self.all.insert(self.path.clone());
            if self.usual.len() < Self::USUAL {
                self.usual.push(self.path.clone());
                self.next = self.usual.len();
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Row {
    timestamp: i64,
    buffer: u32,
    source: (u32, u32),
    id: (u32, u32),
}

/// Positions in buffers, of which none is near four gigabytes.
fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

impl Records {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The bytes of their sources.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a record whose source is a part of a buffer, and whose id is written by `id` behind what is there. Buffers
    /// are cheapest when records of one come together.
    pub fn push(&mut self, timestamp: i64, buffer: &Bytes, source: Range<usize>, id: impl FnOnce(&mut String)) {
        if self.buffers.last().is_none_or(|last| last.as_ptr() != buffer.as_ptr() || last.len() != buffer.len()) {
            self.buffers.push(buffer.clone());
        }
        let start = self.ids.len();
        id(&mut self.ids);
        self.bytes += source.len();
        self.rows.push(Row {
            timestamp,
            buffer: narrow(self.buffers.len() - 1),
            source: (narrow(source.start), narrow(source.end)),
            id: (narrow(start), narrow(self.ids.len())),
        });
    }

    /// Notes that some record has a number in `fields` at this path.
    pub fn note_number(&mut self, path: &Path<'_, '_>) {
        self.numbers.note(path);
    }

    /// The paths in `fields` that have numbers, as far as they were noted.
    pub fn numbers(&self) -> impl Iterator<Item = &str> {
        self.numbers.all.iter().map(String::as_str)
    }

    /// The records in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> {
        self.rows.iter().map(|row| self.at(row))
    }

    /// One of them, which must be there.
    #[must_use]
    pub fn get(&self, index: usize) -> RecordRef<'_> {
        self.at(&self.rows[index])
    }

    fn at(&self, row: &Row) -> RecordRef<'_> {
        RecordRef {
            id: &self.ids[row.id.0 as usize..row.id.1 as usize],
            timestamp: row.timestamp,
            source: &self.buffers[row.buffer as usize][row.source.0 as usize..row.source.1 as usize],
        }
    }

    /// One of them, which must be there, on its own. Its source is shared.
    #[must_use]
    pub fn record(&self, index: usize) -> Record {
        let row = &self.rows[index];
        let source = self.buffers[row.buffer as usize].slice(row.source.0 as usize..row.source.1 as usize);
        Record { id: self.get(index).id.to_owned(), timestamp: row.timestamp, source }
    }

    /// Some of them, by index, in the order given. Sources are shared.
    #[must_use]
    pub fn select(&self, indices: impl IntoIterator<Item = usize>) -> Self {
        let mut selected = Self { numbers: self.numbers.clone(), ..Self::default() };
        for index in indices {
            let row = self.rows[index];
            let range = row.source.0 as usize..row.source.1 as usize;
            let id = self.at(&row).id;
            selected.push(row.timestamp, &self.buffers[row.buffer as usize], range, |ids| ids.push_str(id));
        }
        selected
    }
}

impl FromIterator<Record> for Records {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut scanner = Scanner::default();
        let mut all = Self::default();
        for record in records {
            if let Ok(text) = std::str::from_utf8(&record.source) {
                scanner.scan(text, &mut Look(&mut all));
            }
            let length = record.source.len();
            all.push(record.timestamp, &record.source, 0..length, |ids| ids.push_str(&record.id));
        }
        all
    }
}

impl<const N: usize> From<[Record; N]> for Records {
    fn from(records: [Record; N]) -> Self {
        records.into_iter().collect()
    }
}

impl From<&[Record]> for Records {
    fn from(records: &[Record]) -> Self {
        records.iter().cloned().collect()
    }
}

/// Notes numbers and nothing else.
struct Look<'a>(&'a mut Records);

impl Visit for Look<'_> {
    fn member(&mut self, _: Member, _: &Text) {}

    fn tag(&mut self, _: &Text, _: &Text) {}

    fn leaf(&mut self, path: &Path<'_, '_>, leaf: Leaf) {
        if matches!(leaf, Leaf::Number(_)) {
            self.0.note_number(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, timestamp: i64, source: &'static str) -> Record {
        Record { id: id.to_owned(), timestamp, source: Bytes::from_static(source.as_bytes()) }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let given =
            [record("a", 1, r#"{"fields":{"n":1,"o":{"p":[2]}}}"#), record("", 2, ""), record("ccc", 3, "rubbish")];
        let records: Records = given.iter().cloned().collect();
        assert_eq!((records.len(), records.bytes()), (3, given.iter().map(|record| record.source.len()).sum()));
        assert_eq!((0..3).map(|index| records.record(index)).collect::<Vec<_>>(), given);
        let mut numbers: Vec<_> = records.numbers().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, ["n", "o.p"]);
        let some = records.select([2, 0]);
        assert_eq!(some.iter().map(|record| (record.id, record.timestamp)).collect::<Vec<_>>(), [("ccc", 3), ("a", 1)]);
        assert_eq!(some.record(1), given[0]);
    }

    #[test]
    fn records_of_one_buffer_share_it() {
        let buffer = Bytes::from_static(b"onetwo");
        let mut records = Records::default();
        records.push(1, &buffer, 0..3, |ids| ids.push('1'));
        records.push(2, &buffer, 3..6, |ids| ids.push('2'));
        assert_eq!(records.buffers.len(), 1);
        let shown: Vec<_> = records.iter().map(|record| (record.id, record.source)).collect();
        assert_eq!(shown, [("1", &b"one"[..]), ("2", &b"two"[..])]);
    }
}
