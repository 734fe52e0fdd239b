//! What is to be looked at: each piece of work at most once at a time, later again when it failed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The first pause after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A piece of work: an object, or what a namespace's objects share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Work {
    Pipeline { namespace: String, name: String },
    Rule { namespace: String, name: String },
    Dashboard { namespace: String, name: String },
    Namespace { namespace: String },
}

impl Work {
    /// The namespace that it is about.
    pub(crate) fn namespace(&self) -> &str {
        match self {
            Self::Pipeline { namespace, .. }
            | Self::Rule { namespace, .. }
            | Self::Dashboard { namespace, .. }
            | Self::Namespace { namespace } => namespace,
        }
    }

    /// The controller that does it, for telemetry.
    pub(crate) const fn controller(&self) -> &'static str {
        match self {
            Self::Pipeline { .. } => "pipeline",
            Self::Rule { .. } => "rule",
            Self::Dashboard { .. } => "dashboard",
            Self::Namespace { .. } => "namespace",
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipeline { namespace, name }
            | Self::Rule { namespace, name }
            | Self::Dashboard { namespace, name } => {
                write!(f, "{} {namespace}/{name}", self.controller())
            }
            Self::Namespace { namespace } => write!(f, "namespace {namespace}"),
        }
    }
}

/// The queue. Adding work that is there already changes nothing but the time, so it never holds more than there are
/// objects.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// In the order of their times.
    due: BTreeSet<(Instant, Work)>,
    at: BTreeMap<Work, Instant>,
    running: BTreeSet<Work>,
    failures: HashMap<Work, u32>,
}

impl State {
    fn schedule(&mut self, work: Work, at: Instant) {
        match self.at.get(&work) {
            Some(before) if *before <= at => return,
            Some(before) => {
                let before = *before;
                self.due.remove(&(before, work.clone()));
            }
            None => {}
        }
        self.at.insert(work.clone(), at);
        self.due.insert((at, work));
    }

    /// Work that is due and not under way, or else when to look again.
    fn take(&mut self, now: Instant) -> Result<Work, Option<Instant>> {
        let found = self.due.iter().find(|(_, work)| !self.running.contains(work)).cloned();
        match found {
            Some((at, work)) if at <= now => {
                self.due.remove(&(at, work.clone()));
                self.at.remove(&work);
                self.running.insert(work.clone());
                Ok(work)
            }
            Some((at, _)) => Err(Some(at)),
            None => Err(None),
        }
    }
}

impl Queue {
    /// Adds work to be done after a while. Work that is due earlier stays so.
    pub(crate) fn add(&self, work: Work, after: Duration) {
        self.state.lock().schedule(work, Instant::now() + after);
        self.changed.notify_one();
    }

    /// The next piece of work; it must be handed to [`Queue::done`].
    pub(crate) async fn next(&self) -> Work {
        loop {
            let wake = match self.state.lock().take(Instant::now()) {
                Ok(work) => {
                    // More may be due, for somebody else who waits.
                    self.changed.notify_one();
                    return work;
                }
                Err(at) => at,
            };
            match wake {
                Some(at) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Says how work went: well, with when to look again, or not.
    pub(crate) fn done(&self, work: &Work, outcome: Result<Option<Duration>, ()>) {
        let mut state = self.state.lock();
        state.running.remove(work);
        let again = match outcome {
            Ok(again) => {
                state.failures.remove(work);
                again
            }
            Err(()) => {
                let failures = state.failures.entry(work.clone()).or_default();
                *failures = failures.saturating_add(1);
                Some(pause(work, *failures))
            }
        };
        if let Some(again) = again {
            state.schedule(work.clone(), Instant::now() + again);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// How much work waits or is under way.
    pub(crate) fn len(&self) -> usize {
        let state = self.state.lock();
        state.due.len() + state.running.len()
    }
}

/// How long work pauses that has failed so many times in a row: exponentially longer, up to a minute, and between half
/// and all of it, so that objects that failed together do not come back together.
fn pause(work: &Work, failures: u32) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    let mut hasher = DefaultHasher::new();
    (work, failures).hash(&mut hasher);
    let share = f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    full.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(name: &str) -> Work {
        Work::Rule { namespace: "n".to_owned(), name: name.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_given_out_once_at_a_time_and_in_the_order_of_its_times() {
        let queue = Queue::default();
        queue.add(work("late"), Duration::from_secs(5));
        queue.add(work("soon"), Duration::from_secs(1));
        queue.add(work("soon"), Duration::from_secs(3));
        assert_eq!(queue.next().await, work("soon"));
        queue.add(work("soon"), Duration::ZERO);
        assert_eq!(queue.next().await, work("late"), "what is under way is not given out again");
        queue.done(&work("soon"), Ok(None));
        assert_eq!(queue.next().await, work("soon"), "what was added meanwhile is not forgotten");
        queue.done(&work("soon"), Ok(None));
        queue.done(&work("late"), Ok(None));
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_failed_comes_back_later_and_later() {
        let queue = Queue::default();
        queue.add(work("bad"), Duration::ZERO);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let before = Instant::now();
            let bad = queue.next().await;
            pauses.push(before.elapsed());
            queue.done(&bad, Err(()));
        }
        let doubled = pauses[1..9].windows(2).all(|two| two[1] > two[0]);
        assert!(doubled && pauses.iter().all(|pause| *pause <= LONGEST_PAUSE), "{pauses:?}");
        assert!(pauses[11] >= LONGEST_PAUSE / 2, "{pauses:?}");
        let bad = queue.next().await;
        queue.done(&bad, Ok(None));
        queue.add(work("bad"), Duration::ZERO);
        let bad = queue.next().await;
        let before = Instant::now();
        queue.done(&bad, Err(()));
        queue.next().await;
        assert!(before.elapsed() <= FIRST_PAUSE, "success is forgiveness");
    }
}
