//! Lanes: what is under way from one ordered part of a source, and the account of it.
//!
//! A [`Lane`] is a Kafka partition while it is assigned, one file, or one source of another kind. Its records are
//! handed to the pipeline in order of offset, cut into ranges by batches, and resolved range by range in any order.
//!
//! **The invariant.** A lane's *position* is the offset below which every record is resolved: indexed, found to be
//! there already, acknowledged as a dead letter, or filtered on purpose. The ledger holds exactly the records below
//! the position, each once. Position, ledger and the mark of the last record are read together ([`Lane::snapshot`]) and
//! stored together: for Kafka in one commit (the ledger travels in the commit's metadata), for other sources in one
//! file that is replaced as a whole. After a crash a lane goes on at the stored position with the stored ledger; what was
//! under way then is read again, and counted for the first time. So `consumed = indexed + deduplicated + deadLettered +
//! filtered` holds at all times, and no record counts twice, however often the process dies.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use taffrail_crds::RecordCounts;

use crate::counting::Counting;
use crate::{Origin, digits};

/// What became of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ledger {
    pub(crate) indexed: u64,
    pub(crate) deduplicated: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) filtered: u64,
    /// Records that the source removed before they were read. They are not among those consumed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) lost: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Ledger {
    pub(crate) fn consumed(&self) -> u64 {
        self.indexed + self.deduplicated + self.dead_lettered + self.filtered
    }
}

impl From<Ledger> for RecordCounts {
    fn from(Ledger { indexed, deduplicated, dead_lettered, filtered, lost }: Ledger) -> Self {
        Self { indexed, deduplicated, dead_lettered, filtered, lost }
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        self.indexed += other.indexed;
        self.deduplicated += other.deduplicated;
        self.dead_lettered += other.dead_lettered;
        self.filtered += other.filtered;
        self.lost += other.lost;
    }
}

/// What tells a record from another one at the same offset of another incarnation of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) offset: i64,
    /// Milliseconds since 1970, as the source has it.
    pub(crate) timestamp: i64,
    /// CRC-32 of the record.
    pub(crate) crc: u32,
}

/// The account of a part of a source. It outlives the part's incarnations.
#[derive(Debug)]
pub(crate) struct Book {
    /// Kafka's topic, a file's path, or the kind of the source.
    pub(crate) topic: String,
    /// Kafka's partition, or 0.
    pub(crate) partition: i32,
    ledger: Mutex<Ledger>,
    /// Records that the source has beyond the position; negative where nobody knows.
    lag: AtomicI64,
    /// The latest event time below the position; `i64::MIN` where there is none.
    watermark: AtomicI64,
}

impl Book {
    pub(crate) fn new(topic: impl Into<String>, partition: i32, ledger: Ledger, watermark: Option<i64>) -> Arc<Self> {
        Arc::new(Self {
            topic: topic.into(),
            partition,
            ledger: Mutex::new(ledger),
            lag: AtomicI64::new(-1),
            watermark: AtomicI64::new(watermark.unwrap_or(i64::MIN)),
        })
    }

    pub(crate) fn ledger(&self) -> Ledger {
        *self.ledger.lock()
    }

    fn add(&self, ledger: &mut Ledger, range: &Resolved) {
        *ledger += range.ledger;
        if let Some(watermark) = range.watermark {
            self.watermark.fetch_max(watermark, Ordering::Relaxed);
        }
    }

    /// Notes that the source has removed records before they were read.
    pub(crate) fn add_lost(&self, records: u64) {
        self.ledger.lock().lost += records;
    }

    pub(crate) fn lag(&self) -> Option<u64> {
        u64::try_from(self.lag.load(Ordering::Relaxed)).ok()
    }

    pub(crate) fn set_lag(&self, lag: u64) {
        self.lag.store(i64::try_from(lag).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn watermark(&self) -> Option<i64> {
        Some(self.watermark.load(Ordering::Relaxed)).filter(|watermark| *watermark != i64::MIN)
    }
}

/// How a record gets its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// From its offset in a source whose offsets are never given twice.
    Offset(String),
    /// From its offset, timestamp and bytes, because a deleted and re-created topic gives the same offsets again.
    Record(String),
}

/// A resolved range of records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolved {
    pub(crate) first: i64,
    pub(crate) next: i64,
    pub(crate) ledger: Ledger,
    pub(crate) watermark: Option<i64>,
    pub(crate) last: Mark,
}

