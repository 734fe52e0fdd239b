//! The polling thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use taffrail_crds::KafkaSource;
use tokio::sync::mpsc::error::SendTimeoutError;

use super::context::{Context, Place};
use super::ends::{self, ASK_WITHIN};
use super::partition::{Start, Verdict};
use super::settings::Connection;
use super::topics::Topics;
use super::watchdog::{Sight, Watchdog};
use crate::Secrets;
use crate::health::{Part, SECRET_NOT_FOUND, SOURCE_STUCK, SOURCE_UNAVAILABLE};
use crate::lane::{Book, Mark};
use crate::record::Filling;
use crate::source::{Intake, Records};

/// How often resolved offsets are committed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// How long a poll waits for a message.
const POLL: Duration = Duration::from_millis(100);

/// How long the engine may be busy until partitions are paused.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long to wait before a consumer is made anew.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What every consumer of the pipeline has in common.
pub(super) struct Shared {
    pub(super) pipeline: String,
    pub(super) name: String,
    pub(super) group: String,
    pub(super) otherwise: Start,
    pub(super) topics: Topics,
    /// Topics that the consumer must not see.
    pub(super) excluded: Option<String>,
    /// How many partitions topics had when the pipeline started, where that matters and once it is known.
    pub(super) was_there: Arc<OnceLock<BTreeMap<String, i32>>>,
    pub(super) spec: KafkaSource,
    pub(super) secrets: Secrets,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) known: Arc<Mutex<BTreeMap<Place, Arc<Book>>>>,
    pub(super) intake: Intake,
}

pub(super) type Consumer = BaseConsumer<Context>;

/// The polling thread.
pub(super) struct Poller {
    shared: Shared,
    records: Option<Records>,
    /// What waits to be handed over.
    filling: Filling,
    /// The partition of the message before: most come of the same one.
    place: Place,
    is_paused: bool,
    committed: Instant,
    watchdog: Watchdog,
}

impl Poller {
    pub(super) fn new(shared: Shared, records: Records, watchdog: Watchdog) -> Self {
        Self {
            shared,
            records: Some(records),
            filling: Filling::default(),
            place: Place::default(),
            is_paused: false,
            committed: Instant::now(),
            watchdog,
        }
    }

    pub(super) fn run(mut self) {
        while !self.is_stopping() {
            self.shared.intake.health.pulse.beat();
            let Some(consumer) = self.connect() else {
                self.wait(AGAIN_AFTER);
                continue;
            };
            let (ask, asked) = channel();
            let (asking, topics) = (consumer.clone(), self.shared.topics.clone());
            let asker = std::thread::Builder::new()
                .name("kafka-lag".to_owned())
                .spawn(move || ends::ask(&asking, &topics, &asked));
            self.poll(&consumer);
            self.farewell(&consumer);
            drop(ask);
            if let Ok(asker) = asker {
                // It must let go of the consumer first.
                let _ = asker.join();
            }
            // Leaves the group.
            drop(consumer);
            if !self.is_stopping() {
                self.wait(AGAIN_AFTER);
            }
        }
        self.shared.intake.health.pulse.end();
    }

    fn is_stopping(&self) -> bool {
        self.shared.intake.stopping.is_cancelled()
    }

    fn wait(&self, time: Duration) {
        let stopping = self.shared.intake.stopping.cancelled();
        // Either is fine.
        let _ = self.shared.runtime.block_on(async { tokio::time::timeout(time, stopping).await });
    }

    fn connect(&mut self) -> Option<Arc<Consumer>> {
        let Shared { pipeline, name, group, spec, secrets, runtime, known, intake, otherwise, .. } = &self.shared;
        let Shared { topics, was_there, .. } = &self.shared;
        let connection = match Connection::new(spec, name, secrets) {
            Ok(connection) => connection,
            Err(error) => {
                intake.health.fail(Part::Source, SECRET_NOT_FOUND, error.to_string());
                return None;
            }
        };
        let context = Context {
            pipeline: pipeline.clone(),
            otherwise: *otherwise,
            was_there: self.shared.was_there.clone(),
            books: intake.books.clone(),
            health: intake.health.clone(),
            hurry: intake.hurry.clone(),
            oauth: connection.oauth.clone(),
            runtime: runtime.clone(),
            partitions: Mutex::default(),
            known: known.clone(),
            topic_changed: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            out_of_range: AtomicBool::new(false),
            missing: Mutex::default(),
            joined: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            no_token: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        };
        let config = connection.consumer(group, self.shared.excluded.as_deref());
        let subscription = topics.subscription();
        let subscription: Vec<&str> = subscription.iter().map(String::as_str).collect();
        let consumer: KafkaResult<Consumer> = config.create_with_context(context);
        let consumer = consumer.and_then(|consumer| {
            if *otherwise == Start::End && was_there.get().is_none() {
                // Nobody else sets it.
                let _ = was_there.set(ends::partitions(&consumer, topics)?);
            }
            consumer.subscribe(&subscription).map(|()| consumer)
        });
        match consumer {
            Ok(consumer) => Some(Arc::new(consumer)),
            Err(error) => {
                let message = format!("no consumer for {topics}: {error}");
                intake.health.fail(Part::Source, SOURCE_UNAVAILABLE, message);
                None
            }
        }
    }

