//! Where the time comes from. Everything that decides takes it as an argument; only the worker asks a clock.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

/// A time in milliseconds since 1970.
pub(crate) type Millis = i64;

/// Tells the time, and waits for it.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Waits until a time has come. May end early: whoever waits looks at the time again.
    async fn sleep_until(&self, at: Timestamp);
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// The system's clock may be set while somebody sleeps by it; so often it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let left = at.duration_since(self.now());
        // A millisecond is the least that a timer knows; sleeping for less would come back too early again and again.
        let left = Duration::try_from(left).unwrap_or_default().max(Duration::from_millis(1));
        tokio::time::sleep(left.min(LOOK_AGAIN)).await;
    }
}

/// A clock for tests, which stands still until it is told the time.
#[derive(Debug)]
pub struct TestClock {
    time: watch::Sender<Timestamp>,
}

impl TestClock {
    /// A clock that shows this time.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { time: watch::Sender::new(now) }
    }

    /// Sets the time, and wakes whoever waits for it.
    pub fn set(&self, now: Timestamp) {
        self.time.send_replace(now);
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.time.send_modify(|now| *now = now.saturating_add(by).unwrap_or(Timestamp::MAX));
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.time.borrow()
    }

    async fn sleep_until(&self, at: Timestamp) {
        // The sender is part of the clock, so that it is there as long as anybody waits.
        let _ = self.time.subscribe().wait_for(|now| *now >= at).await;
    }
}

/// A time as a timestamp; the end of time where it does not fit.
pub(crate) fn timestamp(at: Millis) -> Timestamp {
    Timestamp::from_millisecond(at).unwrap_or(if at < 0 { Timestamp::MIN } else { Timestamp::MAX })
}
