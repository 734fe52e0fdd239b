//! One contender, draining one topic into one sink.

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use taffrail_tests::process::{Process, free_port, peak_memory, processor_time};
use taffrail_tests::{kafka, unique};

use crate::contenders::{Contender, Setup};
use crate::entries::{Topic, write};
use crate::limits::DONE;
use crate::node;
use crate::sink::{Sink, Tally};

/// How often a sink is asked whether it has all: the one that is ours, and Elasticsearch, which has to do for it.
const LOOK_EVERY: [Duration; 2] = [Duration::from_millis(4), Duration::from_millis(100)];
/// A contender that delivers nothing for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(90);
/// Lines of a log that an error shows.
const SHOWN: usize = 10;
/// How long the metrics worker may take to be up, and metrics to arrive behind the logs.
const PATIENCE: Duration = Duration::from_secs(30);
/// When the day of the entries is over.
const DAY_OVER: u64 = 1_795_219_200;

/// Where logs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Accepting,
    Elasticsearch,
}

/// What a process took.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Seconds of processor time for a million entries.
    pub cpu: f64,
    /// MiB of memory at most.
    pub memory: f64,
}

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Entries a second, from the start of the process until the sink had all of them.
    pub rate: f64,
    /// The contender.
    pub own: Usage,
    /// The worker that takes its metrics.
    pub metrics: Option<Usage>,
    /// Seconds of Elasticsearch's processor time for a million entries.
    pub elasticsearch: Option<f64>,
    /// Documents that came more than once.
    pub doubled: u64,
}

fn usage(process: &Process, topic: &Topic) -> Result<Usage> {
    Ok(Usage {
        cpu: processor_time(process.id())?.as_secs_f64() / (topic.entries as f64 / 1e6),
        memory: peak_memory(process.id())? as f64 / f64::from(1 << 20),
    })
}

/// The other end.
enum End {
    Accepting(Sink),
    Elasticsearch { before: Duration },
}

impl End {
    async fn new(kind: Kind, topic: &Topic) -> Result<Self> {
        Ok(match kind {
            Kind::Accepting => Self::Accepting(Sink::start(topic.entries)?),
            Kind::Elasticsearch => {
                node::clear().await?;
                Self::Elasticsearch { before: node::processor_time().await? }
            }
        })
    }

    fn address(&self) -> String {
        match self {
            Self::Accepting(sink) => sink.address.to_string(),
            Self::Elasticsearch { .. } => node::address(),
        }
    }

    /// How much is there, and since when all of it.
    async fn progress(&self, topic: &Topic) -> Result<(u64, Option<Instant>)> {
        Ok(match self {
            Self::Accepting(sink) => (sink.tally.distinct(), sink.tally.complete()),
            Self::Elasticsearch { .. } => {
                let written = node::written().await?;
                (written, (written >= topic.entries).then(Instant::now))
            }
        })
    }
}

/// Lets a contender drain a topic into a sink.
pub async fn run(contender: Contender, topic: &Topic, kind: Kind) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    let end = End::new(kind, topic).await?;
    let setup = Setup {
        folder: folder.path(),
        kafka: &kafka::address(),
        topic,
        group: &unique("bench"),
        sink: &end.address(),
        metrics: &format!("127.0.0.1:{}", free_port()?),
    };
    let metrics = match contender.metrics_command(&setup)? {
        Some(mut command) => Some(metrics_worker(&mut command, &setup).await?),
        None => None,
    };
    let mut command = contender.command(&setup)?;
    let begun = Instant::now();
    let mut process = Process::start(&mut command, &folder.path().join("contender"))?;
    let ended = until_all_is_there(contender, topic, &end, &mut process).await?;
    if metrics.is_some() {
        until_all_is_counted(&setup).await?;
    }
    let (own, metrics) = (usage(&process, topic)?, metrics.map(|worker| usage(&worker, topic)).transpose()?);
    let elasticsearch = match end {
        End::Elasticsearch { before } => {
            let taken = node::processor_time().await? - before;
            Some(taken.as_secs_f64() / (topic.entries as f64 / 1e6))
        }
        End::Accepting(_) => None,
    };
    let doubled = match &end {
        _ if contender == Contender::Bare => Ok(0),
        End::Accepting(sink) => verify(contender, topic, &sink.tally),
        End::Elasticsearch { .. } => node::verify(contender, topic).await,
    };
    let doubled = doubled.with_context(|| format!("what {} delivered is not right", contender.name()))?;
    let rate = topic.entries as f64 / (ended - begun).as_secs_f64();
    Ok(Measured { rate, own, metrics, elasticsearch, doubled })
}

/// When the last entry came.
async fn until_all_is_there(contender: Contender, topic: &Topic, end: &End, process: &mut Process) -> Result<Instant> {
    let look_every = LOOK_EVERY[usize::from(matches!(end, End::Elasticsearch { .. }))];
    let (mut had, mut since) = (0, Instant::now());
    loop {
        let (has, complete) = end.progress(topic).await?;
        if contender == Contender::Bare && process.output().contains(DONE) {
            return Ok(Instant::now());
        }
        if let Some(at) = complete {
            return Ok(at);
        }
        process.check()?;
        if has > had {
            (had, since) = (has, Instant::now());
        } else if since.elapsed() > STUCK_AFTER {
            let log = process.log();
            let end: Vec<&str> = log.lines().rev().take(SHOWN).collect();
            let end: Vec<&str> = end.into_iter().rev().collect();
            bail!("{} is stuck at {had} of {} entries:\n{}", contender.name(), topic.entries, end.join("\n"));
        }
        tokio::time::sleep(look_every).await;
    }
}

async fn metrics_worker(command: &mut std::process::Command, setup: &Setup<'_>) -> Result<Process> {
    let files: &Path = &setup.folder.join("metrics");
    let mut worker = Process::start(command, files)?;
    let begun = Instant::now();
    while TcpStream::connect(setup.metrics).is_err() {
        worker.check()?;
        ensure!(begun.elapsed() < PATIENCE, "the metrics worker is not up:\n{}", worker.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(worker)
}

/// Logs do not wait for metrics, so that the last of these come a moment later.
async fn until_all_is_counted(setup: &Setup<'_>) -> Result<()> {
    let query = format!("http://{}/api/v1/query?query=sum+log_count&window=2d&time={DAY_OVER}", setup.metrics);
    let begun = Instant::now();
    loop {
        let answer: Value = reqwest::get(&query).await?.json().await?;
        let value = answer["data"]["result"][0]["value"][1].as_str().and_then(|value| value.parse::<f64>().ok());
        if value == Some(setup.topic.entries as f64) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "not all entries are counted: {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes sure that every entry has come as it must, and gives how many came once more.
fn verify(contender: Contender, topic: &Topic, tally: &Tally) -> Result<u64> {
    ensure!(tally.strange() == 0, "{} documents are no entries", tally.strange());
    if contender.keeps_bytes() {
        ensure!(tally.sum() == topic.sum, "not all documents are the bytes that were produced");
    }
    let samples = tally.samples();
    ensure!(!samples.is_empty(), "there is no document to look at");
    let mut text = String::new();
    for (number, document) in samples {
        text.clear();
        write(topic.size, number, &mut text)?;
        let (entry, document) = (serde_json::from_str(&text)?, serde_json::from_slice(&document)?);
        ensure!(contender.is_result(entry, &document), "{document} is not what {text} must become");
    }
    Ok(tally.received() - tally.distinct())
}
