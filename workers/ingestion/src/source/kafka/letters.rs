//! Dead letters in a Kafka topic: the record's bytes as they were, and all about them in headers.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use taffrail_crds::KafkaSource;
use taffrail_logstore::{DeadLetter, WriteError};

use super::context::log_line;
use super::oauth;
use super::settings::{Connection, OauthSettings};
use crate::Secrets;
use crate::dead_letter::Letters;

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

struct Context {
    oauth: Option<OauthSettings>,
    runtime: tokio::runtime::Handle,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // What was to be sent fails with it and says so.
        tracing::debug!(%error, reason, "kafka producer");
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let settings = self.oauth.as_ref().ok_or("the pipeline does not use OAUTHBEARER")?;
        Ok(self.runtime.block_on(oauth::token(settings))?)
    }
}

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
    let DeadLetter { id, reason, status, provenance, original: _ } = letter;
    let texts: [(&str, String); 9] = [
        ("taffrail-id", id.clone()),
        ("taffrail-reason", reason.clone()),
        ("taffrail-status", status.to_string()),
        ("taffrail-pipeline", provenance.pipeline.clone()),
        ("taffrail-generation", provenance.generation.to_string()),
        ("taffrail-topic", provenance.topic.clone()),
        ("taffrail-partition", provenance.partition.to_string()),
        ("taffrail-offset", provenance.offset.to_string()),
        ("taffrail-timestamp", provenance.timestamp.to_string()),
    ];
    let headers = OwnedHeaders::new_with_capacity(texts.len());
    texts.iter().fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

#[async_trait]
impl Letters for InTopic {
    async fn write(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        let producer = self.producer()?;
        let sending = letters.iter().map(|letter| {
            let record = FutureRecord::to(&self.topic)
                .key(&letter.id)
                .payload(letter.original.as_ref())
                .timestamp(letter.provenance.timestamp)
                .headers(headers(letter));
            producer.send(record, QUEUE_WITHIN)
        });
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
}
