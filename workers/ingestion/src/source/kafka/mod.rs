//! The Kafka source.
//!
//! One thread polls (librdkafka's streams have been seen to stall): it hands over what arrives, commits what is
//! resolved, and waits for what is under way when partitions are revoked or the pipeline stops. An offset is committed
//! only when every record below it is accounted for; with it goes the account itself (see [`partition`]), so that both
//! are always of the same moment, and follow the partition to whichever worker gets it next.
//!
//! While the pipeline is full, partitions are paused and polling goes on, so that the worker stays in its group.

mod context;
mod ends;
mod letters;
mod oauth;
mod partition;
mod poll;
mod recount;
mod settings;
mod topics;
mod watchdog;

use std::collections::BTreeMap;
use std::sync::Arc;

use taffrail_crds::{KafkaSource, StartFrom};
use tokio::task::JoinHandle;

pub(crate) use letters::InTopic;

use self::partition::Start;
use self::poll::{Poller, Shared};
use self::recount::Recounter;
use self::topics::Topics;
use self::watchdog::Watchdog;
use super::{Checkpoint, Intake, Records};
use crate::config::{PipelineConfig, StartError};
use crate::health::Part;

/// Until the first partitions are assigned.
const STARTING: &str = "Starting";

/// The group of a pipeline's workers.
fn group_of(spec: &KafkaSource, name: &str) -> String {
    spec.group.clone().unwrap_or_else(|| format!("taffrail-{name}"))
}

pub(super) fn start(
    spec: &KafkaSource,
    config: &PipelineConfig,
    intake: Intake,
    records: Records,
) -> Result<(JoinHandle<()>, Checkpoint), StartError> {
    let name = config.object.metadata.name.clone().unwrap_or_default();
    let topics = Topics::new(spec);
    let message = format!("waiting for partitions of {topics}");
    intake.health.fail(Part::Source, STARTING, message);
    let dead_letters = config.object.spec.dead_letter.as_ref().and_then(|target| target.kafka.as_ref());
    let dead_letters = dead_letters.map(|target| target.topic.as_str());
    let mut shared = Shared {
        pipeline: config.name(),
        group: group_of(spec, &name),
        otherwise: match spec.start_from {
            StartFrom::Earliest => Start::Beginning,
            StartFrom::Latest => Start::End,
        },
        name,
        excluded: topics.excluded(dead_letters),
        topics,
        was_there: Arc::default(),
        spec: spec.clone(),
        secrets: config.secrets.clone(),
        runtime: tokio::runtime::Handle::current(),
        known: Arc::new(parking_lot::Mutex::new(BTreeMap::new())),
        intake,
    };
    if let Some(recount) = shared.intake.recount.take() {
        let recounter = Recounter::new(&shared, recount);
        start_thread("kafka-recount", "read Kafka again", move || recounter.run())?;
    }
    let (over, is_over) = tokio::sync::oneshot::channel();
    start_thread("kafka", "poll Kafka", move || {
        Poller::new(shared, records, Watchdog::new(watchdog::PATIENCE)).run();
        // Nobody listens any more where closing took too long.
        let _ = over.send(());
    })?;
    let task = tokio::spawn(async move {
        // An error means that the thread is over, too.
        let _ = is_over.await;
    });
    // What is resolved is committed by the thread, which looks once a second.
    Ok((task, Arc::new(|| {})))
}

fn start_thread(name: &str, purpose: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map_err(|error| StartError::Source(format!("could not start a thread to {purpose}: {error}"))).map(drop)
}

#[cfg(test)]
mod tests;
