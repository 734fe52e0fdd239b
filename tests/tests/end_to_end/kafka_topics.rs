//! Kafka as it is used: several topics, patterns, new topics and partitions, all compressions, transactions.

use std::path::PathBuf;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};
use taffrail_tests::ingestion::Worker;
use taffrail_tests::kafka::Cluster;
use taffrail_tests::{elasticsearch, eventually, kafka, unique};

use crate::support::{PATIENCE, accounted, day_before, entry, numbers, pipeline};

struct Stage {
    folder: tempfile::TempDir,
    name: String,
    _indices: elasticsearch::Indices,
}

impl Stage {
    fn new(name: &str) -> Self {
        let name = unique(name);
        Self { folder: tempfile::tempdir().unwrap(), _indices: elasticsearch::Indices(name.clone()), name }
    }

    /// A pipeline that reads what `source` says, and derives nothing.
    fn pipeline(&self, source: &Value) -> Value {
        let mut object = pipeline("topics", &self.name, &self.name);
        object["spec"]["metrics"] = json!([]);
        let kafka = object["spec"]["source"]["kafka"].as_object_mut().unwrap();
        kafka.remove("topic");
        kafka.extend(source.as_object().unwrap().clone());
        object
    }

    fn start(&self, source: &Value) -> Worker {
        Worker::start(self.folder.path(), "worker", &self.pipeline(source)).unwrap()
    }

    fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    fn produce(&self, topic: &str, partitions: i32, numbers: std::ops::Range<usize>, settings: &[(&str, &str)]) {
        let mut producer = Cluster::shared().producer(topic, partitions, settings).unwrap();
        for n in numbers {
            producer.send(entry(n, day_before(1) + i64::try_from(n).unwrap()).as_bytes()).unwrap();
        }
        producer.flush().unwrap();
    }

