//! One assigned partition: where it starts, and whether the topic is still the one that was read before.
//!
//! With each commit goes the mark (offset, timestamp, checksum) of the last record that it accounts for. A partition
//! starts *at* that record: if it is there unchanged it is skipped, and reading goes on behind it; if another record is
//! there, the topic was deleted and made anew, and is read from its beginning. The same is done when librdkafka notices
//! while running that a topic's id has changed, because it would go on at the old offset otherwise.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::lane::{Book, Identity, Lane, Ledger, Mark, Snapshot};

/// What is committed beside the offset. Kafka allows 4,096 bytes; this has less than 300.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// What the topic's incarnation is called: the timestamp and checksum of the first record that was read of it.
    #[serde(rename = "i")]
    pub(super) incarnation: String,
    #[serde(rename = "l")]
    pub(super) last: Mark,
    #[serde(rename = "n")]
    pub(super) ledger: Ledger,
    #[serde(rename = "w")]
    pub(super) watermark: Option<i64>,
}

impl Note {
    /// Reads the metadata of a commit; none where it was not us who committed.
    pub(super) fn read(metadata: &str) -> Option<Self> {
        serde_json::from_str(metadata).ok()
    }

    pub(super) fn write(&self) -> String {
        // Texts and numbers always have JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Where an assigned partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Beginning,
    End,
    At(i64),
}

/// What to do with a record that arrived.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is news.
    Take(Arc<Lane>),
    /// It is the record before the news.
    Skip,
    /// The topic has been made anew and must be read from its beginning.
    Restart,
}

/// A partition that is assigned to this worker.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) book: Arc<Book>,
    /// `namespace/name` of the pipeline.
    pipeline: String,
    incarnation: Option<String>,
    lane: Option<Arc<Lane>>,
    /// The record that must come next, before any news.
    expected: Option<Mark>,
    /// The last record that was handed over, or committed.
    last: Option<Mark>,
    /// The position that was committed last.
    committed: Option<i64>,
    /// The offset after the partition's last record, as the broker said last.
    pub(super) end: Option<i64>,
}

impl Partition {
    /// A partition whose group has committed an offset, perhaps with a note. `known` is its book, where this process
    /// has read it before. Gives where to start, too.
    pub(super) fn assign(
        pipeline: &str,
        topic: &str,
        number: i32,
        committed: Option<(i64, Option<Note>)>,
        known: Option<Arc<Book>>,
        otherwise: Start,
    ) -> (Self, Start) {
        let note = committed.as_ref().and_then(|(_, note)| note.clone());
        let book = match (&note, known) {
            // What is committed counts, whoever committed it.
            (Some(note), _) => Book::new(topic, number, note.ledger, note.watermark),
            // The group's offsets go with the topic. We know that there was one, and that a new one starts from 0.
            (None, Some(known)) => known,
            (None, None) => Book::new(topic, number, Ledger::default(), None),
        };
        let is_new_topic = committed.is_none() && book.ledger().consumed() > 0;
        let mut partition = Self {
            book,
            pipeline: pipeline.to_owned(),
            incarnation: note.as_ref().map(|note| note.incarnation.clone()),
            lane: None,
            expected: None,
            last: None,
            committed: committed.as_ref().map(|(offset, _)| *offset),
            end: None,
        };
        let start = match (committed, note) {
            (Some((offset, _)), Some(note)) => {
                partition.expected = Some(note.last);
                partition.last = Some(note.last);
                partition.make_lane(note.incarnation, offset, Some(note.last));
                Start::At(note.last.offset)
            }
            (Some((offset, _)), None) => Start::At(offset),
            (None, _) if is_new_topic => Start::Beginning,
            (None, _) => otherwise,
        };
        (partition, start)
    }

    fn make_lane(&mut self, incarnation: String, position: i64, last: Option<Mark>) -> Arc<Lane> {
        let Book { topic, partition, .. } = &*self.book;
        let identity = Identity::Record(format!("{topic}-{partition}"));
        let origin = format!("{}/kafka/{topic}/{partition}/{incarnation}", self.pipeline);
        self.incarnation = Some(incarnation);
        let lane = Lane::new(self.book.clone(), identity, Some(origin), position, last);
        self.lane = Some(lane.clone());
        lane
    }

