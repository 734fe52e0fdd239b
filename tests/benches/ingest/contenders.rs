//! Who drains the topic, and how each is set up: as its manual says, with the same limits of a batch.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Value, json};
use taffrail_tests::process::taffrail;

use crate::entries::Topic;

/// Entries of a batch.
pub const BATCH_ENTRIES: usize = 10_000;
/// Bytes of a batch.
pub const BATCH_BYTES: usize = 8 << 20;
/// How long a batch waits for more.
pub const BATCH_WAIT: Duration = Duration::from_secs(1);

/// Who drains the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// A consumer that discards
    Bare,
    /// Raw bytes, posted
    Floor,
    /// Taffrail, which passes entries on as they are
    Taffrail,
}

/// What a contender is told.
#[derive(Debug)]
pub struct Setup<'a> {
    /// A folder of its own.
    pub folder: &'a Path,
    /// The broker.
    pub kafka: &'a str,
    /// What to drain.
    pub topic: &'a Topic,
    /// A group that nobody has had.
    pub group: &'a str,
    /// Host and port of the sink.
    pub sink: &'a str,
}

impl Contender {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "a consumer that discards",
            Self::Floor => "the floor",
            Self::Taffrail => "Taffrail",
        }
    }

    /// Whether the documents must be the bytes that were produced.
    pub fn keeps_bytes(self) -> bool {
        true
    }

    /// Whether a document is what an entry must become, where the bytes are not kept.
    pub fn is_result(self, entry: &Value, document: &Value) -> bool {
        entry == document
    }

    /// What starts it.
    pub fn command(self, setup: &Setup<'_>) -> Result<Command> {
        match self {
            Self::Bare => limit("bare", setup),
            Self::Floor => {
                let mut command = limit("floor", setup)?;
                command.args(["--sink", setup.sink]);
                Ok(command)
            }
            Self::Taffrail => ingestion(setup),
        }
    }
}

/// This program, as one of the limits.
fn limit(name: &str, setup: &Setup<'_>) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("no path of this program")?);
    command.args([name, "--kafka", setup.kafka, "--topic", &setup.topic.name, "--group", setup.group]);
    command.args(["--entries", &setup.topic.entries.to_string()]).stdin(Stdio::null());
    Ok(command)
}

fn ingestion(setup: &Setup<'_>) -> Result<Command> {
    let pipeline = json!({
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
    let file = setup.folder.join("pipeline.yaml");
    fs::write(&file, pipeline.to_string())?;
    let mut command = taffrail("ingestion")?;
    command.arg(file).args(["--listen", "127.0.0.1:0", "--metrics", "http://127.0.0.1:9"]);
    command.arg("--data").arg(setup.folder.join("data"));
    Ok(command)
}
