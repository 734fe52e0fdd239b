//! What the tests share.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use taffrail_tests::ingestion::Worker;
use taffrail_tests::taffrail::Taffrail;
use taffrail_tests::{elasticsearch, eventually};

/// How long what is bound to happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A day in milliseconds.
pub const DAY: i64 = 86_400_000;

/// The start of the UTC day that was so many days ago, milliseconds since 1970.
pub fn day_before(days: i64) -> i64 {
    Timestamp::now().as_millisecond() / DAY * DAY - days * DAY
}

/// The index of the day on which something happened.
pub fn index(prefix: &str, millis: i64) -> String {
    format!("{prefix}-{}", Timestamp::from_millisecond(millis).unwrap().strftime("%Y.%m.%d"))
}

/// Entry number `n`, in the shape in which it is stored.
pub fn entry(n: usize, millis: i64) -> String {
    let level = ["debug", "info", "warn", "error"][n % 4];
    let timestamp = Timestamp::from_millisecond(millis).unwrap();
    format!(
        r#"{{"timestamp":"{timestamp}","level":"{level}","message":"entry number {n} of the test","service":"api","host":"web-{}","tags":{{"env":"test"}},"fields":{{"n":{n},"duration_ms":{}}}}}"#,
        n % 7,
        n % 900
    )
}

/// A pipeline from Kafka into Elasticsearch.
pub fn pipeline(name: &str, topic: &str, index: &str) -> Value {
    json!({
        "apiVersion": "taffrail.dev/v1alpha1",
        "kind": "LogPipeline",
        "metadata": {"name": name},
        "spec": {
            "source": {"kafka": {"brokers": [taffrail_tests::kafka::address()], "topic": topic, "group": topic}},
            "metrics": [{"name": "log_count", "type": "counter", "labels": {"level": "level"}}],
            "batch": {"size": 500, "timeout": "500ms"},
            "sink": {"elasticsearch": {"urls": [elasticsearch::address()], "index": index}},
        },
    })
}

/// Waits until a pipeline has accounted for so many records, no more, and gives its status.
pub async fn consumed(taffrail: &Taffrail, pipeline: &str, records: u64) -> Value {
    let status = eventually(PATIENCE, || async {
        let status = taffrail.pipeline(pipeline).await.map_err(|error| format!("{error:#}"))?;
        if status["consumed"].as_u64() >= Some(records) {
            Ok(status)
        } else {
            Err(format!("not {records} yet: {status}"))
        }
    })
    .await;
    let count = |name: &str| status[name].as_u64().unwrap();
    assert_eq!(count("consumed"), records, "{status}");
    let accounted = count("indexed") + count("deduplicated") + count("deadLettered") + count("filtered");
    assert_eq!(accounted, records, "{status}");
    status
}

/// Waits until a worker has accounted for so many records, no more, and lags behind nothing; gives its status.
pub async fn accounted(worker: &Worker, records: u64) -> Value {
    let status = eventually(PATIENCE, || async {
        let status = worker.status().await.map_err(|error| format!("{error:#}"))?;
        if status["consumed"].as_u64() >= Some(records) && status["lag"] == 0 {
            Ok(status)
        } else {
            Err(format!("not {records} yet: {status}"))
        }
    })
    .await;
    assert_eq!(status["consumed"], records, "{status}");
    let parts = ["indexed", "deduplicated", "deadLettered", "filtered"];
    let sum = |of: &Value| parts.iter().map(|part| of[*part].as_u64().unwrap_or(0)).sum::<u64>();
    assert_eq!(sum(&status), records, "{status}");
    assert_eq!(status["partitions"].as_array().into_iter().flatten().map(sum).sum::<u64>(), records, "{status}");
    status
}

/// The numbers of all entries in the indices whose names fit a pattern, in order.
pub async fn numbers(pattern: &str) -> Vec<u64> {
    let documents = elasticsearch::documents(pattern).await.unwrap();
    let mut numbers: Vec<u64> =
        documents.iter().map(|document| document["_source"]["fields"]["n"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}