    /// Decides about a record.
    pub(super) fn arrived(&mut self, mark: Mark) -> Verdict {
        if let Some(expected) = self.expected.take() {
            if mark == expected {
                return Verdict::Skip;
            }
            if mark.offset == expected.offset {
                self.forget();
                return Verdict::Restart;
            }
            // A later record: retention or compaction has removed the one that was read last.
        }
        if self.last.is_some_and(|last| mark.offset <= last.offset) {
            // The offset that we wanted was out of range.
            self.forget();
        }
        self.last = Some(mark);
        let lane = match &self.lane {
            Some(lane) => lane.clone(),
            None => self.make_lane(format!("{:x}-{:08x}", mark.timestamp, mark.crc), mark.offset, None),
        };
        Verdict::Take(lane)
    }

    /// The topic was made anew: the lane of the old one is not committed any more; its account goes on.
    fn forget(&mut self) {
        let topic = &self.book.topic;
        tracing::warn!(topic, partition = self.book.partition, "the topic was deleted and made anew; reading it all");
        self.lane = None;
        self.incarnation = None;
        self.last = None;
        self.committed = None;
    }

    /// Asks for the record that was read last, to see whether it is still the same topic. Gives its offset.
    pub(super) fn verify(&mut self) -> Option<i64> {
        self.expected = self.expected.or(self.last);
        self.expected.map(|mark| mark.offset)
    }

    pub(super) fn lane(&self) -> Option<&Arc<Lane>> {
        self.lane.as_ref()
    }

    /// What is to be committed, if there is anything new.
    pub(super) fn to_commit(&self) -> Option<(i64, Note)> {
        let lane = self.lane.as_ref()?;
        let Snapshot { position, ledger, watermark, last } = lane.snapshot();
        if self.committed.is_some_and(|committed| committed >= position) {
            return None;
        }
        let note = Note { incarnation: self.incarnation.clone()?, last: last?, ledger, watermark };
        Some((position, note))
    }

    /// Notes that an offset was committed, or, with none, that it was not.
    pub(super) fn set_committed(&mut self, offset: Option<i64>) {
        self.committed = offset;
    }

