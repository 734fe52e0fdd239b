//! Against librdkafka's broker for tests, because no real one can be made to answer everything but fetches.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::engine::Hurry;
use crate::health::{Health, SOURCE_STUCK};
use crate::lane::Books;
use crate::testing::until;

/// What fetches are answered by: something that a client goes on asking after.
const FAULT: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR;

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_has_records_and_gives_none_is_made_anew_and_given_up_and_may_come_again() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("logs", 1, 1).unwrap();
    let address = brokers.bootstrap_servers();
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &address).create().unwrap();
    let produce = |payload: &str| {
        producer.send(BaseRecord::<(), str>::to("logs").payload(payload)).unwrap();
        producer.flush(Duration::from_secs(10)).unwrap();
    };
    produce("first");

    let health = Arc::new(Health::new("default/shop".to_owned(), false));
    let intake = Intake {
        books: Arc::new(Books::default()),
        health: health.clone(),
        hurry: Arc::new(Hurry::default()),
        recount: None,
        stopping: CancellationToken::new(),
        drained: CancellationToken::new(),
    };
    let (stopping, drained) = (intake.stopping.clone(), intake.drained.clone());
    let spec = KafkaSource { brokers: vec![address], topic: Some("logs".to_owned()), ..KafkaSource::default() };
    let shared = Shared {
        pipeline: "default/shop".to_owned(),
        name: "shop".to_owned(),
        group: "shop".to_owned(),
        otherwise: Start::Beginning,
        excluded: None,
        topics: Topics::new(&spec),
        was_there: Arc::default(),
        spec,
        secrets: Arc::new(|_| None),
        runtime: tokio::runtime::Handle::current(),
        known: Arc::default(),
        intake,
    };
    let (records, mut taken) = mpsc::channel(4);
    let poller = std::thread::spawn(move || {
        Poller::new(shared, records, Watchdog::new(Duration::from_secs(1))).run();
    });
    assert_eq!(taken.recv().await.unwrap().len(), 1);
    assert_eq!(health.pulse.check(Instant::now()), Ok(()));

    brokers.request_errors(RDKafkaApiKey::Fetch, &vec![FAULT; 100_000]);
    produce("second");
    let is_stuck = || health.problem().is_some_and(|problem| problem.reason == SOURCE_STUCK);
    until("a silent partition is told of", is_stuck).await;
    assert!(health.pulse.restarts() > 0);
    // Twice more, and there is no hope but in a new process.
    for _ in 0..2 {
        let before = health.pulse.restarts();
        until("the consumer is made anew", || health.pulse.restarts() > before).await;
    }
    until("it is given up", || health.pulse.check(Instant::now()).is_err()).await;
    let why = health.pulse.check(Instant::now()).unwrap_err();
    assert!(why.contains("partition 0 of the topic `logs` has records"), "{why}");

    brokers.clear_request_errors(RDKafkaApiKey::Fetch);
    // Nothing was committed: all of it comes.
    let mut count = 0;
    while count < 2 {
        count += taken.recv().await.unwrap().len();
    }
    until("there is hope again", || health.pulse.check(Instant::now()).is_ok()).await;
    until("all is well", || health.problem().is_none()).await;
    stopping.cancel();
    drained.cancel();
    tokio::task::spawn_blocking(move || poller.join().unwrap()).await.unwrap();
}
