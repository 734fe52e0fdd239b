//! The counts of a pipeline over all its workers, those included that are gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;
use taffrail_crds::LogPipelineStatus;

/// What became of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    indexed: u64,
    deduplicated: u64,
    dead_lettered: u64,
    filtered: u64,
}

impl Counts {
    pub(crate) fn of(status: &LogPipelineStatus) -> Self {
        Self {
            indexed: status.indexed,
            deduplicated: status.deduplicated,
            dead_lettered: status.dead_lettered,
            filtered: status.filtered,
        }
    }

    fn each(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            indexed: combine(self.indexed, other.indexed),
            deduplicated: combine(self.deduplicated, other.deduplicated),
            dead_lettered: combine(self.dead_lettered, other.dead_lettered),
            filtered: combine(self.filtered, other.filtered),
        }
    }

    fn plus(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    fn less(self, other: Self) -> Self {
        self.each(other, u64::saturating_sub)
    }

    fn total(self) -> u64 {
        self.indexed + self.deduplicated + self.dead_lettered + self.filtered
    }

    /// Sets the counts in a status. What was consumed is their sum.
    pub(crate) fn put(self, status: &mut LogPipelineStatus) {
        status.consumed = self.total();
        status.indexed = self.indexed;
        status.deduplicated = self.deduplicated;
        status.dead_lettered = self.dead_lettered;
        status.filtered = self.filtered;
    }
}

/// The counts of one pipeline.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Of workers that are gone.
    gone: Counts,
    /// Of workers that are there, by their pods' UIDs.
    workers: BTreeMap<String, Counts>,
    /// Workers whose counts up to now are in `gone` already: the operator before this one had counted them.
    counted: BTreeSet<String>,
}

impl Tally {
    /// A tally that goes on from what the status says, with the pods that may be part of it.
    pub(crate) fn from_status(status: Counts, pods: impl IntoIterator<Item = String>) -> Self {
        Self { gone: status, workers: BTreeMap::new(), counted: pods.into_iter().collect() }
    }

    /// Takes in what the pods that are there have said, and returns the sum over all there ever were.
    pub(crate) fn sum(&mut self, pods: &[(String, Option<Counts>)]) -> Counts {
        for (pod, counts) in pods {
            let Some(counts) = *counts else { continue };
            if self.counted.remove(pod) {
                self.gone = self.gone.less(counts);
            }
            if let Some(before) = self.workers.insert(pod.clone(), counts)
                && before.total() > counts.total()
            {
                // It has begun from nothing.
                self.gone = self.gone.plus(before);
            }
        }
        let is_there = |pod: &String| pods.iter().any(|(there, _)| there == pod);
        self.counted.retain(|pod| is_there(pod));
        let gone: Vec<_> = self.workers.keys().filter(|pod| !is_there(pod)).cloned().collect();
        for pod in gone {
            if let Some(counts) = self.workers.remove(&pod) {
                self.gone = self.gone.plus(counts);
            }
        }
        self.workers.values().fold(self.gone, |sum, counts| sum.plus(*counts))
    }
}

/// The tallies of all pipelines, by their UIDs.
pub(crate) type Tallies = Mutex<HashMap<String, Tally>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(indexed: u64, filtered: u64) -> Counts {
        Counts { indexed, filtered, ..Counts::default() }
    }

    fn pod(name: &str, indexed: u64) -> (String, Option<Counts>) {
        (name.to_owned(), Some(counts(indexed, 0)))
    }

    #[test]
    fn counts_survive_workers_that_come_and_go() {
        let mut tally = Tally::default();
        assert_eq!(tally.sum(&[pod("a", 5), pod("b", 7)]).total(), 12);
        assert_eq!(tally.sum(&[pod("b", 9), ("c".to_owned(), None)]).total(), 14, "a is gone");
        assert_eq!(tally.sum(&[pod("b", 2), pod("c", 1)]).total(), 17, "b began from nothing");
        assert_eq!(tally.sum(&[]).total(), 17);
    }

    #[test]
    fn a_new_operator_goes_on_from_the_status() {
        let mut tally = Tally::from_status(counts(100, 3), ["a".to_owned(), "dies-unheard".to_owned()]);
        assert_eq!(tally.sum(&[("a".to_owned(), None), ("dies-unheard".to_owned(), None)]), counts(100, 3));
        assert_eq!(tally.sum(&[pod("a", 40)]), counts(100, 3), "what a says was counted");
        assert_eq!(tally.sum(&[pod("a", 45), pod("new", 1)]), counts(106, 3));
    }
}