/// Position, ledger and last record, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) position: i64,
    pub(crate) ledger: Ledger,
    pub(crate) watermark: Option<i64>,
    pub(crate) last: Option<Mark>,
}

#[derive(Debug)]
struct State {
    /// The offset after the last record that was handed to the pipeline.
    read: i64,
    /// The offset up to which batches have been cut.
    cut: i64,
    position: i64,
    last: Option<Mark>,
    /// Ranges that are resolved beyond a gap, by first offset.
    beyond_gap: BTreeMap<i64, Resolved>,
}

/// Which records the ledger may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Those below the position: what is beyond it will be read again after a crash.
    ByOffset,
    /// All that are resolved: the source gives nothing twice, and whoever handed a record in has been told.
    AsResolved,
}

/// One incarnation of an ordered part of a source.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) book: Arc<Book>,
    pub(crate) identity: Identity,
    /// Under which name derived metrics are counted once; none where nothing is ever read twice.
    pub(crate) origin: Option<String>,
    /// How far its derived metrics are counted.
    pub(crate) counting: Counting,
    order: Order,
    /// The lane is no longer ours, or the source has been made anew: what is resolved from now on is not accounted for.
    closed: AtomicBool,
    state: Mutex<State>,
    moved: Condvar,
}

impl Lane {
    /// A lane that starts at an offset, and whose records can't be read again while it goes on. `last` is the record
    /// before it, if there is one.
    pub(crate) fn new(
        book: Arc<Book>,
        identity: Identity,
        origin: Option<String>,
        position: i64,
        last: Option<Mark>,
    ) -> Arc<Self> {
        Self::with(book, identity, origin, position, last, Counting::new(position, position, false))
    }

    /// A lane that starts at an offset.
    pub(crate) fn with(
        book: Arc<Book>,
        identity: Identity,
        origin: Option<String>,
        position: i64,
        last: Option<Mark>,
        counting: Counting,
    ) -> Arc<Self> {
        let state = State { read: position, cut: position, position, last, beyond_gap: BTreeMap::new() };
        Arc::new(Self {
            book,
            identity,
            origin,
            counting,
            order: Order::ByOffset,
            closed: AtomicBool::new(false),
            state: Mutex::new(state),
            moved: Condvar::new(),
        })
    }

    /// A lane of a source that gives nothing twice. Its offsets are numbers of this run, from 0.
    pub(crate) fn without_replay(book: Arc<Book>, id_prefix: String) -> Arc<Self> {
        let mut lane = Self::new(book, Identity::Offset(id_prefix), None, 0, None);
        if let Some(lane) = Arc::get_mut(&mut lane) {
            lane.order = Order::AsResolved;
        }
        lane
    }

    /// Where metrics come from that were derived from records of a range of offsets.
    pub(crate) fn origin_of(&self, range: Range<i64>) -> Option<Origin> {
        let offset = |offset: i64| u64::try_from(offset).unwrap_or_default();
        let source = self.origin.clone()?;
        Some(Origin { source, first: offset(range.start), next: offset(range.end) })
    }

    /// Writes the id of a record behind what is there.
    pub(crate) fn write_id(&self, mark: Mark, id: &mut String) {
        match &self.identity {
            Identity::Offset(prefix) => {
                id.push_str(prefix);
                id.push('-');
                digits::push_decimal(id, mark.offset);
            }
            Identity::Record(prefix) => {
                id.push_str(prefix);
                id.push('-');
                digits::push_decimal(id, mark.offset);
                id.push('-');
                // A time before 1970 is written as its two's complement.
                digits::push_hex(id, mark.timestamp.cast_unsigned(), 1);
                id.push('-');
                digits::push_hex(id, mark.crc.into(), 8);
            }
        }
    }

