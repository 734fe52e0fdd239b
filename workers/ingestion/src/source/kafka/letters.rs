//! Dead letters in a Kafka topic: the record's bytes as they were, and all about them in headers.
//!
//! From a topic nothing can be removed. A letter that is done with is followed by a record with its key, no value and the
//! header `taffrail-done`, so that it survives everything that the letter does: whoever reads the topic takes the last
//! record of a key for what is. Both are in the same partition, and in a compacted topic the letter goes in time.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use taffrail_crds::KafkaSource;
use taffrail_logstore::{CountedAs, DeadLetter, DeadLetters, LetterPage, LetterRequest, SearchError, WriteError, page};

use super::context::log_line;
use super::group_of;
use super::oauth;
use super::settings::{Connection, OauthSettings};
use crate::Secrets;

mod read;

const PIPELINE: &str = "taffrail-pipeline";
const DONE: &str = "taffrail-done";

/// How long a place in the producer's queue is waited for.
const QUEUE_WITHIN: Duration = Duration::from_secs(30);

/// A topic for dead letters.
pub(crate) struct InTopic {
    spec: KafkaSource,
    name: String,
    topic: String,
    secrets: Secrets,
    runtime: tokio::runtime::Handle,
    producer: Mutex<Option<FutureProducer<Context>>>,
}

/// For a client that is in no group.
pub(super) struct Context {
    pub(super) oauth: Option<OauthSettings>,
    pub(super) runtime: tokio::runtime::Handle,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // What was to be sent fails with it and says so.
        tracing::debug!(%error, reason, "kafka, outside of the group");
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let settings = self.oauth.as_ref().ok_or("the pipeline does not use OAUTHBEARER")?;
        Ok(self.runtime.block_on(oauth::token(settings))?)
    }
}

impl ConsumerContext for Context {}

impl InTopic {
    /// A topic on the brokers of a source. They are spoken to when there is a letter.
    pub(crate) fn new(spec: KafkaSource, name: String, topic: String, secrets: Secrets) -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self { spec, name, topic, secrets, runtime, producer: Mutex::default() }
    }

    fn producer(&self) -> Result<FutureProducer<Context>, WriteError> {
        let mut producer = self.producer.lock();
        if let Some(producer) = &*producer {
            return Ok(producer.clone());
        }
        let connection = Connection::new(&self.spec, &self.name, &self.secrets)
            .map_err(|error| WriteError::Unauthorized(error.to_string()))?;
        let context = Context { oauth: connection.oauth.clone(), runtime: self.runtime.clone() };
        let made: FutureProducer<Context> = connection
            .producer()
            .create_with_context(context)
            .map_err(|error| WriteError::Unavailable(format!("no producer for the topic `{}`: {error}", self.topic)))?;
        *producer = Some(made.clone());
        Ok(made)
    }
}

/// What a letter says about its record.
fn headers(letter: &DeadLetter) -> OwnedHeaders {
    let DeadLetter { id, reason, status, provenance, counted_as, original: _ } = letter;
    let mut texts: Vec<(&str, String)> = vec![
        ("taffrail-id", id.clone()),
        ("taffrail-reason", reason.clone()),
        ("taffrail-status", status.to_string()),
        (PIPELINE, provenance.pipeline.clone()),
        ("taffrail-generation", provenance.generation.to_string()),
        ("taffrail-topic", provenance.topic.clone()),
        ("taffrail-partition", provenance.partition.to_string()),
        ("taffrail-offset", provenance.offset.to_string()),
        ("taffrail-timestamp", provenance.timestamp.to_string()),
    ];
    if let Some(CountedAs { source, offset }) = counted_as {
        texts.push(("taffrail-counted-source", source.clone()));
        texts.push(("taffrail-counted-offset", offset.to_string()));
    }
    let headers = OwnedHeaders::new_with_capacity(texts.len());
    texts.iter().fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

/// Says that a letter is done with.
fn done(pipeline: &str) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(2);
    let headers = headers.insert(Header { key: PIPELINE, value: Some(pipeline) });
    headers.insert(Header { key: DONE, value: Some("true") })
}

impl InTopic {
    /// Waits until all records are acknowledged.
    async fn send<'a>(
        &self,
        records: impl Iterator<Item = FutureRecord<'a, str, [u8]>> + Send,
    ) -> Result<(), WriteError> {
        let producer = self.producer()?;
        let sending: Vec<_> = records.map(|record| producer.send(record, QUEUE_WITHIN)).collect();
        let failed = join_all(sending).await.into_iter().find_map(Result::err);
        let Some((error, _)) = failed else { return Ok(()) };
        let text = format!("the topic `{}` did not take a dead letter: {error}", self.topic);
        Err(match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => WriteError::TooLarge(text),
            Some(code) => {
                let is_auth = matches!(
                    code,
                    RDKafkaErrorCode::Authentication
                        | RDKafkaErrorCode::SaslAuthenticationFailed
                        | RDKafkaErrorCode::TopicAuthorizationFailed
                );
                if is_auth || producer.client().fatal_error().is_some() {
                    // The next try reads the secrets again.
                    *self.producer.lock() = None;
                }
                if is_auth { WriteError::Unauthorized(text) } else { WriteError::Unavailable(text) }
            }
            None => WriteError::Unavailable(text),
        })
    }

    /// Reads the letters of a pipeline, those with the wanted ids with their records.
    async fn read(&self, pipeline: &str, wanted: &[String]) -> Result<read::Letters, SearchError> {
        let connection = Connection::new(&self.spec, &self.name, &self.secrets)
            .map_err(|error| SearchError::Unavailable(error.to_string()))?;
        let context = Context { oauth: connection.oauth.clone(), runtime: self.runtime.clone() };
        let config = connection.reader(&group_of(&self.spec, &self.name));
        let mut letters = read::Letters::new(pipeline, wanted);
        let topic = self.topic.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer<Context> = config.create_with_context(context)?;
            read::each(&consumer, &topic, |message| letters.take(message))?;
            Ok(letters)
        });
        let read: Result<_, read::ReadError> =
            reading.await.map_err(|error| SearchError::Unavailable(error.to_string()))?;
        read.map_err(|error| {
            SearchError::Unavailable(format!("the dead letters in the topic `{}` can't be read: {error}", self.topic))
        })
    }
}

#[async_trait]
impl DeadLetters for InTopic {
    async fn write_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        self.send(letters.iter().map(|letter| {
            FutureRecord::to(&self.topic)
                .key(letter.id.as_str())
                .payload(letter.original.as_ref())
                .timestamp(letter.provenance.timestamp)
                .headers(headers(letter))
        }))
        .await
    }

    async fn dead_letters(&self, request: &LetterRequest) -> Result<LetterPage, SearchError> {
        page(self.read(&request.pipeline, &[]).await?.into_heads(), request)
    }

    async fn whole_dead_letters(&self, pipeline: &str, ids: &[String]) -> Result<Vec<DeadLetter>, SearchError> {
        Ok(self.read(pipeline, ids).await?.into_whole())
    }

    async fn replace_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        self.write_dead_letters(letters).await
    }

    async fn remove_dead_letters(&self, pipeline: &str, ids: &[String]) -> Result<(), WriteError> {
        let done = done(pipeline);
        self.send(ids.iter().map(|id| FutureRecord::to(&self.topic).key(id.as_str()).headers(done.clone()))).await
    }
}
