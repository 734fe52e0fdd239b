//! What librdkafka calls back: rebalances, commits, errors and its log. All of it happens on the polling thread, within
//! `poll`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::ends::{self, ASK_WITHIN};
use super::oauth::{self, TokenError};
use super::partition::{Note, Partition, Start};
use super::settings::OauthSettings;
use crate::engine::Hurry;
use crate::health::{Health, Part, SOURCE_AUTH_FAILED, SOURCE_UNAVAILABLE};
use crate::lane::{Book, Books, DRAIN_ON_REVOKE};

/// How long the group's coordinator is waited for when partitions are assigned.
const COMMITTED_WITHIN: Duration = Duration::from_secs(10);

/// What librdkafka says of a topic that was subscribed to and is not there; its name follows.
const NOT_THERE: &str = "Subscribed topic not available: ";

/// A topic's partition.
pub(super) type Place = (String, i32);

/// What the polling thread and its callbacks share.
pub(super) struct Context {
    pub(super) pipeline: String,
    pub(super) otherwise: Start,
    /// How many partitions topics had when the pipeline started, where it was to start at their ends. What is new since
    /// then is read from its beginning.
    pub(super) was_there: Arc<OnceLock<BTreeMap<String, i32>>>,
    pub(super) books: Arc<Books>,
    pub(super) health: Arc<Health>,
    pub(super) hurry: Arc<Hurry>,
    pub(super) oauth: Option<OauthSettings>,
    pub(super) runtime: tokio::runtime::Handle,
    /// Partitions that are ours.
    pub(super) partitions: Mutex<BTreeMap<Place, Partition>>,
    /// Every partition that was ever ours.
    pub(super) known: Arc<Mutex<BTreeMap<Place, Arc<Book>>>>,
    /// A topic has another id than before.
    pub(super) topic_changed: AtomicBool,
    /// The consumer can't go on and must be made anew.
    pub(super) broken: AtomicBool,
    /// An offset that was asked for is not there.
    pub(super) out_of_range: AtomicBool,
    /// Topics that were subscribed to and are not there.
    pub(super) missing: Mutex<BTreeSet<String>>,
    /// Whether the group has told which partitions are ours.
    pub(super) joined: AtomicBool,
    /// Whether the brokers refuse us. That they are out of reach then is no news.
    pub(super) refused: AtomicBool,
    /// Whether nobody gave a token because nobody could be asked.
    pub(super) no_token: AtomicBool,
    /// The pipeline stops: nobody is waited for any more.
    pub(super) closing: AtomicBool,
}

