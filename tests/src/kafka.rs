//! What tests do to Kafka.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

const PATIENCE: Duration = Duration::from_secs(30);

/// The broker's address.
#[must_use]
pub fn address() -> String {
    crate::variable("TAFFRAIL_TEST_KAFKA")
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address());
    config
}

fn admin() -> Result<AdminClient<DefaultClientContext>> {
    config().create().context("no Kafka client")
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE))
}

/// Makes a topic.
///
/// # Errors
/// When Kafka does not.
pub async fn create_topic(name: &str, partitions: i32) -> Result<()> {
    create_topic_with(name, partitions, &[]).await
}

/// Makes a topic that has settings.
///
/// # Errors
/// When Kafka does not.
pub async fn create_topic_with(name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    for outcome in admin()?.create_topics([&topic], &options()).await? {
        outcome.map_err(|(name, code)| anyhow!("could not create the topic {name}: {code}"))?;
    }
    Ok(())
}

/// Deletes a topic. Afterwards it can be made anew.
///
/// # Errors
/// When Kafka does not.
pub async fn delete_topic(name: &str) -> Result<()> {
    for outcome in admin()?.delete_topics(&[name], &options()).await? {
        outcome.map_err(|(name, code)| anyhow!("could not delete the topic {name}: {code}"))?;
    }
    Ok(())
}

/// Produces records in order, to partitions in turn, each acknowledged before this returns.
pub struct Producer {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    partitions: i32,
    next: i32,
}

impl Producer {
    /// # Errors
    /// When there is no client.
    pub fn new(topic: &str, partitions: i32) -> Result<Self> {
        let producer = config()
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .set("message.max.bytes", "8000000")
            .create()?;
        Ok(Self { producer, topic: topic.to_owned(), partitions, next: 0 })
    }

    /// Hands a record over.
    ///
    /// # Errors
    /// When the client does not take it.
    pub fn send(&mut self, payload: &[u8]) -> Result<()> {
        let mut record = BaseRecord::<(), [u8]>::to(&self.topic).partition(self.next).payload(payload);
        self.next = (self.next + 1) % self.partitions;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Waits until all records are acknowledged.
    ///
    /// # Errors
    /// When they are not within half a minute.
    pub fn flush(&self) -> Result<()> {
        self.producer.flush(PATIENCE).context("Kafka did not acknowledge all records")
    }
}
