//! What tests do to Kafka.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(30);

/// The broker's address.
#[must_use]
pub fn address() -> String {
    crate::variable("TAFFRAIL_TEST_KAFKA")
}

/// Brokers to be worked with.
pub struct Cluster {
    config: ClientConfig,
}

impl Cluster {
    /// That of all tests.
    #[must_use]
    pub fn shared() -> Self {
        Self::at(&address())
    }

    /// Brokers at addresses that are separated by commas.
    #[must_use]
    pub fn at(brokers: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        Self { config }
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.config.create().context("no Kafka client")
    }

    /// What clients are told, to be added to.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// How many brokers there are.
    ///
    /// # Errors
    /// When none answers.
    pub fn brokers(&self) -> Result<usize> {
        let admin = self.admin()?;
        Ok(admin.inner().fetch_metadata(None, Duration::from_secs(2))?.brokers().len())
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// When Kafka does not.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replicas: i32,
        settings: &[(&str, &str)],
    ) -> Result<()> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        for outcome in self.admin()?.create_topics([&topic], &options()).await? {
            outcome.map_err(|(name, code)| anyhow!("could not create the topic {name}: {code}"))?;
        }
        Ok(())
    }

    /// Gives a topic more partitions.
    ///
    /// # Errors
    /// When Kafka does not.
    pub async fn grow_topic(&self, name: &str, partitions: usize) -> Result<()> {
        for outcome in self.admin()?.create_partitions([&NewPartitions::new(name, partitions)], &options()).await? {
            outcome.map_err(|(name, code)| anyhow!("could not grow the topic {name}: {code}"))?;
        }
        Ok(())
    }

    /// Removes the records of a partition that are below an offset, as retention does.
    ///
    /// # Errors
    /// When Kafka does not.
    pub async fn remove_records(&self, topic: &str, partition: i32, below: i64) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(below))?;
        for element in self.admin()?.delete_records(&list, &options()).await?.elements() {
            element.error()?;
        }
        Ok(())
    }

    /// The offset after the last record of each partition.
    ///
    /// # Errors
    /// When Kafka does not say.
    pub fn ends(&self, topic: &str, partitions: i32) -> Result<Vec<i64>> {
        let admin = self.admin()?;
        let end = |partition| Ok(admin.inner().fetch_watermarks(topic, partition, PATIENCE)?.1);
        (0..partitions).map(end).collect()
    }

    /// Reads the records of a topic from an offset of each partition on, to where they end now: gives partition, offset,
    /// key and payload of each.
    ///
    /// # Errors
    /// When Kafka does not give them.
    pub fn read(&self, topic: &str, from: &[i64], mut take: impl FnMut(i32, i64, &[u8], &[u8])) -> Result<()> {
        let ends = self.ends(topic, i32::try_from(from.len())?)?;
        let mut config = self.config();
        // Nobody joins the group.
        config.set("group.id", "reader").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create()?;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in (0..).zip(from) {
            list.add_partition_offset(topic, partition, Offset::Offset(*offset))?;
        }
        consumer.assign(&list)?;
        let mut left: i64 = ends.iter().zip(from).map(|(end, from)| end - from).sum();
        while left > 0 {
            let message = consumer.poll(PATIENCE).context("Kafka gives nothing")??;
            let end = ends.get(usize::try_from(message.partition())?).context("a partition nobody asked for")?;
            if message.offset() < *end {
                let (key, payload) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
                take(message.partition(), message.offset(), key, payload);
                left -= 1;
            }
        }
        Ok(())
    }

    /// A producer of records for a topic.
    ///
    /// # Errors
    /// When there is no client.
    pub fn producer(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<Producer> {
        let mut config = self.config();
        config.set("enable.idempotence", "true").set("linger.ms", "20").set("message.max.bytes", "8000000");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        Ok(Producer { producer: config.create()?, topic: topic.to_owned(), partitions, next: 0 })
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE))
}

/// Makes a topic on the brokers of all tests.
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
    Cluster::shared().create_topic(name, partitions, 1, settings).await
}

/// Deletes a topic. Afterwards it can be made anew.
///
/// # Errors
/// When Kafka does not.
pub async fn delete_topic(name: &str) -> Result<()> {
    for outcome in Cluster::shared().admin()?.delete_topics(&[name], &options()).await? {
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
    /// One for a topic on the brokers of all tests.
    ///
    /// # Errors
    /// When there is no client.
    pub fn new(topic: &str, partitions: i32) -> Result<Self> {
        Cluster::shared().producer(topic, partitions, &[])
    }

    /// Hands a record over.
    ///
    /// # Errors
    /// When the client does not take it.
    pub fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.hand_over(None, payload)
    }

    /// Hands over a record that has a key. The key says nothing about its partition.
    ///
    /// # Errors
    /// When the client does not take it.
    pub fn send_with_key(&mut self, key: &[u8], payload: &[u8]) -> Result<()> {
        self.hand_over(Some(key), payload)
    }

    fn hand_over(&mut self, key: Option<&[u8]>, payload: &[u8]) -> Result<()> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic).partition(self.next).payload(payload);
        record.key = key;
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
