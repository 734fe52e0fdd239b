//! Retention that removes records before they were read: they are counted as lost, exactly and once.

use std::time::Duration;

use serde_json::json;
use taffrail_tests::ingestion::Worker;
use taffrail_tests::kafka::Cluster;
use taffrail_tests::process::free_port;
use taffrail_tests::{elasticsearch, eventually, kafka, unique};

use crate::support::{PATIENCE, accounted, day_before, entry, pipeline};

fn produce(topic: &str, partitions: i32, numbers: std::ops::Range<usize>) {
    let mut producer = kafka::Producer::new(topic, partitions).unwrap();
    for n in numbers {
        producer.send(entry(n, day_before(1) + i64::try_from(n).unwrap()).as_bytes()).unwrap();
    }
    producer.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_removed_is_counted_once_and_through_restarts() {
    let (folder, name) = (tempfile::tempdir().unwrap(), unique("retention"));
    let _indices = elasticsearch::Indices(name.clone());
    kafka::create_topic(&name, 2).await.unwrap();
    let mut object = pipeline("retention", &name, &name);
    object["spec"]["metrics"] = json!([]);
    let start = |object: &serde_json::Value| Worker::start(folder.path(), "worker", object).unwrap();
    // While stopped: each partition has 100 records, of which 40 of one are removed beyond what was read.
    produce(&name, 2, 0..100);
    let worker = start(&object);
    accounted(&worker, 100).await;
    worker.stop().await.unwrap();
    produce(&name, 2, 100..200);
    Cluster::shared().remove_records(&name, 1, 90).await.unwrap();
    let worker = start(&object);
    let status = accounted(&worker, 160).await;
    assert_eq!(status["lost"], 40, "{status}");
    assert_eq!(status["partitions"][0]["lost"].as_u64().unwrap_or(0), 0, "{status}");
    assert_eq!(status["partitions"][1]["lost"], 40, "{status}");
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("40 records were removed by Kafka's retention"), "{message}");
    // A crash after that finds the same; one before a commit would have counted again from the offset before.
    worker.kill().unwrap();
    let worker = start(&object);
    let status = accounted(&worker, 160).await;
    assert_eq!(status["lost"], 40, "{status}");
    let lost = worker.samples("taffrail_ingestion_lost_by_kafka_total").await.unwrap();
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert_eq!(lost.values().sum::<f64>(), 40.0, "{lost:?}");
    worker.stop().await.unwrap();

    // While running: the sink is away, the pipeline is full, and retention goes on.
    let mut away = object.clone();
    let nowhere = format!("http://127.0.0.1:{}", free_port().unwrap());
    away["spec"]["sink"]["elasticsearch"]["urls"] = json!([nowhere]);
    away["spec"]["batch"] = json!({"size": 500, "timeout": "500ms", "maxBytes": "64Ki"});
    let worker = start(&away);
    // More than the pipeline and the client library hold.
    const MANY: usize = 120_000;
    produce(&name, 1, 200..200 + MANY);
    eventually(PATIENCE, || async {
        let status = worker.status().await.map_err(|error| format!("{error:#}"))?;
        let is_away = status["conditions"][0]["reason"] == "SinkUnavailable";
        if is_away && status["lag"].as_u64() >= Some(MANY as u64) { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let end = 100 + MANY as i64;
    Cluster::shared().remove_records(&name, 0, end - 1_000).await.unwrap();
    worker.kill().unwrap();
    // Nothing was written of it: all but the last thousand are lost.
    let worker = start(&object);
    let status = accounted(&worker, 160 + 1_000).await;
    assert_eq!(status["lost"], 40 + MANY as u64 - 1_000, "{status}");
    // And once more, in a consumer that is at work: what it holds it still delivers.
    produce(&name, 1, 0..10);
    let status = accounted(&worker, 160 + 1_010).await;
    assert_eq!(status["lost"], 40 + MANY as u64 - 1_000, "{status}");
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_at_work_goes_on_behind_what_retention_removed() {
    let (folder, name) = (tempfile::tempdir().unwrap(), unique("overtaken"));
    let _indices = elasticsearch::Indices(name.clone());
    kafka::create_topic(&name, 1).await.unwrap();
    let proxy = taffrail_tests::proxy::Proxy::listen(&elasticsearch::address()).unwrap();
    let mut object = pipeline("overtaken", &name, &name);
    object["spec"]["metrics"] = json!([]);
    object["spec"]["sink"]["elasticsearch"]["urls"] = json!([proxy.url()]);
    object["spec"]["batch"] = json!({"size": 500, "timeout": "500ms", "maxBytes": "64Ki"});
    let worker = Worker::start(folder.path(), "worker", &object).unwrap();
    produce(&name, 1, 0..100);
    accounted(&worker, 100).await;
    proxy.cut();
    const MANY: u64 = 200_000;
    produce(&name, 1, 100..100 + MANY as usize);
    eventually(PATIENCE, || async {
        let status = worker.status().await.map_err(|error| format!("{error:#}"))?;
        if status["lag"].as_u64() == Some(MANY) { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    Cluster::shared().remove_records(&name, 0, 100 + MANY as i64 - 1_000).await.unwrap();
    proxy.mend();
    // What it had taken already arrives, what it had not is lost, and nothing is both or neither.
    let status = eventually(PATIENCE, || async {
        let status = worker.status().await.map_err(|error| format!("{error:#}"))?;
        let count = |name: &str| status[name].as_u64().unwrap_or(0);
        if count("lag") == 0 && count("consumed") + count("lost") == 100 + MANY {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let count = |name: &str| status[name].as_u64().unwrap_or(0);
    assert!(count("lost") > 0 && count("consumed") >= 1_100, "{status}");
    assert_eq!(count("deduplicated") + count("deadLettered"), 0, "{status}");
    assert_eq!(elasticsearch::count(&format!("{name}-2*")).await.unwrap(), count("consumed"), "{status}");
    worker.stop().await.unwrap();
}