    /// Notes that records up to an offset were handed to the pipeline.
    pub(crate) fn hand_over(&self, next: i64) {
        let mut state = self.state.lock();
        state.read = state.read.max(next);
    }

    /// Gives a batch the range from where the last one ended up to `next`, and returns its first offset. Ranges have
    /// no gaps between them even where offsets do (compacted topics, transaction markers).
    pub(crate) fn cut(&self, next: i64) -> i64 {
        let mut state = self.state.lock();
        std::mem::replace(&mut state.cut, next)
    }

    /// Accounts for a range, and moves the position on if it was the first that was missing.
    pub(crate) fn resolve(&self, range: Resolved) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state.lock();
        let mut ledger = self.book.ledger.lock();
        state.beyond_gap.insert(range.first, range);
        if self.order == Order::AsResolved {
            self.book.add(&mut ledger, &range);
        }
        loop {
            let position = state.position;
            let Some(range) = state.beyond_gap.remove(&position) else { break };
            state.position = range.next;
            state.last = Some(range.last);
            if self.order == Order::ByOffset {
                self.book.add(&mut ledger, &range);
            }
        }
        drop(ledger);
        self.moved.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        let ledger = self.book.ledger();
        Snapshot { position: state.position, ledger, watermark: self.book.watermark(), last: state.last }
    }

    /// Whether everything that was handed to the pipeline is resolved.
    pub(crate) fn is_drained(&self) -> bool {
        let state = self.state.lock();
        state.position >= state.read
    }

    /// Blocks until everything that was handed over is resolved, or the deadline.
    pub(crate) fn wait_drained(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        while state.position < state.read {
            if self.moved.wait_until(&mut state, deadline).timed_out() {
                return state.position >= state.read;
            }
        }
        true
    }

    /// What is resolved from now on is not accounted for: somebody else reads it again, or nobody can.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Nobody waits for a lane that is closed.
        let mut state = self.state.lock();
        state.read = state.position;
        self.moved.notify_all();
    }
}

/// The books of a pipeline that are open, and the sum of those that are closed for good.
#[derive(Debug, Default)]
pub(crate) struct Books {
    open: Mutex<Vec<Arc<Book>>>,
    closed: Mutex<Ledger>,
}

impl Books {
    pub(crate) fn open(&self, book: Arc<Book>) {
        self.open.lock().push(book);
    }

    /// Takes a book away that another worker goes on with.
    pub(crate) fn hand_on(&self, book: &Arc<Book>) {
        self.open.lock().retain(|other| !Arc::ptr_eq(other, book));
    }

    /// Closes a book whose source is gone for good; its account stays.
    pub(crate) fn close(&self, book: &Arc<Book>) {
        // Whoever adds up sees it in one place or the other.
        let mut open = self.open.lock();
        open.retain(|other| !Arc::ptr_eq(other, book));
        *self.closed.lock() += book.ledger();
    }

    /// The sum of books that were closed before this process started.
    pub(crate) fn set_closed(&self, ledger: Ledger) {
        *self.closed.lock() = ledger;
    }

    pub(crate) fn closed(&self) -> Ledger {
        *self.closed.lock()
    }

    pub(crate) fn list(&self) -> Vec<Arc<Book>> {
        self.open.lock().clone()
    }

    pub(crate) fn total(&self) -> Ledger {
        self.snapshot().0
    }

    /// The sum of all books, and what it consists of: those that are open, each as it was added.
    pub(crate) fn snapshot(&self) -> (Ledger, Vec<(Arc<Book>, Ledger)>) {
        let open = self.open.lock();
        let mut total = self.closed();
        let books: Vec<_> = open.iter().map(|book| (book.clone(), book.ledger())).collect();
        books.iter().for_each(|(_, ledger)| total += *ledger);
        (total, books)
    }

    /// Records that the source has beyond the positions; none where nobody knows.
    pub(crate) fn lag(&self) -> Option<u64> {
        let books = self.list();
        if books.is_empty() { None } else { books.iter().map(|book| book.lag()).sum() }
    }