    /// Works out the lag. Never negative: what we know of the broker's end may be older than what we have read.
    pub(super) fn update_lag(&self) {
        if let Some(end) = self.end {
            let position = self.lane.as_ref().map(|lane| lane.snapshot().position).or(self.committed);
            let lag = end.saturating_sub(position.unwrap_or(0)).max(0);
            self.book.set_lag(u64::try_from(lag).unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Resolved;

    fn mark(offset: i64, timestamp: i64) -> Mark {
        Mark { offset, timestamp, crc: u32::try_from(offset).expect("small") }
    }

    fn note(last: Mark) -> Note {
        let ledger = Ledger { indexed: 10, ..Ledger::default() };
        Note { incarnation: "abc".into(), last, ledger, watermark: Some(5) }
    }

    fn assigned(committed: Option<(i64, Option<Note>)>) -> (Partition, Start) {
        Partition::assign("default/shop", "logs", 3, committed, None, Start::Beginning)
    }

    fn take(partition: &mut Partition, mark: Mark) -> Arc<Lane> {
        match partition.arrived(mark) {
            Verdict::Take(lane) => lane,
            other => panic!("{other:?}"),
        }
    }

    fn resolve(lane: &Lane, last: Mark) {
        let next = last.offset + 1;
        lane.hand_over(next);
        let first = lane.cut(next);
        let indexed = u64::try_from(next - first).expect("ascending");
        lane.resolve(Resolved { first, next, ledger: Ledger { indexed, ..Ledger::default() }, watermark: None, last });
    }

    #[test]
    fn a_note_survives_the_commit() {
        let note = note(mark(9, 100));
        assert_eq!(Note::read(&note.write()), Some(note.clone()));
        assert!(note.write().len() < 300);
        assert_eq!(Note::read("someone else's"), None);
    }

    #[test]
    fn the_record_read_last_is_skipped_and_the_account_goes_on() {
        let (mut partition, start) = assigned(Some((10, Some(note(mark(9, 100))))));
        assert_eq!(start, Start::At(9));
        assert!(matches!(partition.arrived(mark(9, 100)), Verdict::Skip));
        assert_eq!(partition.to_commit(), None);
        let lane = take(&mut partition, mark(10, 101));
        assert_eq!(lane.origin.as_deref(), Some("default/shop/kafka/logs/3/abc"));
        resolve(&lane, mark(10, 101));
        let (position, note) = partition.to_commit().expect("news");
        assert_eq!((position, note.ledger.indexed, note.last), (11, 11, mark(10, 101)));
    }

    #[test]
    fn another_record_in_its_place_means_another_topic() {
        let (mut partition, _) = assigned(Some((10, Some(note(mark(9, 100))))));
        assert!(matches!(partition.arrived(mark(9, 555)), Verdict::Restart));
        let lane = take(&mut partition, mark(0, 500));
        assert_eq!(lane.origin.as_deref(), Some("default/shop/kafka/logs/3/1f4-00000000"));
        resolve(&lane, mark(0, 500));
        let (position, note) = partition.to_commit().expect("news");
        assert_eq!((position, note.ledger.indexed), (1, 11), "the account goes on");
    }

    #[test]
    fn a_topic_that_starts_again_from_zero_is_another_one() {
        let (mut partition, _) = assigned(Some((10, Some(note(mark(9, 100))))));
        let lane = take(&mut partition, mark(0, 500));
        assert_eq!(lane.snapshot().position, 0);
        let again = take(&mut partition, mark(1, 501));
        assert!(Arc::ptr_eq(&lane, &again));
        // And once more, while running.
        let third = take(&mut partition, mark(0, 900));
        assert!(!Arc::ptr_eq(&lane, &third));
    }

    #[test]
    fn a_record_that_retention_removed_is_not_missed() {
        let (mut partition, _) = assigned(Some((10, Some(note(mark(9, 100))))));
        let lane = take(&mut partition, mark(50, 500));
        assert_eq!(lane.origin.as_deref(), Some("default/shop/kafka/logs/3/abc"));
        resolve(&lane, mark(50, 500));
        assert_eq!(partition.to_commit().map(|(position, _)| position), Some(51));
    }

    #[test]
    fn a_changed_topic_is_looked_at_where_it_was_read_last() {
        let (mut partition, start) = assigned(None);
        assert_eq!((start, partition.verify()), (Start::Beginning, None));
        take(&mut partition, mark(0, 1));
        take(&mut partition, mark(1, 2));
        assert_eq!(partition.verify(), Some(1));
        assert!(matches!(partition.arrived(mark(1, 2)), Verdict::Skip));
        assert_eq!(partition.verify(), Some(1));
        assert!(matches!(partition.arrived(mark(1, 77)), Verdict::Restart));
    }

    #[test]
    fn a_group_whose_offsets_went_with_the_topic_reads_the_new_one_whole() {
        let (known, _) = assigned(Some((10, Some(note(mark(9, 100))))));
        let (partition, start) =
            Partition::assign("default/shop", "logs", 3, None, Some(known.book.clone()), Start::End);
        assert_eq!((start, partition.book.ledger().indexed), (Start::Beginning, 10));
        let (_, start) = Partition::assign("default/shop", "logs", 3, None, None, Start::End);
        assert_eq!(start, Start::End);
    }

    #[test]
    fn lag_is_never_negative() {
        let (mut partition, _) = assigned(Some((10, Some(note(mark(9, 100))))));
        partition.end = Some(4);
        partition.update_lag();
        assert_eq!(partition.book.lag(), Some(0));
        partition.end = Some(25);
        partition.update_lag();
        assert_eq!(partition.book.lag(), Some(15));
    }
}
