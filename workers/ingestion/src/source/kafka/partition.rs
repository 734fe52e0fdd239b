//! One assigned partition: where it starts, and whether the topic is still the one that was read before.
//!
//! With each commit goes the mark (offset, timestamp, checksum) of the last record that it accounts for. A partition
//! starts *at* that record: if it is there unchanged it is skipped, and reading goes on behind it; if another record is
//! there, the topic was deleted and made anew, and is read from its beginning. The same is done when librdkafka notices
//! while running that a topic's id has changed, because it would go on at the old offset otherwise.
//!
//! Offsets are not all records. What retention removed before it was read is a *gap*: it counts as lost once everything
//! before it is resolved, so that it is committed with the position behind it and counts once however often the process
//! dies. Behind the last record there may be marks of transactions, and records of those that were aborted: the
//! position moves past them when everything before is resolved, so that lag becomes 0.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::counting::Counting;
use crate::lane::{Book, Identity, Lane, Ledger, Mark, Snapshot};

/// What is committed beside the offset. Kafka allows 4,096 bytes; this has less than 300.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// What the topic's incarnation is called: the timestamp and checksum of the first record that was read of it.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub(super) incarnation: Option<String>,
    /// None as long as nothing of it was accounted for.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<Mark>,
    #[serde(rename = "n")]
    pub(super) ledger: Ledger,
    #[serde(rename = "w")]
    pub(super) watermark: Option<i64>,
    /// The first offset whose derived metrics may not be counted, where that is below what is committed.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(super) uncounted: Option<i64>,
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

