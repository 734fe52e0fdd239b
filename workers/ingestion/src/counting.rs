//! How far the metrics that are derived from a lane are counted, and who derives them.
//!
//! Logs do not wait for metrics where records can be read again. Metrics are derived while records stream by, and wait
//! in a short queue for the metrics store. A lane whose queue has no room falls *behind*: from then on nothing is
//! derived as it streams by, and somebody else reads the lane again from the first record that is not counted. When he
//! is near the stream, the lane is handed back at an offset that the stream has not reached: he counts what is below,
//! and the stream derives what is not, which waits in the queue until he is there.
//!
//! So the ranges of a lane are pushed in order and without gaps, whoever pushes them, and each record is counted once.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::DeltaBatch;

/// Metrics that wait to be pushed.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) batch: DeltaBatch,
    /// Told when they are counted.
    pub(crate) counted: Option<oneshot::Sender<()>>,
    /// Their place in the queue.
    pub(crate) room: OwnedSemaphorePermit,
}

/// Who derives metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Nobody knows yet where to begin.
    Unknown,
    /// The stream, from an offset on.
    Stream(i64),
    /// Who reads the lane again.
    Recount,
}

#[derive(Debug)]
struct State {
    by: By,
    /// The offset that the stream has not reached.
    seen: i64,
    /// The first offset whose metrics may not be counted.
    counted: i64,
    queue: VecDeque<Waiting>,
    /// Whether everything below what is queued is counted, or queued before it.
    is_open: bool,
}

/// How far the metrics of a lane are counted.
#[derive(Debug)]
pub(crate) struct Counting {
    state: Mutex<State>,
    /// Whether records can be read again.
    can_recount: bool,
}

impl Counting {
    /// Of a lane that begins at an offset, and of which nothing need be counted before `counted`.
    pub(crate) fn new(position: i64, counted: i64, can_recount: bool) -> Self {
        let state = State { by: By::Unknown, seen: position, counted, queue: VecDeque::new(), is_open: true };
        Self { state: Mutex::new(state), can_recount }
    }

    pub(crate) fn can_recount(&self) -> bool {
        self.can_recount
    }

    /// Notes that the stream goes on to an offset. Gives from which offset on it must derive metrics; none where nobody
    /// knows yet.
    pub(crate) fn admit(&self, next: i64) -> Option<i64> {
        let mut state = self.state.lock();
        let from = match state.by {
            By::Unknown => return None,
            By::Stream(from) => from,
            By::Recount => i64::MAX,
        };
        state.seen = state.seen.max(next);
        Some(from)
    }

    /// Learns up to where the metrics store has counted. Gives whether the lane is behind.
    pub(crate) fn learn(&self, counted: i64) -> bool {
        let mut state = self.state.lock();
        if !self.can_recount {
            state.by = By::Stream(counted);
            return false;
        }
        state.counted = state.counted.max(counted);
        let is_behind = state.by == By::Recount || state.counted < state.seen;
        state.by = if is_behind { By::Recount } else { By::Stream(state.counted) };
        is_behind
    }

    /// From now on nothing is derived as it streams by. Gives whether that is news.
    pub(crate) fn fall_behind(&self) -> bool {
        let mut state = self.state.lock();
        // Room for others.
        state.queue.clear();
        std::mem::replace(&mut state.by, By::Recount) != By::Recount
    }

    /// Whether nothing is derived as it streams by.
    pub(crate) fn is_behind(&self) -> bool {
        self.state.lock().by == By::Recount
    }

    /// Queues what the stream has derived, unless somebody else counts it. Gives whether there is something to push.
    pub(crate) fn queue(&self, mut waiting: Waiting) -> bool {
        let mut state = self.state.lock();
        let By::Stream(from) = state.by else { return false };
        waiting.batch.skip_to(u64::try_from(from).unwrap_or_default());
        if waiting.batch.is_over() {
            if let Some(counted) = waiting.counted {
                // Nobody listens any more where the batch was given up.
                let _ = counted.send(());
            }
            return false;
        }
        state.queue.push_back(waiting);
        true
    }