    /// Polls until the pipeline stops or the consumer is broken.
    fn poll(&mut self, consumer: &Consumer) {
        self.is_paused = false;
        while !self.is_stopping() && !consumer.context().broken.load(Ordering::Acquire) {
            let mut timeout = POLL;
            while !self.filling.is_full() {
                // What came before the next message was served within the poll.
                let message = consumer.poll(timeout);
                if consumer.context().topic_changed.swap(false, Ordering::AcqRel) {
                    self.verify(consumer);
                    // Whatever arrived may be of another topic than it seems; it comes again.
                    break;
                }
                match message {
                    Some(Ok(message)) => self.take(consumer, &message),
                    Some(Err(error)) => self.complain(consumer, &error),
                    None => break,
                }
                timeout = Duration::ZERO;
            }
            if !self.hand_over(consumer) {
                return;
            }
            self.tick(consumer);
        }
    }

    fn take(&mut self, consumer: &Consumer, message: &BorrowedMessage<'_>) {
        let payload = message.payload().unwrap_or_default();
        let mark = Mark {
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or(0),
            crc: crc32fast::hash(payload),
        };
        let (topic, number) = (message.topic(), message.partition());
        if self.place.1 != number || self.place.0 != topic {
            self.place = (topic.to_owned(), number);
        }
        let verdict = {
            let mut partitions = consumer.context().partitions.lock();
            // Of a partition that was taken away meanwhile.
            let Some(partition) = partitions.get_mut(&self.place) else { return };
            partition.arrived(mark)
        };
        match verdict {
            Verdict::Skip => {}
            Verdict::Restart => self.seek(consumer, topic, number, Offset::Beginning),
            Verdict::Take(lane) => self.filling.push(&lane, mark, mark.offset + 1, payload),
        }
    }

    fn seek(&self, consumer: &Consumer, topic: &str, number: i32, to: Offset) {
        let sought = consumer.seek(topic, number, to, ASK_WITHIN);
        // Of a partition whose offset is out of range nothing is fetched any more, and only a new start helps.
        if let Err(error) = sought.or_else(|_| reassign(consumer, topic, number, to)) {
            // A new consumer begins where this one has to.
            tracing::warn!(topic, partition = number, %error, "could not seek; making the consumer anew");
            consumer.context().broken.store(true, Ordering::Release);
        }
    }

    /// Finds out of which partitions an offset was asked for that is not there, and goes on where there is one.
    fn back_into_range(&mut self, consumer: &Consumer) {
        let context = consumer.context();
        let places = context.places();
        let reach = ends::at(consumer, &places, Offset::Beginning, ASK_WITHIN)
            .and_then(|begins| Ok((begins, ends::at(consumer, &places, Offset::End, ASK_WITHIN)?)));
        let (begins, ends) = match reach {
            Ok(reach) => reach,
            Err(error) => {
                tracing::warn!(%error, "could not ask how far partitions reach; making the consumer anew");
                context.broken.store(true, Ordering::Release);
                return;
            }
        };
        let ends: BTreeMap<Place, i64> = ends.into_iter().filter_map(|(place, end)| Some((place, end.ok()?))).collect();
        let mut found = Vec::new();
        {
            let mut partitions = context.partitions.lock();
            for (place, begin) in begins {
                let (Ok(begin), Some(end), Some(partition)) = (begin, ends.get(&place), partitions.get_mut(&place))
                else {
                    continue;
                };
                if let Some(offset) = partition.out_of_range(begin, *end) {
                    found.push((place, offset));
                }
            }
        }
        if found.is_empty() {
            // A new topic may have grown past that offset meanwhile.
            self.verify(consumer);
        }
        for ((topic, number), offset) in found {
            self.seek(consumer, &topic, number, Offset::Offset(offset));
        }
    }

    /// Looks whether partitions still hold the records that were read last.
    fn verify(&mut self, consumer: &Consumer) {
        let offsets: Vec<(Place, i64)> = {
            let mut partitions = consumer.context().partitions.lock();
            partitions.iter_mut().filter_map(|(place, partition)| Some((place.clone(), partition.verify()?))).collect()
        };
        tracing::warn!(partitions = offsets.len(), "the topic's id has changed; looking whether it was made anew");
        for ((topic, number), offset) in offsets {
            self.seek(consumer, &topic, number, Offset::Offset(offset));
        }
    }

