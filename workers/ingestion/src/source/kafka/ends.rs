//! Asking the brokers, beside the polling thread, how far partitions reach and whether topics are there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::context::Place;
use super::poll::Consumer;
use super::topics::Topics;
use crate::health::{Part, SOURCE_UNAVAILABLE};

/// How often the brokers are asked.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// How long that may take.
pub(super) const ASK_WITHIN: Duration = Duration::from_secs(5);

/// How long a single partition is asked about, where asking about all at once failed.
const ASK_ONE_WITHIN: Duration = Duration::from_secs(1);

/// How often in a row nobody answers until that is told: leaders move, and that takes a moment.
const SILENT_FOR: u32 = 2;

/// Asks until the other side goes.
pub(super) fn ask(consumer: &Consumer, topics: &Topics, over: &Receiver<()>) {
    let mut pause = Duration::from_millis(300);
    let mut silent = 0;
    while let Err(RecvTimeoutError::Timeout) = over.recv_timeout(pause) {
        pause = ASK_EVERY;
        let context = consumer.context();
        if !context.has_joined() {
            continue;
        }
        let places = context.places();
        let outcome = if places.is_empty() { anybody(consumer, topics) } else { ends(consumer, &places, over) };
        let missing = missing(consumer);
        match outcome {
            Err(error) => {
                silent += 1;
                if silent >= SILENT_FOR {
                    let message = format!("the brokers do not say how far {topics} reach: {error}");
                    context.health.fail(Part::Source, SOURCE_UNAVAILABLE, message);
                }
            }
            Ok(()) if missing.is_empty() => {
                silent = 0;
                context.recover();
            }
            Ok(()) => {
                let missing = Topics::Named(missing.into_iter().collect());
                let message = format!("the brokers do not have {missing}; create what is missing, or name another");
                context.health.fail(Part::Source, SOURCE_UNAVAILABLE, message);
            }
        }
    }
}

/// Asks about all partitions at once, and singly where one of them has nobody to ask.
fn ends(consumer: &Consumer, places: &[Place], over: &Receiver<()>) -> KafkaResult<()> {
    let found = at(consumer, places, Offset::End, ASK_WITHIN);
    if let Ok(found) = found {
        return note(consumer, found);
    }
    let mut outcome = Ok(());
    for place in places {
        if !matches!(over.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
            break;
        }
        let found = at(consumer, std::slice::from_ref(place), Offset::End, ASK_ONE_WITHIN);
        let noted = match found {
            Ok(found) => note(consumer, found),
            Err(error) => note(consumer, vec![(place.clone(), Err(error))]),
        };
        outcome = outcome.and(noted);
    }
    outcome
}

/// What the brokers said about one partition.
type Found = (Place, KafkaResult<i64>);

/// The offsets at one end of partitions.
pub(super) fn at(consumer: &Consumer, places: &[Place], end: Offset, within: Duration) -> KafkaResult<Vec<Found>> {
    let mut list = TopicPartitionList::new();
    for (topic, number) in places {
        list.add_partition_offset(topic, *number, end)?;
    }
    let found = consumer.offsets_for_times(list, within)?;
    let found = found.elements().into_iter().map(|element| {
        let offset = match (element.error(), element.offset()) {
            (Err(error), _) => Err(error),
            (Ok(()), Offset::Offset(offset)) => Ok(offset),
            (Ok(()), _) => Err(KafkaError::OffsetFetch(RDKafkaRespErr::RD_KAFKA_RESP_ERR__NO_OFFSET.into())),
        };
        ((element.topic().to_owned(), element.partition()), offset)
    });
    Ok(found.collect())
}

fn note(consumer: &Consumer, found: Vec<Found>) -> KafkaResult<()> {
    let now = Instant::now();
    let mut partitions = consumer.context().partitions.lock();
    let mut outcome = Ok(());
    for ((topic, number), end) in found {
        if let Err(error) = &end {
            tracing::debug!(topic, partition = number, %error, "could not ask how far a partition reaches");
        }
        if let Some(partition) = partitions.get_mut(&(topic, number)) {
            partition.set_end(end.as_ref().ok().copied(), now);
        }
        outcome = outcome.and(end.map(drop));
    }
    outcome
}

/// How many partitions the topics have that are there.
pub(super) fn partitions(consumer: &Consumer, topics: &Topics) -> KafkaResult<BTreeMap<String, i32>> {
    let names = match topics {
        Topics::Named(names) => names.iter().map(|name| Some(name.as_str())).collect(),
        Topics::Pattern(_) => vec![None],
    };
    let mut found = BTreeMap::new();
    for name in names {
        let metadata = consumer.fetch_metadata(name, ASK_WITHIN)?;
        let there = metadata.topics().iter().filter(|topic| topic.error().is_none());
        found.extend(
            there.map(|topic| (topic.name().to_owned(), i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX))),
        );
    }
    Ok(found)
}

/// Whether any broker answers, where there is no partition of ours to ask about.
fn anybody(consumer: &Consumer, topics: &Topics) -> KafkaResult<()> {
    consumer.fetch_metadata(topics.first(), ASK_WITHIN).map(drop)
}

/// Topics that were missing, and still are.
fn missing(consumer: &Consumer) -> BTreeSet<String> {
    let context = consumer.context();
    let mut missing = context.missing.lock().clone();
    missing.retain(|topic| {
        let Ok(metadata) = consumer.fetch_metadata(Some(topic), ASK_WITHIN) else { return true };
        let is_there = metadata.topics().iter().any(|found| found.name() == topic && found.error().is_none());
        if is_there {
            context.missing.lock().remove(topic);
        }
        !is_there
    });
    missing
}