/// Offsets whose records were removed before they were read.
#[derive(Debug, Clone, Copy)]
struct Gap {
    from: i64,
    to: i64,
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
    /// The offset that must come next; unknown until the brokers were asked where the partition begins.
    next: Option<i64>,
    /// The offset below which there is nothing that is not accounted for, or lost, or no record: as far as that is
    /// beyond the lane's position.
    passed: Option<i64>,
    /// What was lost beyond the position.
    gaps: Vec<Gap>,
    /// The position that was committed last.
    committed: Option<i64>,
    /// The offset after the partition's last record, as the broker said last.
    end: Option<i64>,
    /// Whether the consumer was told to go on elsewhere, and may say still where it was before.
    is_moving: bool,
    /// Since when there are records, and none has arrived.
    pub(super) waiting: Option<Instant>,
    /// Whether a record has arrived since the partition was assigned.
    pub(super) has_taken: bool,
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
            incarnation: None,
            lane: None,
            expected: None,
            last: None,
            next: None,
            passed: None,
            gaps: Vec::new(),
            committed: committed.as_ref().map(|(offset, _)| *offset),
            end: None,
            is_moving: false,
            waiting: None,
            has_taken: false,
        };
        let start = match (committed, note) {
            (Some((offset, _)), Some(Note { incarnation: Some(incarnation), last: Some(last), uncounted, .. })) => {
                partition.expected = Some(last);
                partition.last = Some(last);
                partition.make_lane(incarnation, offset, Some(last), uncounted);
                partition.starts_at(offset);
                Start::At(last.offset)
            }
            (Some((offset, _)), _) => {
                partition.starts_at(offset);
                Start::At(offset)
            }
            (None, _) if is_new_topic => Start::Beginning,
            (None, _) => otherwise,
        };
        (partition, start)
    }

    /// Says which offset comes first. It is committed soon, so that whoever gets the partition next starts there, too.
    pub(super) fn starts_at(&mut self, offset: i64) {
        self.next = Some(offset);
        self.passed = Some(offset);
    }

    fn make_lane(
        &mut self,
        incarnation: String,
        position: i64,
        last: Option<Mark>,
        uncounted: Option<i64>,
    ) -> Arc<Lane> {
        let Book { topic, partition, .. } = &*self.book;
        let identity = Identity::Record(format!("{topic}-{partition}"));
        let origin = format!("{}/kafka/{topic}/{partition}/{incarnation}", self.pipeline);
        self.incarnation = Some(incarnation);
        let counting = Counting::new(position, uncounted.unwrap_or(position), true);
        let lane = Lane::with(self.book.clone(), identity, Some(origin), position, last, counting);
        self.lane = Some(lane.clone());
        lane
    }

    /// Decides about a record.
    pub(super) fn arrived(&mut self, mark: Mark) -> Verdict {
        self.waiting = None;
        self.has_taken = true;
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
        self.next = Some(mark.offset + 1);
        let lane = match &self.lane {
            Some(lane) => lane.clone(),
            None => self.make_lane(format!("{:x}-{:08x}", mark.timestamp, mark.crc), mark.offset, None, None),
        };
        Verdict::Take(lane)
    }

    /// The topic was made anew: the lane of the old one is not committed any more; its account goes on.
    fn forget(&mut self) {
        let topic = &self.book.topic;
        tracing::warn!(topic, partition = self.book.partition, "the topic was deleted and made anew; reading it all");
        self.lane = None;
        self.incarnation = None;
        self.expected = None;
        self.last = None;
        self.gaps.clear();
        self.committed = None;
        self.is_moving = true;
        self.starts_at(0);
    }

    /// Asks for the record that was read last, to see whether it is still the same topic. Gives its offset.
    pub(super) fn verify(&mut self) -> Option<i64> {
        self.expected = self.expected.or(self.last);
        self.expected.map(|mark| mark.offset)
    }

    /// An offset was asked for that is not there, perhaps of this partition, which reaches from `begin` to `end`. Gives
    /// where to go on, if it was.
    pub(super) fn out_of_range(&mut self, begin: i64, end: i64) -> Option<i64> {
        let Some(next) = self.next else {
            self.starts_at(begin);
            return Some(begin);
        };
        let wanted = self.expected.map_or(next, |mark| mark.offset);
        if wanted > end {
            self.forget();
        } else if wanted >= begin {
            return None;
        }
        self.expected = None;
        self.is_moving = true;
        let next = self.next.unwrap_or(begin);
        if next < begin {
            self.gaps.push(Gap { from: next, to: begin });
            self.next = Some(begin);
            let (topic, partition, lost) = (&self.book.topic, self.book.partition, begin - next);
            tracing::warn!(topic, partition, lost, "retention has removed records before they were read");
        }
        Some(next.max(begin))
    }

    /// The consumer has passed everything below an offset, or nothing since it was told where to go on. What lies
    /// between the last record and that offset is no record.
    pub(super) fn reached(&mut self, offset: Option<i64>) {
        let (Some(next), Some(offset)) = (self.next, offset) else {
            self.is_moving = false;
            return;
        };
        let is_resolved = || self.lane.as_ref().is_none_or(|lane| lane.snapshot().position >= next);
        if offset > next && !self.is_moving && self.expected.is_none() && self.gaps.is_empty() && is_resolved() {
            self.starts_at(offset);
        }
    }

    pub(super) fn lane(&self) -> Option<&Arc<Lane>> {
        self.lane.as_ref()
    }

    /// Position and account, at one moment. Gaps below the position are settled. None where nobody knows where the
    /// partition begins.
    fn snapshot(&mut self) -> Option<Snapshot> {
        let mut snapshot = match &self.lane {
            Some(lane) => lane.snapshot(),
            None => {
                let (ledger, watermark) = (self.book.ledger(), self.book.watermark());
                Snapshot { position: self.passed?, ledger, watermark, last: None }
            }
        };
        snapshot.position = snapshot.position.max(self.passed.unwrap_or(0));
        while let Some(Gap { from, to }) = self.gaps.first().copied()
            && snapshot.position >= from
        {
            self.gaps.remove(0);
            let lost = u64::try_from(to - from).unwrap_or(0);
            self.book.add_lost(lost);
            snapshot.ledger.lost += lost;
            snapshot.position = snapshot.position.max(to);
            self.passed = Some(snapshot.position);
        }
        Some(snapshot)
    }

    /// What is to be committed, if there is anything new.
    pub(super) fn next_commit(&mut self) -> Option<(i64, Note)> {
        let Snapshot { position, ledger, watermark, last } = self.snapshot()?;
        if self.committed.is_some_and(|committed| committed >= position) {
            return None;
        }
        let incarnation = last.and(self.incarnation.clone());
        let uncounted = self.lane.as_ref().and_then(|lane| lane.counting.uncounted());
        let uncounted = uncounted.filter(|uncounted| *uncounted < position);
        Some((position, Note { incarnation, last, ledger, watermark, uncounted }))
    }

    /// Notes that an offset was committed, or, with none, that it was not.
    pub(super) fn set_committed(&mut self, offset: Option<i64>) {
        self.committed = offset;
    }

    /// Notes how far the partition reaches; none where no broker said.
    pub(super) fn set_end(&mut self, end: Option<i64>, now: Instant) {
        self.end = end.or(self.end);
        let has_more = end.is_some_and(|end| self.next.is_some_and(|next| next < end));
        self.waiting = has_more.then(|| self.waiting.unwrap_or(now));
        self.update_lag();
    }

    /// Works out the lag. Never negative: what we know of the broker's end may be older than what we have read.
    pub(super) fn update_lag(&mut self) {
        if let (Some(end), Some(snapshot)) = (self.end, self.snapshot()) {
            let lag = end.saturating_sub(snapshot.position).max(0);
            self.book.set_lag(u64::try_from(lag).unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests;
