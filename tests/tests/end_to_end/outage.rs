//! A sink that is away while Kafka is full: memory is bounded, the worker stays in its group, and in the end everything
//! is there once.

// The figures are for who runs it.
#![allow(clippy::print_stderr)]

use std::time::{Duration, Instant};

use serde_json::json;
use taffrail_tests::ingestion::Worker;
use taffrail_tests::kafka::Cluster;
use taffrail_tests::proxy::Proxy;
use taffrail_tests::{elasticsearch, eventually, kafka, unique};

use crate::support::{PATIENCE, accounted, day_before, entry, pipeline};

/// How long the sink is away, seconds: `TAFFRAIL_TEST_OUTAGE=1800` makes it half an hour.
const SECONDS: u64 = 20;

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_sink_costs_no_memory_and_no_membership() {
    let seconds = std::env::var("TAFFRAIL_TEST_OUTAGE").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    const PARTITIONS: i32 = 100;
    const ENTRIES: usize = 300_000;
    let (folder, name) = (tempfile::tempdir().unwrap(), unique("outage"));
    let _indices = elasticsearch::Indices(name.clone());
    kafka::create_topic(&name, PARTITIONS).await.unwrap();
    // Logs are alike, and compress well: what is fetched is many times as much when it is unpacked.
    let settings = [("compression.type", "zstd"), ("linger.ms", "100"), ("batch.size", "500000")];
    let mut producer = Cluster::shared().producer(&name, PARTITIONS, &settings).unwrap();
    for n in 0..ENTRIES {
        producer.send(entry(n, day_before(1) + i64::try_from(n).unwrap()).as_bytes()).unwrap();
    }
    producer.flush().unwrap();

    let proxy = Proxy::listen(&elasticsearch::address()).unwrap();
    let mut object = pipeline("shop", &name, &name);
    object["spec"]["metrics"] = json!([]);
    object["spec"]["batch"] = json!({"size": 5_000, "timeout": "500ms"});
    object["spec"]["sink"]["elasticsearch"]["urls"] = json!([proxy.url()]);
    let worker = Worker::start(folder.path(), "worker", &object).unwrap();
    eventually(PATIENCE, || async {
        let status = worker.status().await.map_err(|error| format!("{error:#}"))?;
        if status["consumed"].as_u64() > Some(0) { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    proxy.cut();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let status = worker.status().await.unwrap();
        assert_eq!(status["partitions"].as_array().unwrap().len(), PARTITIONS as usize, "it stays in its group");
        assert!(worker.is_alive().await.unwrap());
    }
    let status = worker.status().await.unwrap();
    assert_eq!(status["conditions"][0]["reason"], "SinkUnavailable", "{status}");
    assert!(status["lag"].as_u64() > Some(0), "{status}");
    let peak = worker.peak_memory().unwrap() / MIB;
    eprintln!("peak of resident memory through an outage of {seconds} s: {peak} MiB");
    assert!(peak < 256, "{peak} MiB");
    proxy.mend();
    let status = accounted(&worker, ENTRIES as u64).await;
    assert_eq!(elasticsearch::count(&format!("{name}-2*")).await.unwrap(), ENTRIES as u64, "{status}");
    let restarts = worker.samples("taffrail_ingestion_source_restarts_total").await.unwrap();
    assert_eq!(restarts.values().sum::<f64>(), 0.0, "{restarts:?}");
    let peak = worker.peak_memory().unwrap() / MIB;
    eprintln!("and after it: {peak} MiB");
    assert!(peak < 256, "{peak} MiB");
    worker.stop().await.unwrap();
}
