//! The counts of a pipeline over all its workers, those included that are gone.
//!
//! A worker's counts are of two kinds. Those of Kafka's partitions go with the partition to its next owner, and are
//! counted by partition, whoever tells them: see [`Partitions`]. All others are the worker's own and go with its pod:
//! they are what its totals have beyond its partitions, are counted by pod, and stay when the pod goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;
use taffrail_crds::{LogPipelineStatus, PartitionStatus};

mod partitions;

use partitions::Partitions;

/// What became of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    indexed: u64,
    deduplicated: u64,
    dead_lettered: u64,
    filtered: u64,
}

impl Counts {
    fn of(status: &LogPipelineStatus) -> Self {
        Self {
            indexed: status.indexed,
            deduplicated: status.deduplicated,
            dead_lettered: status.dead_lettered,
            filtered: status.filtered,
        }
    }

    fn of_partition(status: &PartitionStatus) -> Self {
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
        // A worker is taken at its word, whatever that is.
        let parts = [self.deduplicated, self.dead_lettered, self.filtered];
        parts.into_iter().fold(self.indexed, u64::saturating_add)
    }

    /// Sets the counts in a status. What was consumed is their sum.
    fn put(self, status: &mut LogPipelineStatus) {
        status.consumed = self.total();
        status.indexed = self.indexed;
        status.deduplicated = self.deduplicated;
        status.dead_lettered = self.dead_lettered;
        status.filtered = self.filtered;
    }
}

/// What a pod's worker has said last, by the pod's UID; none where it is silent.
pub(crate) type Told = (String, Option<LogPipelineStatus>);

/// The counts of one pipeline.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    partitions: Partitions,
    workers: Workers,
}

impl Tally {
    /// A tally that goes on from what the status says, with the pods that may be part of it.
    pub(crate) fn from_status(status: &LogPipelineStatus, pods: impl IntoIterator<Item = String>) -> Self {
        let partitions = Partitions::from_status(&status.partitions);
        let gone = Counts::of(status).less(partitions.sum());
        Self { partitions, workers: Workers { gone, workers: BTreeMap::new(), counted: pods.into_iter().collect() } }
    }

    /// Takes in what the pods that are there have said, and sets what all there ever were have counted, and how far
    /// those that are there lag behind. `topic` is the one that the pipeline reads, `before` is what the status says so
    /// far.
    pub(crate) fn count(
        &mut self,
        topic: Option<&str>,
        before: &LogPipelineStatus,
        told: &[Told],
        status: &mut LogPipelineStatus,
    ) {
        let reports = || told.iter().filter_map(|(_, report)| report.as_ref());
        self.partitions.take_in(topic, reports().flat_map(|report| &report.partitions));
        let own: Vec<_> =
            told.iter().map(|(pod, report)| (pod.clone(), report.as_ref().map(beyond_partitions))).collect();
        let own = self.workers.sum(&own);
        // Two operators may lead for a moment: then the other one has heard somebody who is gone, and this one has not.
        let unheard = beyond_partitions(before).less(own);
        self.workers.gone = self.workers.gone.plus(unheard);
        own.plus(unheard).plus(self.partitions.sum()).put(status);
        status.partitions = self.partitions.list();
        let others = reports().filter(|report| report.partitions.is_empty()).filter_map(|report| report.lag);
        status.lag = others.chain(self.partitions.lag()).reduce(u64::saturating_add);
    }
}

/// What a worker has counted that goes with it.
fn beyond_partitions(report: &LogPipelineStatus) -> Counts {
    let partitions = report.partitions.iter().map(Counts::of_partition);
    Counts::of(report).less(partitions.fold(Counts::default(), Counts::plus))
}

/// What is counted by pod.
#[derive(Debug, Default)]
struct Workers {
    /// Of workers that are gone.
    gone: Counts,
    /// Of workers that are there, by their pods' UIDs.
    workers: BTreeMap<String, Counts>,
    /// Workers whose counts up to now are in `gone` already: the operator before this one had counted them.
    counted: BTreeSet<String>,
}

impl Workers {
    /// Takes in what the pods that are there have said, and returns the sum over all there ever were.
    fn sum(&mut self, pods: &[(String, Option<Counts>)]) -> Counts {
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
mod tests;