    fn complain(&self, consumer: &Consumer, error: &KafkaError) {
        // What is wrong for longer has been told by the context.
        tracing::debug!(%error, "polling");
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            let message = format!("the consumer can't go on, and is made anew: {error}");
            self.shared.intake.health.fail(Part::Source, SOURCE_UNAVAILABLE, message);
            consumer.context().broken.store(true, Ordering::Release);
        }
    }

    /// Hands over what has arrived. While there is no room, partitions are paused and polling goes on. False when the
    /// pipeline stops.
    fn hand_over(&mut self, consumer: &Consumer) -> bool {
        let Some(records) = self.records.clone() else { return false };
        while let Some(mut chunk) = self.filling.take() {
            loop {
                let ends: Vec<_> = chunk.ends().map(|(lane, next)| (lane.clone(), next)).collect();
                let sending = async { records.send_timeout(chunk, PATIENCE).await };
                match self.shared.runtime.block_on(sending) {
                    Ok(()) => {
                        ends.iter().for_each(|(lane, next)| lane.hand_over(*next));
                        break;
                    }
                    Err(SendTimeoutError::Closed(_)) => return false,
                    Err(SendTimeoutError::Timeout(back)) => {
                        chunk = back;
                        if self.is_stopping() || consumer.context().broken.load(Ordering::Acquire) {
                            return false;
                        }
                        self.pause(consumer);
                        // Serves rebalances. What arrives nevertheless was on its way before the pause.
                        if let Some(Ok(message)) = consumer.poll(Duration::ZERO) {
                            self.take(consumer, &message);
                        }
                        self.tick(consumer);
                    }
                }
            }
        }
        if self.is_paused {
            self.resume(consumer);
        }
        true
    }

    fn pause(&mut self, consumer: &Consumer) {
        if let Err(error) = consumer.assignment().and_then(|assignment| consumer.pause(&assignment)) {
            tracing::debug!(%error, "could not pause");
        }
        self.is_paused = true;
    }

    fn resume(&mut self, consumer: &Consumer) {
        match consumer.assignment().and_then(|assignment| consumer.resume(&assignment)) {
            Ok(()) => self.is_paused = false,
            // Tried again with the next chunk, or by a new consumer.
            Err(error) => tracing::debug!(%error, "could not resume"),
        }
    }

    fn tick(&mut self, consumer: &Consumer) {
        let context = consumer.context();
        if context.out_of_range.swap(false, Ordering::AcqRel) {
            self.back_into_range(consumer);
        }
        if self.committed.elapsed() < COMMIT_EVERY {
            return;
        }
        self.committed = Instant::now();
        self.shared.intake.health.pulse.beat();
        context.pass_what_is_no_record(consumer);
        if let Err(error) = context.commit(consumer, &context.places(), CommitMode::Async) {
            tracing::debug!(%error, "a commit failed and is repeated");
        }
        context.partitions.lock().values_mut().for_each(super::partition::Partition::update_lag);
        self.watch(consumer);
    }

    fn watch(&mut self, consumer: &Consumer) {
        let context = consumer.context();
        let pulse = &context.health.pulse;
        match self.watchdog.look(&mut context.partitions.lock(), self.is_paused, self.committed) {
            Sight::Fine => {}
            Sight::Recovered => pulse.revive(),
            Sight::Stuck { message, is_hopeless } => {
                context.broken.store(true, Ordering::Release);
                context.health.fail(Part::Source, SOURCE_STUCK, format!("{message}; making the consumer anew"));
                if is_hopeless {
                    pulse.give_up(format!("{message}, and a new consumer does not help"));
                }
                pulse.count_restart();
            }
        }
    }

    /// Waits for what is under way, and commits it.
    fn farewell(&mut self, consumer: &Consumer) {
        self.filling = Filling::default();
        self.pause(consumer);
        let context = consumer.context();
        if self.is_stopping() {
            self.records = None;
            while !self.shared.intake.drained.is_cancelled() {
                // Stays in the group; a rebalance in this moment waits for the same records.
                consumer.poll(Duration::from_millis(10));
            }
        }
        if let Err(error) = context.commit(consumer, &context.places(), CommitMode::Sync) {
            tracing::warn!(%error, "could not commit at the end; some records are read again");
        }
        context.closing.store(true, Ordering::Release);
    }
}

/// Gives a partition back and takes it again at an offset, without the group noticing.
fn reassign(consumer: &Consumer, topic: &str, number: i32, to: Offset) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, number, to)?;
    consumer.incremental_unassign(&list)?;
    consumer.incremental_assign(&list)
}
