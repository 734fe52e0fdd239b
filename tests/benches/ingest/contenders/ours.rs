//! Taffrail: one worker for the logs, and one for the metrics where metrics are derived.

use std::fs;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};
use taffrail_tests::process::taffrail;

use super::{BATCH_BYTES, BATCH_ENTRIES, BATCH_WAIT, Setup};

/// What the pipeline does besides moving logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    None,
    Metrics,
    Transform,
}

/// What [`transform`] does, too.
const TRANSFORM: &str = r#"
.tags.team = "shop"
.fields.slow = to_float!(.fields.duration_ms) > 1000.0
.message = replace(string!(.message), "/api/v1", "")
del(.fields.trace_id)
"#;

/// Makes of an entry what Taffrail must make of it.
pub fn transform(entry: &mut Value) {
    entry["tags"]["team"] = "shop".into();
    entry["fields"]["slow"] = entry["fields"]["duration_ms"].as_f64().is_some_and(|took| took > 1_000.0).into();
    entry["message"] = entry["message"].as_str().unwrap_or_default().replace("/api/v1", "").into();
    if let Some(fields) = entry["fields"].as_object_mut() {
        fields.remove("trace_id");
    }
}

pub fn ingestion(extra: Extra, setup: &Setup<'_>) -> Result<Command> {
    let mut pipeline = json!({
        "apiVersion": "taffrail.dev/v1alpha1", "kind": "LogPipeline", "metadata": {"name": "bench"},
        "spec": {
            "source": {"kafka": {
                "brokers": [setup.kafka], "topic": setup.topic.name, "group": setup.group, "startFrom": "earliest",
            }},
            "batch": {
                "size": BATCH_ENTRIES, "maxBytes": BATCH_BYTES.to_string(),
                "timeout": format!("{}s", BATCH_WAIT.as_secs()),
            },
            "sink": {"elasticsearch": {"urls": [format!("http://{}", setup.sink)], "index": "bench"}},
        },
    });
    match extra {
        Extra::None => {}
        Extra::Transform => pipeline["spec"]["transform"] = TRANSFORM.into(),
        Extra::Metrics => {
            pipeline["spec"]["metrics"] = json!([
                {"name": "log_count", "type": "counter", "labels": {"service": "service", "level": "level"}},
                {"name": "error_count", "type": "counter", "match": {"level": "error"},
                 "labels": {"service": "service", "host": "host"}},
                {"name": "bytes_sent", "type": "counter", "value": "fields.bytes", "labels": {"service": "service"}},
                {"name": "response_time", "type": "histogram", "value": "fields.duration_ms",
                 "labels": {"service": "service"}},
            ]);
        }
    }
    let file = setup.folder.join("pipeline.yaml");
    fs::write(&file, pipeline.to_string())?;
    let mut command = taffrail("ingestion")?;
    command.arg(file).args(["--listen", "127.0.0.1:0", "--metrics", &format!("http://{}", setup.metrics)]);
    command.arg("--data").arg(setup.folder.join("data"));
    Ok(command)
}

pub fn metrics(setup: &Setup<'_>) -> Result<Command> {
    let mut command = taffrail("metrics")?;
    // The entries are of a day that is long ago for whoever runs this later.
    command.args(["--listen", setup.metrics, "--retention", "36500d"]);
    command.arg("--data").arg(setup.folder.join("series"));
    Ok(command)
}
