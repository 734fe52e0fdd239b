//! Reading partitions again whose derived metrics have fallen behind, until they are counted (see [`crate::counting`]).
//!
//! One partition after the other, by a consumer of its own that belongs to no group, from the first record that is not
//! counted. What it reads goes nowhere but into metrics.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use taffrail_crds::KafkaSource;
use tokio_util::sync::CancellationToken;

use super::letters::Context;
use super::poll::Shared;
use super::settings::Connection;
use crate::Secrets;
use crate::health::{Health, METRICS_BEHIND, Part};
use crate::lane::{Lane, Mark};
use crate::push::Recount;
use crate::record::Filling;

/// So many records before the stream a lane is handed back: no more than fit into the queue while they are counted.
const NEAR: i64 = 20_000;

const POLL: Duration = Duration::from_millis(100);

/// How long to wait after something went wrong.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
enum RecountError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("{0}")]
    Secret(String),
    #[error("the records that are not counted are gone, and the partition begins anew")]
    Anew,
}

/// Reads partitions again.
pub(super) struct Recounter {
    recount: Recount,
    spec: KafkaSource,
    name: String,
    group: String,
    secrets: Secrets,
    runtime: tokio::runtime::Handle,
    health: Arc<Health>,
    stopping: CancellationToken,
}

impl Recounter {
    pub(super) fn new(shared: &Shared, recount: Recount) -> Self {
        let Shared { spec, name, group, secrets, runtime, intake, .. } = shared;
        Self {
            recount,
            spec: spec.clone(),
            name: name.clone(),
            group: group.clone(),
            secrets: secrets.clone(),
            runtime: runtime.clone(),
            health: intake.health.clone(),
            stopping: intake.stopping.clone(),
        }
    }

    /// Works until the pipeline stops.
    pub(super) fn run(mut self) {
        let (runtime, stopping) = (self.runtime.clone(), self.stopping.clone());
        while let Some(Some(lane)) = runtime.block_on(stopping.run_until_cancelled(self.recount.behind.recv())) {
            while self.is_wanted(&lane) {
                let Err(error) = self.catch_up(&lane) else { continue };
                // It may have been handed back, and what is below is not counted.
                lane.counting.fall_behind();
                let (topic, partition) = (&lane.book.topic, lane.book.partition);
                let message = format!("partition {partition} of the topic `{topic}` can't be read again: {error}");
                self.health.fail(Part::Recount, METRICS_BEHIND, message);
                self.during(tokio::time::sleep(AGAIN_AFTER));
            }
            if self.recount.behind.is_empty() {
                self.health.recover(Part::Recount);
            }
        }
    }

    fn is_wanted(&self, lane: &Lane) -> bool {
        lane.counting.is_behind() && !lane.is_closed() && !self.stopping.is_cancelled()
    }

    /// Waits, but not when the pipeline stops.
    fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(self.stopping.run_until_cancelled(work))
    }

    /// Counts a lane from where it is counted until the stream has it again, or nobody wants that any more.
    fn catch_up(&mut self, lane: &Arc<Lane>) -> Result<(), RecountError> {
        let counter = self.recount.counter.clone();
        let Some(counted) = self.during(counter.ask(lane)) else { return Ok(()) };
        lane.counting.learn(counted);
        let (from, seen) = lane.counting.span();
        let mut reading = Reading { at: from, filling: Filling::default(), until: None };
        if from >= seen {
            // There is nothing to read, unless the stream went on in this moment.
            reading.until = Some(lane.counting.hand_back());
            if reading.is_done() {
                counter.reopen(lane);
                return Ok(());
            }
        }
        let (topic, partition) = (&lane.book.topic, lane.book.partition);
        tracing::info!(topic, partition, from, to = seen, "reading records again, to derive metrics from them");
        let message = "derived metrics have fallen behind the logs; records are read again until they are counted";
        self.health.fail(Part::Recount, METRICS_BEHIND, message.to_owned());
        let consumer = self.connect(lane, from)?;
        while !self.stopping.is_cancelled() && !lane.is_closed() {
            let is_over = reading.poll(&consumer, lane)?;
            self.count(lane, &mut reading, is_over);
            if reading.is_done() {
                counter.reopen(lane);
                return Ok(());
            }
            if reading.until.is_none() && (is_over || lane.counting.span().1 - reading.at < NEAR) {
                reading.until = Some(lane.counting.hand_back());
            }
        }
        Ok(())
    }

    fn connect(&self, lane: &Lane, from: i64) -> Result<BaseConsumer<Context>, RecountError> {
        let connection = Connection::new(&self.spec, &self.name, &self.secrets)
            .map_err(|error| RecountError::Secret(error.to_string()))?;
        let context = Context { oauth: connection.oauth.clone(), runtime: self.runtime.clone() };
        let consumer: BaseConsumer<Context> = connection.reader(&self.group).create_with_context(context)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&lane.book.topic, lane.book.partition, Offset::Offset(from))?;
        consumer.assign(&list)?;
        Ok(consumer)
    }

    /// Has what was read counted. `is_over` says that there is no more before the end.
    fn count(&mut self, lane: &Arc<Lane>, reading: &mut Reading, is_over: bool) {
        let chunk = reading.filling.take();
        let read = chunk.as_ref().and_then(|chunk| chunk.ends().map(|(_, next)| next).max());
        let mut next = read.unwrap_or(reading.at);
        if is_over && let Some(until) = reading.until {
            next = next.max(until);
        }
        if next > reading.at {
            let range = reading.at..next;
            let batch = match &chunk {
                Some(chunk) => self.recount.batcher.derive(lane, chunk, range),
                None => crate::DeltaBatch { origin: lane.origin_of(range), ..crate::DeltaBatch::default() },
            };
            let counter = self.recount.counter.clone();
            if self.during(counter.push(lane, batch)).is_some() {
                reading.at = next;
            }
        }
    }
}

/// The offset that a consumer of one partition has come to, passing what is no record.
fn position(consumer: &BaseConsumer<Context>) -> Option<i64> {
    let positions = consumer.position().ok()?;
    positions.elements().iter().find_map(|element| match element.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    })
}

/// How far a partition was read again.
struct Reading {
    /// The first offset that is not counted.
    at: i64,
    filling: Filling,
    /// Where the stream goes on, once it does.
    until: Option<i64>,
}

impl Reading {
    /// Whether everything is counted up to where the stream goes on.
    fn is_done(&self) -> bool {
        self.until.is_some_and(|until| self.at >= until)
    }

    /// Reads what there is, up to a limit. Gives whether that is all before the end.
    fn poll(&mut self, consumer: &BaseConsumer<Context>, lane: &Arc<Lane>) -> Result<bool, RecountError> {
        let mut timeout = POLL;
        while !self.filling.is_full() {
            match consumer.poll(timeout) {
                None => return Ok(self.until.is_some_and(|until| position(consumer) >= Some(until))),
                Some(Ok(message)) => {
                    let offset = message.offset();
                    if offset < self.at {
                        return Err(RecountError::Anew);
                    }
                    if self.until.is_some_and(|until| offset >= until) {
                        return Ok(true);
                    }
                    let mark = Mark { offset, timestamp: message.timestamp().to_millis().unwrap_or(0), crc: 0 };
                    self.filling.push(lane, mark, offset + 1, message.payload().unwrap_or_default());
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(true),
                // What can be mended by waiting, librdkafka mends.
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure))) => {}
                Some(Err(error)) => return Err(error.into()),
            }
            timeout = Duration::ZERO;
        }
        Ok(false)
    }
}