    /// Everything up to `end` is there once.
    async fn complete(&self, end: usize) {
        assert_eq!(numbers(&format!("{}-2*", self.name)).await, (0..end as u64).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_named_are_read_and_one_that_is_missing_is_told() {
    let stage = Stage::new("named");
    let (a, b) = (stage.topic("a"), stage.topic("b"));
    kafka::create_topic(&a, 2).await.unwrap();
    stage.produce(&a, 2, 0..100, &[]);
    let worker = stage.start(&json!({"topics": [a, b]}));
    accounted(&worker, 100).await;
    let missing = format!("the brokers do not have the topic `{b}`");
    eventually(PATIENCE, || async {
        let status = worker.status().await.map_err(|error| format!("{error:#}"))?;
        let condition = &status["conditions"][0];
        let is_told = condition["reason"] == "SourceUnavailable"
            && condition["message"].as_str().is_some_and(|message| message.contains(&missing));
        if is_told { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    kafka::create_topic(&b, 1).await.unwrap();
    stage.produce(&b, 1, 100..150, &[]);
    let status = accounted(&worker, 150).await;
    assert_eq!(status["partitions"].as_array().unwrap().len(), 3, "{status}");
    eventually(PATIENCE, || async {
        let status = worker.status().await.map_err(|error| format!("{error:#}"))?;
        if status["conditions"][0]["status"] == "True" { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    stage.complete(150).await;
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn new_topics_that_match_and_new_partitions_are_read_whole_from_wherever_a_group_starts() {
    let stage = Stage::new("pattern");
    let (a, late, dead) = (stage.topic("a"), stage.topic("late"), stage.topic("dead"));
    kafka::create_topic(&a, 1).await.unwrap();
    kafka::create_topic(&dead, 1).await.unwrap();
    // What there is before the pipeline starts is not wanted. It has letters of its own, which match and are not read.
    stage.produce(&a, 1, 1_000..1_100, &[]);
    stage.produce(&dead, 1, 2_000..2_010, &[]);
    // A name that only begins like one that matches.
    kafka::create_topic(&format!("{a}.old"), 1).await.unwrap();
    stage.produce(&format!("{a}.old"), 1, 3_000..3_010, &[]);
    let mut object = stage.pipeline(&json!({"topicPattern": format!("{}-[a-z]+", stage.name), "startFrom": "latest"}));
    object["spec"]["deadLetter"] = json!({"kafka": {"topic": dead}});
    let worker = Worker::start(stage.folder.path(), "worker", &object).unwrap();
    eventually(PATIENCE, || async {
        let status = worker.status().await.map_err(|error| format!("{error:#}"))?;
        // What it does not read is no lag.
        if status["lag"] == 0 && status["partitions"].as_array().is_some_and(|all| all.len() == 1) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    stage.produce(&a, 1, 0..100, &[]);
    accounted(&worker, 100).await;
    // They are written to before anybody has noticed that they are there.
    kafka::create_topic(&late, 2).await.unwrap();
    stage.produce(&late, 2, 100..200, &[]);
    Cluster::shared().grow_topic(&a, 3).await.unwrap();
    stage.produce(&a, 3, 200..300, &[]);
    let status = accounted(&worker, 300).await;
    assert_eq!(status["partitions"].as_array().unwrap().len(), 5, "{status}");
    stage.complete(300).await;
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_starts_at_the_end_misses_nothing_when_its_worker_dies_before_the_first_record() {
    let stage = Stage::new("latest");
    kafka::create_topic(&stage.name, 1).await.unwrap();
    stage.produce(&stage.name, 1, 1_000..1_100, &[]);
    let source = json!({"topic": stage.name, "startFrom": "latest"});
    let worker = stage.start(&source);
    let group = stage.name.clone();
    eventually(PATIENCE, || committed(&group, &stage.name, 100)).await;
    worker.kill().unwrap();
    stage.produce(&stage.name, 1, 0..50, &[]);
    let worker = stage.start(&source);
    accounted(&worker, 50).await;
    stage.complete(50).await;
    worker.stop().await.unwrap();
}

/// Whether a group has committed an offset of a topic's only partition.
async fn committed(group: &str, topic: &str, offset: i64) -> Result<(), String> {
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    let mut config = Cluster::shared().config();
    let consumer: BaseConsumer = config.set("group.id", group).create().map_err(|error| error.to_string())?;
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition(topic, 0);
    let list = consumer.committed_offsets(list, Duration::from_secs(5)).map_err(|error| error.to_string())?;
    let found = list.elements()[0].offset();
    if found == rdkafka::Offset::Offset(offset) { Ok(()) } else { Err(format!("{found:?}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_is_read() {
    let stage = Stage::new("compressed");
    kafka::create_topic(&stage.name, 1).await.unwrap();
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for (at, codec) in codecs.iter().enumerate() {
        stage.produce(&stage.name, 1, at * 500..(at + 1) * 500, &[("compression.type", codec)]);
    }
    let worker = stage.start(&json!({"topic": stage.name}));
    accounted(&worker, 2_500).await;
    stage.complete(2_500).await;
    worker.stop().await.unwrap();
}

fn transactional(id: &str) -> BaseProducer {
    let mut config = Cluster::shared().config();
    let producer: BaseProducer = config.set("transactional.id", id).set("linger.ms", "5").create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

fn send(producer: &BaseProducer, topic: &str, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let payload = entry(n, day_before(1) + i64::try_from(n).unwrap());
        producer.send(BaseRecord::<(), [u8]>::to(topic).partition(0).payload(payload.as_bytes())).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Whether a worker lags behind none of two partitions.
async fn no_lag_of_two(worker: &Worker) -> Result<(), String> {
    let lags = worker.samples("taffrail_ingestion_lag").await.map_err(|error| format!("{error:#}"))?;
    if lags.len() == 2 && lags.values().all(|lag| *lag == 0.0) { Ok(()) } else { Err(format!("{lags:?}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_transaction_aborts_is_not_read_and_leaves_no_lag() {
    let stage = Stage::new("transactions");
    let topic = stage.name.clone();
    kafka::create_topic(&topic, 1).await.unwrap();
    // A topic of which nothing was ever committed.
    let aborted = stage.topic("aborted");
    kafka::create_topic(&aborted, 1).await.unwrap();
    let producer = transactional(&stage.name);
    let transaction = |topic: &str, numbers: std::ops::Range<usize>, is_committed: bool| {
        producer.begin_transaction().unwrap();
        send(&producer, topic, numbers);
        if is_committed {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    };
    transaction(&topic, 0..50, true);
    transaction(&topic, 1_000..1_040, false);
    transaction(&aborted, 2_000..2_040, false);
    let source = json!({"topics": [topic, aborted]});
    let worker = stage.start(&source);
    accounted(&worker, 50).await;
    eventually(PATIENCE, || no_lag_of_two(&worker)).await;
    // 50 records, a mark, 40 records that were aborted, a mark; nor do others see a lag.
    eventually(PATIENCE, || committed(&stage.name, &topic, 92)).await;
    eventually(PATIENCE, || committed(&stage.name, &aborted, 41)).await;
    transaction(&topic, 50..80, true);
    accounted(&worker, 80).await;
    // What is open is not read yet, and nobody lags behind it.
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 80..100);
    worker.stop().await.unwrap();
    let worker = stage.start(&source);
    eventually(PATIENCE, || no_lag_of_two(&worker)).await;
    let status = accounted(&worker, 80).await;
    assert_eq!(status["deduplicated"], 0, "{status}");
    producer.commit_transaction(PATIENCE).unwrap();
    accounted(&worker, 100).await;
    stage.complete(100).await;
    let path: PathBuf = stage.folder.path().join("worker.log");
    assert!(!std::fs::read_to_string(path).unwrap().contains("SourceStuck"));
    worker.stop().await.unwrap();
}
