//! Whether a pipeline's source is alive: its thread goes round, and gives records where there are some.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A thread that has not gone round for so long hangs. All that it waits for is over sooner: commits and answers of
/// brokers that are down, too.
const HANGS_AFTER: Duration = Duration::from_secs(180);

/// Signs of life of a source.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// When the source's thread last went round. None where there is no thread, or it has ended.
    beat: Mutex<Option<Instant>>,
    /// Why only a new process can help.
    lost: Mutex<Option<String>>,
    /// How often the source was made anew because it gave nothing.
    restarts: AtomicU64,
}

impl Pulse {
    /// The thread goes round.
    pub(crate) fn beat(&self) {
        *self.beat.lock() = Some(Instant::now());
    }

    /// The thread ends.
    pub(crate) fn end(&self) {
        *self.beat.lock() = None;
    }

    /// Making the source anew does not help.
    pub(crate) fn give_up(&self, why: String) {
        *self.lost.lock() = Some(why);
    }

    /// It gives records again.
    pub(crate) fn revive(&self) {
        *self.lost.lock() = None;
    }

    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Whether there is hope; or why not.
    pub(crate) fn check(&self, now: Instant) -> Result<(), String> {
        if let Some(why) = &*self.lost.lock() {
            return Err(why.clone());
        }
        match *self.beat.lock() {
            Some(beat) if now.saturating_duration_since(beat) > HANGS_AFTER => {
                Err(format!("the source's thread hangs for more than {} s", HANGS_AFTER.as_secs()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_hangs_and_a_source_that_stays_silent_are_told() {
        let pulse = Pulse::default();
        let later = || Instant::now() + HANGS_AFTER + Duration::from_secs(1);
        assert_eq!(pulse.check(later()), Ok(()), "no thread, no fault");
        pulse.beat();
        assert_eq!(pulse.check(Instant::now()), Ok(()));
        assert!(pulse.check(later()).is_err());
        pulse.end();
        assert_eq!(pulse.check(later()), Ok(()));
        pulse.give_up("stuck".to_owned());
        assert_eq!(pulse.check(Instant::now()), Err("stuck".to_owned()));
        pulse.revive();
        assert_eq!(pulse.check(Instant::now()), Ok(()));
    }
}
