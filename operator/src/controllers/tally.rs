//! The counts of a pipeline over all its workers, those included that are gone.
//!
//! A worker's counts are of two kinds. Those of Kafka's partitions go with the partition to its next owner, and are
//! counted by partition, whoever tells them: see [`Partitions`]. All others are the worker's own and go with its pod:
//! they are what its totals have beyond its partitions, are counted by pod, and stay when the pod goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;
use taffrail_crds::{KafkaSource, LogPipelineStatus, RecordCounts};

mod partitions;

use partitions::Partitions;

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
        let gone = status.counts.less(partitions.sum());
        Self { partitions, workers: Workers { gone, workers: BTreeMap::new(), counted: pods.into_iter().collect() } }
    }

    /// Takes in what the pods that are there have said, and sets what all there ever were have counted, and how far
    /// those that are there lag behind. `kafka` is where the pipeline reads, `before` is what the status says so far.
    pub(crate) fn count(
        &mut self,
        kafka: Option<&KafkaSource>,
        before: &LogPipelineStatus,
        told: &[Told],
        status: &mut LogPipelineStatus,
    ) {
        let reports = || told.iter().filter_map(|(_, report)| report.as_ref());
        let told_of = || reports().flat_map(|report| &report.partitions);
        let topics: BTreeSet<&str> = told_of().map(|partition| partition.topic.as_str()).collect();
        // What fits a pattern only the workers know.
        let is_read =
            |topic: &str| kafka.is_some_and(|kafka| kafka.names(topic).unwrap_or_else(|| topics.contains(topic)));
        self.partitions.take_in(is_read, told_of());
        let own: Vec<_> =
            told.iter().map(|(pod, report)| (pod.clone(), report.as_ref().map(beyond_partitions))).collect();
        let own = self.workers.sum(&own);
        // Two operators may lead for a moment: then the other one has heard somebody who is gone, and this one has not.
        let unheard = beyond_partitions(before).less(own);
        self.workers.gone = self.workers.gone.plus(unheard);
        status.counts = own.plus(unheard).plus(self.partitions.sum());
        status.consumed = status.counts.total();
        status.partitions = self.partitions.list();
        let others = reports().filter(|report| report.partitions.is_empty()).filter_map(|report| report.lag);
        status.lag = others.chain(self.partitions.lag()).reduce(u64::saturating_add);
    }
}

/// What a worker has counted that goes with it.
fn beyond_partitions(report: &LogPipelineStatus) -> RecordCounts {
    let partitions = report.partitions.iter().map(|partition| partition.counts);
    report.counts.less(partitions.fold(RecordCounts::default(), RecordCounts::plus))
}

/// What is counted by pod.
#[derive(Debug, Default)]
struct Workers {
    /// Of workers that are gone.
    gone: RecordCounts,
    /// Of workers that are there, by their pods' UIDs.
    workers: BTreeMap<String, RecordCounts>,
    /// Workers whose counts up to now are in `gone` already: the operator before this one had counted them.
    counted: BTreeSet<String>,
}

impl Workers {
    /// Takes in what the pods that are there have said, and returns the sum over all there ever were.
    fn sum(&mut self, pods: &[(String, Option<RecordCounts>)]) -> RecordCounts {
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