impl Context {
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        let committed = consumer.committed_offsets(list.clone(), COMMITTED_WITHIN)?;
        let mut assigned = Vec::new();
        for element in committed.elements() {
            element.error()?;
            let place: Place = (element.topic().to_owned(), element.partition());
            let offset = match element.offset() {
                Offset::Offset(offset) => Some((offset, Note::read(element.metadata()))),
                _ => None,
            };
            let known = self.known.lock().get(&place).cloned();
            let was_there = self.was_there.get();
            let is_new = was_there.is_some_and(|topics| topics.get(&place.0).is_none_or(|count| place.1 >= *count));
            let otherwise = if is_new { Start::Beginning } else { self.otherwise };
            let (partition, start) = Partition::assign(&self.pipeline, &place.0, place.1, offset, known, otherwise);
            assigned.push((place, partition, start));
        }
        for wanted in [Start::Beginning, Start::End] {
            Self::find_starts(consumer, &mut assigned, wanted)?;
        }
        let mut assignment = TopicPartitionList::new();
        let mut partitions = self.partitions.lock();
        for (place, partition, start) in assigned {
            self.known.lock().insert(place.clone(), partition.book.clone());
            self.books.open(partition.book.clone());
            let offset = match start {
                Start::Beginning => Offset::Beginning,
                Start::End => Offset::End,
                Start::At(offset) => Offset::Offset(offset),
            };
            assignment.add_partition_offset(&place.0, place.1, offset)?;
            if let Some(before) = partitions.insert(place, partition) {
                self.books.hand_on(&before.book);
            }
        }
        drop(partitions);
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&assignment),
            _ => consumer.assign(&assignment),
        }
    }

    /// Asks which offsets the beginnings or the ends are where partitions start: so nothing is missed, whoever gets them
    /// next, and lag is known before there is a record.
    fn find_starts(
        consumer: &BaseConsumer<Self>,
        assigned: &mut [(Place, Partition, Start)],
        wanted: Start,
    ) -> KafkaResult<()> {
        let places: Vec<Place> =
            assigned.iter().filter(|(_, _, start)| *start == wanted).map(|(place, _, _)| place.clone()).collect();
        if places.is_empty() {
            return Ok(());
        }
        let end = if wanted == Start::End { Offset::End } else { Offset::Beginning };
        for (place, offset) in ends::at(consumer, &places, end, ASK_WITHIN)? {
            // Where the broker does not say, librdkafka asks again until it does.
            let (Ok(offset), Some((_, partition, start))) =
                (offset, assigned.iter_mut().find(|(assigned, _, _)| *assigned == place))
            else {
                continue;
            };
            partition.starts_at(offset);
            *start = Start::At(offset);
        }
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        let places: Vec<Place> =
            list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        // Lost ones are somebody else's already.
        if !consumer.assignment_lost() && !self.closing.load(Ordering::Acquire) {
            self.drain(&places);
            if let Err(error) = self.commit(consumer, &places, CommitMode::Sync) {
                tracing::warn!(%error, "could not commit revoked partitions; some records are read again");
            }
        }
        let mut partitions = self.partitions.lock();
        for place in &places {
            if let Some(partition) = partitions.remove(place) {
                if let Some(lane) = partition.lane() {
                    lane.close();
                }
                self.books.hand_on(&partition.book);
            }
        }
        drop(partitions);
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            _ => consumer.unassign(),
        }
    }

    /// Waits until what was handed over of these partitions is resolved.
    fn drain(&self, places: &[Place]) {
        let deadline = Instant::now() + DRAIN_ON_REVOKE;
        let lanes: Vec<_> = {
            let partitions = self.partitions.lock();
            places.iter().filter_map(|place| partitions.get(place)?.lane().cloned()).collect()
        };
        self.hurry.set(true);
        let left = lanes.iter().filter(|lane| !lane.wait_drained(deadline)).count();
        self.hurry.set(false);
        if left > 0 {
            tracing::warn!(partitions = left, "partitions were revoked before all of them was delivered; others go on");
        }
    }

    /// Commits what is resolved of these partitions.
    pub(super) fn commit(&self, consumer: &BaseConsumer<Self>, places: &[Place], mode: CommitMode) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        {
            let mut partitions = self.partitions.lock();
            for place in places {
                let Some(partition) = partitions.get_mut(place) else { continue };
                if let Some((position, note)) = partition.next_commit() {
                    let mut element = list.add_partition(&place.0, place.1);
                    element.set_offset(Offset::Offset(position))?;
                    element.set_metadata(note.write());
                    partition.set_committed(Some(position));
                }
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let result = consumer.commit(&list, mode);
        if result.is_err() {
            self.uncommit(&list);
        }
        result
    }

    /// What was thought to be committed is not.
    fn uncommit(&self, list: &TopicPartitionList) {
        let mut partitions = self.partitions.lock();
        for element in list.elements() {
            if let Some(partition) = partitions.get_mut(&(element.topic().to_owned(), element.partition())) {
                partition.set_committed(None);
            }
        }
    }

    /// Moves positions past what is no record. On the polling thread only, which knows of every record that has arrived.
    pub(super) fn pass_what_is_no_record(&self, consumer: &BaseConsumer<Self>) {
        let Ok(positions) = consumer.position() else { return };
        let mut partitions = self.partitions.lock();
        for element in positions.elements() {
            if let Some(partition) = partitions.get_mut(&(element.topic().to_owned(), element.partition())) {
                let offset = match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                };
                partition.reached(offset);
            }
        }
    }

    pub(super) fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Acquire)
    }

    /// All is well with the brokers.
    pub(super) fn recover(&self) {
        if !self.broken.load(Ordering::Acquire) {
            self.refused.store(false, Ordering::Release);
            self.health.recover(Part::Source);
        }
    }

    /// All partitions that are ours.
    pub(super) fn places(&self) -> Vec<Place> {
        self.partitions.lock().keys().cloned().collect()
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let result = match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let result = self.assign(consumer, list);
                if result.is_ok() {
                    self.joined.store(true, Ordering::Release);
                    self.recover();
                }
                result
            }
            _ => self.revoke(consumer, list),
        };
        if let Err(error) = result {
            let message = format!("could not take up or give back partitions: {error}");
            self.health.fail(Part::Source, SOURCE_UNAVAILABLE, message);
            self.broken.store(true, Ordering::Release);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "a commit failed and is repeated");
            self.uncommit(offsets);
        }
    }

    fn main_queue_min_poll_interval(&self) -> rdkafka::util::Timeout {
        rdkafka::util::Timeout::After(Duration::from_millis(100))
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // A deleted and re-created topic keeps its name, and librdkafka goes on at the old offset. Where it notes that
        // the topic's id has changed, which is in its debug log only, we look whether our last record is still there.
        if message.contains(" changed id from ") && !message.contains("from AAAAAAAAAAAAAAAAAAAAAA to ") {
            self.topic_changed.store(true, Ordering::Release);
        }
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(topic) = reason.strip_prefix(NOT_THERE).and_then(|rest| rest.split(": ").next()) {
            self.missing.lock().insert(topic.to_owned());
        }
        let code = error.rdkafka_error_code();
        let (name, message) = match code {
            Some(RDKafkaErrorCode::AutoOffsetReset) => {
                tracing::info!(reason, "an offset is not there");
                self.out_of_range.store(true, Ordering::Release);
                return;
            }
            Some(RDKafkaErrorCode::Authentication) if self.no_token.load(Ordering::Acquire) => {
                (SOURCE_UNAVAILABLE, format!("no token for the brokers: {reason}"))
            }
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                self.broken.store(true, Ordering::Release);
                (SOURCE_AUTH_FAILED, format!("the brokers refuse our credentials: {reason}"))
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed) => {
                (SOURCE_AUTH_FAILED, format!("we may not read the topic or use the group: {reason}"))
            }
            Some(RDKafkaErrorCode::AllBrokersDown) if self.refused.load(Ordering::Acquire) => return,
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                (SOURCE_UNAVAILABLE, format!("none of the brokers can be reached: {reason}"))
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                (SOURCE_UNAVAILABLE, format!("the topic is not there; create it, or name another one: {reason}"))
            }
            // An alert is what the other side has against us. With TLS 1.3 it comes after the handshake, and so is told as a
            // failure of the connection.
            Some(RDKafkaErrorCode::SSL | RDKafkaErrorCode::BrokerTransportFailure) if reason.contains("SSL alert") => {
                (SOURCE_AUTH_FAILED, format!("the brokers refuse our certificate: {reason}"))
            }
            Some(RDKafkaErrorCode::SSL) => (SOURCE_UNAVAILABLE, format!("no TLS connection to the brokers: {reason}")),
            _ => {
                tracing::debug!(%error, reason, "kafka");
                return;
            }
        };
        if name == SOURCE_AUTH_FAILED {
            self.refused.store(true, Ordering::Release);
        }
        self.health.fail(Part::Source, name, message);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let settings = self.oauth.as_ref().ok_or("the pipeline does not use OAUTHBEARER")?;
        let token = self.runtime.block_on(oauth::token(settings));
        self.no_token.store(matches!(token, Err(TokenError::Request { .. })), Ordering::Release);
        Ok(token?)
    }
}

/// Librdkafka's log in ours.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        // Brokers that go away are told in status; librdkafka repeats it every second.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::trace!(target: "librdkafka", facility, "{message}"),
    }
}
