//! Reading a topic of dead letters from one end to the other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use taffrail_logstore::{CountedAs, DeadLetter, LetterHead, Provenance};

use super::{DONE, PIPELINE};

/// How long the brokers may take to say what there is.
const ASK_WITHIN: Duration = Duration::from_secs(10);
/// How long reading may take.
const READ_WITHIN: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(100);

/// So many letters are kept in mind, the oldest. When they are done with, the next are seen.
const MOST: usize = 50_000;

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("that took more than {} seconds", READ_WITHIN.as_secs())]
    TooLong,
}

/// Visits all records that a topic has now, in order per partition.
pub(super) fn each<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    mut visit: impl FnMut(&BorrowedMessage<'_>),
) -> Result<(), ReadError> {
    let metadata = consumer.fetch_metadata(Some(topic), ASK_WITHIN)?;
    let mut ends = BTreeMap::new();
    let mut assignment = TopicPartitionList::new();
    for found in metadata.topics().iter().filter(|found| found.name() == topic) {
        match found.error() {
            None => {}
            // No letter has been written yet.
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => return Ok(()),
            Some(error) => return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::from(error)).into()),
        }
        for partition in found.partitions() {
            let (first, end) = consumer.fetch_watermarks(topic, partition.id(), ASK_WITHIN)?;
            if first < end {
                assignment.add_partition_offset(topic, partition.id(), Offset::Offset(first))?;
                ends.insert(partition.id(), end);
            }
        }
    }
    consumer.assign(&assignment)?;
    let deadline = Instant::now() + READ_WITHIN;
    while !ends.is_empty() {
        if Instant::now() > deadline {
            return Err(ReadError::TooLong);
        }
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(message)) => {
                visit(&message);
                if ends.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
                    ends.remove(&message.partition());
                }
            }
            // What is missing before the end are marks of transactions, or records that are not committed yet.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ends.remove(&partition);
            }
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure))) => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The letters of a pipeline that are not done with.
pub(super) struct Letters {
    pipeline: String,
    wanted: HashSet<String>,
    heads: HashMap<String, LetterHead>,
    whole: HashMap<String, DeadLetter>,
}

impl Letters {
    /// Those with the wanted ids are kept with their records; where there are any, the others are not kept.
    pub(super) fn new(pipeline: &str, wanted: &[String]) -> Self {
        let wanted = wanted.iter().cloned().collect();
        Self { pipeline: pipeline.to_owned(), wanted, heads: HashMap::new(), whole: HashMap::new() }
    }

    pub(super) fn take(&mut self, message: &BorrowedMessage<'_>) {
        let headers: HashMap<&str, &str> = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
            .filter_map(|header| Some((header.key, std::str::from_utf8(header.value?).ok()?)))
            .collect();
        if headers.get(PIPELINE).is_none_or(|pipeline| *pipeline != self.pipeline) {
            return;
        }
        if headers.contains_key(DONE) {
            if let Some(id) = message.key().and_then(|key| std::str::from_utf8(key).ok()) {
                self.heads.remove(id);
                self.whole.remove(id);
            }
            return;
        }
        // Whatever else somebody has put there is none of ours.
        let Some(mut letter) = read(&headers) else { return };
        if self.wanted.is_empty() {
            if self.heads.len() < MOST || self.heads.contains_key(&letter.id) {
                let size = message.payload_len() as u64;
                self.heads.insert(letter.id.clone(), LetterHead { size, ..LetterHead::of(&letter) });
            }
        } else if self.wanted.contains(&letter.id) {
            letter.original = Bytes::copy_from_slice(message.payload().unwrap_or_default());
            self.whole.insert(letter.id.clone(), letter);
        }
    }

    pub(super) fn into_heads(self) -> Vec<LetterHead> {
        self.heads.into_values().collect()
    }

    pub(super) fn into_whole(self) -> Vec<DeadLetter> {
        self.whole.into_values().collect()
    }
}

/// What the headers say of a letter.
fn read(headers: &HashMap<&str, &str>) -> Option<DeadLetter> {
    let text = |name: &str| headers.get(name).map(|text| (*text).to_owned());
    Some(DeadLetter {
        id: text("taffrail-id")?,
        reason: text("taffrail-reason")?,
        status: headers.get("taffrail-status")?.parse().ok()?,
        provenance: Provenance {
            pipeline: text(PIPELINE)?,
            generation: headers.get("taffrail-generation")?.parse().ok()?,
            topic: text("taffrail-topic")?,
            partition: headers.get("taffrail-partition")?.parse().ok()?,
            offset: headers.get("taffrail-offset")?.parse().ok()?,
            timestamp: headers.get("taffrail-timestamp")?.parse().ok()?,
        },
        counted_as: text("taffrail-counted-source")
            .zip(headers.get("taffrail-counted-offset").and_then(|offset| offset.parse().ok()))
            .map(|(source, offset)| CountedAs { source, offset }),
        original: Bytes::new(),
    })
}
