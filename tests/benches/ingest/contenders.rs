//! Who drains the topic, and how each is set up: as its manual says, with the same limits of a batch.

mod ours;
mod peers;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::Value;

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
    /// Taffrail that derives three counters and a histogram
    Derived,
    /// Taffrail with a transform
    Transform,
    /// rsyslog
    Rsyslog,
    /// telegraf
    Telegraf,
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
    /// Host and port of the metrics worker.
    pub metrics: &'a str,
}

impl Contender {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "a consumer that discards",
            Self::Floor => "the floor",
            Self::Taffrail => "**Taffrail**",
            Self::Derived => "Taffrail, derived metrics",
            Self::Transform => "Taffrail, transform",
            Self::Rsyslog => "rsyslog",
            Self::Telegraf => "telegraf",
        }
    }

    /// Whether it is somebody else's.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Rsyslog | Self::Telegraf)
    }

    /// Whether it is on this machine.
    pub fn is_there(self) -> bool {
        match self {
            Self::Rsyslog => program(peers::RSYSLOG).is_some(),
            Self::Telegraf => program(peers::TELEGRAF).is_some(),
            _ => true,
        }
    }

    /// Whether the documents must be the bytes that were produced.
    pub fn keeps_bytes(self) -> bool {
        !matches!(self, Self::Transform | Self::Telegraf)
    }

    /// Whether a document is what an entry must become.
    pub fn is_result(self, mut entry: Value, document: &Value) -> bool {
        match self {
            Self::Transform => {
                ours::transform(&mut entry);
                entry == *document
            }
            // It has a form of its own, of which the text tells enough.
            Self::Telegraf => entry["message"] == document["log"]["message"],
            _ => entry == *document,
        }
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
            Self::Taffrail => ours::ingestion(ours::Extra::None, setup),
            Self::Derived => ours::ingestion(ours::Extra::Metrics, setup),
            Self::Transform => ours::ingestion(ours::Extra::Transform, setup),
            Self::Rsyslog => peers::rsyslog(setup),
            Self::Telegraf => peers::telegraf(setup),
        }
    }

    /// What starts the worker that takes its metrics.
    pub fn metrics_command(self, setup: &Setup<'_>) -> Result<Option<Command>> {
        (self == Self::Derived).then(|| ours::metrics(setup)).transpose()
    }
}

/// A program of which `cargo xtask bench` says where it is.
fn program(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

/// This program, as one of the limits.
fn limit(name: &str, setup: &Setup<'_>) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("no path of this program")?);
    command.args([name, "--kafka", setup.kafka, "--topic", &setup.topic.name, "--group", setup.group]);
    command.args(["--entries", &setup.topic.entries.to_string()]).stdin(Stdio::null());
    Ok(command)
}