    /// What is to be pushed next.
    pub(crate) fn next(&self) -> Option<Waiting> {
        let mut state = self.state.lock();
        if state.is_open { state.queue.pop_front() } else { None }
    }

    /// Notes that everything below an offset is counted.
    pub(crate) fn advance(&self, counted: i64) {
        let mut state = self.state.lock();
        state.counted = state.counted.max(counted);
    }

    /// The first offset that may not be counted, and the one that the stream has not reached.
    pub(crate) fn span(&self) -> (i64, i64) {
        let state = self.state.lock();
        (state.counted, state.seen)
    }

    /// The first offset that may not be counted, if the stream has come further.
    pub(crate) fn uncounted(&self) -> Option<i64> {
        let (counted, seen) = self.span();
        (counted < seen).then_some(counted)
    }

    /// Has the stream derive again, from an offset that it has not reached, which is given.
    pub(crate) fn hand_back(&self) -> i64 {
        let mut state = self.state.lock();
        let from = state.seen.max(state.counted);
        (state.by, state.is_open) = (By::Stream(from), false);
        from
    }

    /// Everything below the offset at which the lane was handed back is counted. Gives how much is queued; none where
    /// the lane has fallen behind again.
    pub(crate) fn open(&self) -> Option<usize> {
        let mut state = self.state.lock();
        let By::Stream(from) = state.by else { return None };
        (state.counted, state.is_open) = (state.counted.max(from), true);
        Some(state.queue.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::Origin;

    fn waiting(first: u64, next: u64) -> Waiting {
        let origin = Some(Origin { source: "s".to_owned(), first, next });
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("room");
        Waiting { batch: DeltaBatch { origin, ..DeltaBatch::default() }, counted: None, room }
    }

    fn range(waiting: Option<Waiting>) -> Option<(u64, u64)> {
        waiting.and_then(|waiting| waiting.batch.origin).map(|origin| (origin.first, origin.next))
    }

    #[test]
    fn a_lane_that_was_counted_further_than_logs_were_stored_derives_from_there() {
        let counting = Counting::new(10, 10, true);
        assert_eq!(counting.admit(20), None);
        assert!(!counting.learn(15));
        assert_eq!(counting.admit(20), Some(15));
        assert!(counting.queue(waiting(10, 20)));
        assert!(!counting.queue(waiting(3, 15)), "counted before");
        assert_eq!(range(counting.next()), Some((15, 20)));
    }

    #[test]
    fn a_lane_whose_logs_were_stored_further_than_it_was_counted_is_behind() {
        let counting = Counting::new(10, 4, true);
        assert!(counting.learn(6));
        assert_eq!((counting.admit(30), counting.span()), (Some(i64::MAX), (6, 30)));
    }

    #[test]
    fn a_lane_without_recount_streams_whatever_was_counted() {
        let counting = Counting::new(10, 10, false);
        assert!(!counting.learn(4));
        assert_eq!(counting.admit(30), Some(4));
    }

    #[test]
    fn each_offset_is_counted_by_one_of_both() {
        let counting = Counting::new(0, 0, true);
        assert!(!counting.learn(i64::MIN));
        assert_eq!(counting.admit(10), Some(0));
        assert!(counting.queue(waiting(0, 10)));
        assert!(counting.fall_behind() && !counting.fall_behind());
        assert_eq!(range(counting.next()), None, "it is counted by who reads again");
        assert!(!counting.queue(waiting(10, 12)), "cut before, and counted by who reads again");
        assert_eq!(counting.admit(20), Some(i64::MAX));
        assert_eq!(counting.hand_back(), 20);
        assert_eq!(counting.admit(30), Some(20));
        // A part of what it holds was not derived.
        assert!(counting.queue(waiting(12, 30)));
        assert_eq!(range(counting.next()), None, "not before what is below");
        assert_eq!(counting.open(), Some(1));
        assert_eq!(counting.span(), (20, 30));
        assert_eq!(range(counting.next()), Some((20, 30)));
        // And once more, in the middle of handing back.
        counting.fall_behind();
        assert_eq!(counting.hand_back(), 30);
        counting.fall_behind();
        assert_eq!((counting.open(), counting.span()), (None, (20, 30)));
    }
}