    /// The event time up to which logs were delivered: of the part of the source that is furthest behind among those
    /// with a lag; where there is no lag, of the one that is furthest ahead.
    pub(crate) fn watermark(&self) -> Option<i64> {
        let books = self.list();
        let lagging = books.iter().filter(|book| book.lag().is_some_and(|lag| lag > 0));
        let behind = lagging.filter_map(|book| book.watermark()).min();
        behind.or_else(|| books.iter().filter_map(|book| book.watermark()).max())
    }
}

/// How long a lane that is taken away is waited for. Less than a consumer group's session.
pub(crate) const DRAIN_ON_REVOKE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lane() -> Arc<Lane> {
        Lane::new(Book::new("logs", 0, Ledger::default(), None), Identity::Record("logs-0".into()), None, 0, None)
    }

    fn range(first: i64, next: i64) -> Resolved {
        let count = u64::try_from(next - first).expect("ascending");
        Resolved {
            first,
            next,
            ledger: Ledger { indexed: count, ..Ledger::default() },
            watermark: Some(next),
            last: Mark { offset: next - 1, timestamp: next, crc: 0 },
        }
    }

    proptest! {
        /// In whatever order ranges are resolved, the position stands before the first that is not, and the ledger
        /// counts exactly the records below it.
        #[test]
        fn the_position_never_passes_what_is_unresolved(
            lengths in prop::collection::vec(1_i64..20, 1..30),
            order in prop::collection::vec(any::<prop::sample::Index>(), 30),
        ) {
            let lane = lane();
            let mut ranges = Vec::new();
            let mut next = 0;
            for length in lengths {
                let first = lane.cut(next + length);
                prop_assert_eq!(first, next);
                next += length;
                lane.hand_over(next);
                ranges.push(range(first, next));
            }
            for index in order {
                if ranges.is_empty() {
                    break;
                }
                let resolved = ranges.remove(index.index(ranges.len()));
                lane.resolve(resolved);
                let unresolved = ranges.iter().map(|range| range.first).min().unwrap_or(next);
                let snapshot = lane.snapshot();
                prop_assert_eq!(snapshot.position, unresolved);
                prop_assert_eq!(snapshot.ledger.consumed(), u64::try_from(unresolved).expect("positive"));
                prop_assert_eq!(snapshot.last.map(|mark| mark.offset + 1).unwrap_or(0), unresolved);
                prop_assert_eq!(lane.is_drained(), ranges.is_empty());
            }
        }
    }

    #[test]
    fn a_closed_lane_accounts_for_nothing_and_keeps_nobody_waiting() {
        let lane = lane();
        lane.hand_over(10);
        lane.cut(10);
        lane.close();
        assert!(lane.wait_drained(Instant::now() + Duration::from_secs(60)));
        lane.resolve(range(0, 10));
        assert_eq!(lane.book.ledger(), Ledger::default());
    }

    #[test]
    fn ids_tell_incarnations_apart() {
        let lane = lane();
        let id = |mark| {
            let mut id = String::new();
            lane.write_id(mark, &mut id);
            id
        };
        let mark = Mark { offset: 5, timestamp: 1_000, crc: 7 };
        let same = id(mark);
        assert_eq!(same, "logs-0-5-3e8-00000007");
        assert_ne!(same, id(Mark { timestamp: 1_001, ..mark }));
        assert_ne!(same, id(Mark { crc: 8, ..mark }));
    }

    #[test]
    fn a_handed_on_book_leaves_no_count_and_a_closed_one_does() {
        let books = Books::default();
        let one = Book::new("a", 0, Ledger { indexed: 3, ..Ledger::default() }, Some(5));
        let two = Book::new("a", 1, Ledger { filtered: 2, ..Ledger::default() }, Some(9));
        books.open(one.clone());
        books.open(two.clone());
        one.set_lag(4);
        assert_eq!((books.total().consumed(), books.lag(), books.watermark()), (5, None, Some(5)));
        two.set_lag(0);
        one.set_lag(0);
        assert_eq!((books.lag(), books.watermark()), (Some(0), Some(9)));
        books.hand_on(&one);
        books.close(&two);
        assert_eq!((books.total().consumed(), books.lag()), (2, None));
    }
}
