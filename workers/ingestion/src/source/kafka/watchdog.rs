//! Notices when partitions have records and none arrives.
//!
//! A client library can get stuck in ways that no error tells of. So a partition that Kafka says has more records than
//! have arrived, and of which none arrives for a while although there is room for them, has the consumer made anew.
//! Where that does not help, again and again, only a new process can: then liveness fails.
//!
//! While the pipeline is full nothing is wanted, and while the brokers don't say how far a partition reaches nobody could
//! read it: neither counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::context::Place;
use super::partition::Partition;

/// How long a partition with records may give none.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a new consumer may fail to help until a new process must.
const GIVE_UP_AFTER: u32 = 3;

/// Watches partitions, over all consumers that there are one after the other.
#[derive(Debug)]
pub(super) struct Watchdog {
    patience: Duration,
    /// Partitions that were stuck, and how often without a record in between.
    stuck: BTreeMap<Place, u32>,
}

/// What the watchdog saw.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing to do.
    Fine,
    /// Nothing to do, and all that was stuck goes on.
    Recovered,
    /// The consumer must be made anew.
    Stuck { message: String, is_hopeless: bool },
}

impl Watchdog {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, stuck: BTreeMap::new() }
    }

    pub(super) fn look(&mut self, partitions: &mut BTreeMap<Place, Partition>, is_full: bool, now: Instant) -> Sight {
        let before = self.stuck.len();
        // A new consumer has none at first.
        if !partitions.is_empty() {
            // Those that go on, and those that somebody else has now.
            self.stuck.retain(|place, _| partitions.get(place).is_some_and(|partition| !partition.has_taken));
        }
        if is_full {
            partitions.values_mut().for_each(|partition| partition.waiting = None);
        }
        let stuck = partitions.iter().find_map(|(place, partition)| {
            let since = partition.waiting?;
            (now.saturating_duration_since(since) > self.patience).then_some(place)
        });
        let Some(place) = stuck else {
            return if before > 0 && self.stuck.is_empty() { Sight::Recovered } else { Sight::Fine };
        };
        let times = self.stuck.entry(place.clone()).or_default();
        *times += 1;
        let (topic, number) = place;
        let seconds = self.patience.as_secs();
        let message = format!("partition {number} of the topic `{topic}` has records, and none came for {seconds} s");
        Sight::Stuck { message, is_hopeless: *times >= GIVE_UP_AFTER }
    }
}

#[cfg(test)]
mod tests {
    use super::super::partition::{Partition, Start};
    use super::*;
    use crate::lane::Mark;

    fn partitions(now: Instant) -> BTreeMap<Place, Partition> {
        let (mut partition, _) = Partition::assign("default/shop", "logs", 3, None, None, Start::Beginning);
        partition.starts_at(0);
        partition.set_end(Some(10), now);
        BTreeMap::from([(("logs".to_owned(), 3), partition)])
    }

    #[test]
    fn a_silent_partition_is_noticed_and_given_up_in_the_end() {
        let mut watchdog = Watchdog::new(PATIENCE);
        let now = Instant::now();
        let later = now + PATIENCE + Duration::from_secs(1);
        let mut hopeless = Vec::new();
        for _ in 0..GIVE_UP_AFTER {
            let mut partitions = partitions(now);
            assert_eq!(watchdog.look(&mut partitions, false, now + PATIENCE), Sight::Fine);
            let Sight::Stuck { is_hopeless, .. } = watchdog.look(&mut partitions, false, later) else { panic!() };
            hopeless.push(is_hopeless);
        }
        assert_eq!(hopeless, [false, false, true]);
        let mut partitions = partitions(now);
        partitions.values_mut().for_each(|partition| {
            partition.arrived(Mark { offset: 0, timestamp: 0, crc: 0 });
        });
        assert_eq!(watchdog.look(&mut partitions, false, later), Sight::Recovered);
        assert_eq!(watchdog.look(&mut partitions, false, later), Sight::Fine);
    }

    #[test]
    fn what_is_full_read_or_unknown_is_not_stuck() {
        let mut watchdog = Watchdog::new(PATIENCE);
        let now = Instant::now();
        let later = now + PATIENCE + Duration::from_secs(1);
        let mut all = partitions(now);
        assert_eq!(watchdog.look(&mut all, true, later), Sight::Fine, "the sink stalls");
        let mut all = partitions(now);
        all.values_mut().for_each(|partition| partition.set_end(None, now));
        assert_eq!(watchdog.look(&mut all, false, later), Sight::Fine, "no broker answers");
        let mut all = partitions(now);
        all.values_mut().for_each(|partition| partition.set_end(Some(0), now));
        assert_eq!(watchdog.look(&mut all, false, later), Sight::Fine, "there is nothing");
    }
}
