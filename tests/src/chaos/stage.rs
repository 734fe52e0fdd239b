//! Everything that runs: brokers, Elasticsearch on a small disk behind a gate, the metrics worker, ingestion workers.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::disk::{Disk, WATERMARKS};
use super::gate::Gate;
use super::load::Load;
use super::network;
use crate::brokers::Brokers;
use crate::elasticsearch;
use crate::ingestion::{Worker, write_secret};
use crate::kafka::Cluster;
use crate::node::Node;
use crate::process::{Process, taffrail};
use crate::proxy::Proxy;

pub(super) const BROKERS: usize = 3;
pub(super) const PARTITIONS: i32 = 6;
/// Workers while nobody comes or goes.
const WORKERS: usize = 3;

/// Ports are ours to choose in a network of our own.
pub(super) const SINK_PORT: u16 = 9200;
const TRANSPORT_PORT: u16 = 9300;
pub(super) const GATE_PORT: u16 = 9243;
pub(super) const METRICS_PORT: u16 = 9090;

/// The group of the first worker's process; each has one of its own.
const FIRST_GROUP: u32 = 70_000;

/// How long a server may take to come up on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(90);
/// How long a worker that was asked to stop may take when whatever it needs is away.
const LEFT_WITHIN: Duration = Duration::from_secs(60);
/// Bytes that a worker may have resident.
const MEMORY: u64 = 256 << 20;

/// The leaderships go back to where they belong within seconds, so that they move twice with every broker that goes.
const BROKER: &str = "leader.imbalance.check.interval.seconds=5\nleader.imbalance.per.broker.percentage=0";

const DROPPING: &str = r#"if .tags.env == "drop" { abort }"#;

/// A worker.
pub(super) struct Member {
    pub(super) worker: Worker,
    pub(super) name: String,
    pub(super) group: u32,
    /// Harm is being done to it.
    pub(super) is_busy: bool,
}

pub(super) struct Stage {
    folder: PathBuf,
    pub(super) brokers: Brokers,
    pub(super) node: Node,
    pub(super) disk: Disk,
    pub(super) gate: Gate,
    /// Between the gate and Elasticsearch.
    pub(super) path: Proxy,
    metrics: Option<Process>,
    pub(super) members: Vec<Member>,
    /// Workers that were asked to stop, and until when they may take.
    leaving: Vec<(Member, Instant)>,
    pipeline: Value,
    started: u32,
    pub(super) password: String,
    /// The most memory that any worker had, bytes.
    pub(super) peak: u64,
    pub(super) broker_ports: Vec<u16>,
    pub(super) cluster: Cluster,
}

impl Stage {
    /// Starts all of it, with a disk of so many bytes for Elasticsearch.
    pub(super) async fn start(folder: &Path, load: &Load, disk: u64) -> Result<Self> {
        network::prepare()?;
        let disk = Disk::mount(&folder.join("disk"), disk)?;
        let mut node = Node::new(&folder.join("node"), &disk.data(), [SINK_PORT, TRANSPORT_PORT], WATERMARKS)?;
        node.launch("")?;
        let brokers = Brokers::start(BROKERS, &[], BROKER).await?;
        let (cluster, addresses) = (brokers.cluster(), brokers.addresses("PLAINTEXT"));
        let port = |address: &String| address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let broker_ports = addresses.iter().filter_map(port).collect();
        cluster.create_topic(&load.name, PARTITIONS, BROKERS.try_into()?, &[]).await?;
        let path = Proxy::listen(&format!("127.0.0.1:{SINK_PORT}"))?;
        let password = "first".to_owned();
        let upstream = path.url();
        let gate = Gate::start(&folder.join("gate"), GATE_PORT, upstream.trim_start_matches("http://"), &password)?;
        write_secret(folder, "sink", &Gate::credentials(&password))?;
        let begun = Instant::now();
        while !node.is_up().await? {
            ensure!(begun.elapsed() < UP_WITHIN, "Elasticsearch is not up: see {}", node.log_file().display());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Whoever goes may come back to its port.
        network::ports(33_000, 60_000)?;
        // Of one day Elasticsearch takes no log: somebody has made its index, and `message` is to be a number there.
        let mapping = json!({"mappings": {"properties": {"message": {"type": "long"}}}});
        let (status, answer) = elasticsearch::request(Method::PUT, &load.bad_index(), &mapping).await?;
        ensure!(status == 200, "Elasticsearch answered {status}: {answer}");
        let pipeline = pipeline(load, &addresses);
        let mut stage = Self {
            folder: folder.to_owned(),
            brokers,
            node,
            disk,
            gate,
            path,
            metrics: None,
            members: Vec::new(),
            leaving: Vec::new(),
            pipeline,
            started: 0,
            password,
            peak: 0,
            broker_ports,
            cluster,
        };
        stage.launch_metrics()?;
        for _ in 0..WORKERS {
            stage.add_worker()?;
        }
        Ok(stage)
    }

    /// Starts one more worker, and gives its name.
    pub(super) fn add_worker(&mut self) -> Result<String> {
        let (name, group) = (format!("worker-{}", self.started), FIRST_GROUP + self.started);
        self.started += 1;
        let metrics = format!("http://127.0.0.1:{METRICS_PORT}");
        let worker = Worker::start_with(&self.folder, &name, &self.pipeline, |command| {
            command.gid(group).args(["--metrics", &metrics])
        })?;
        self.members.push(Member { worker, name: name.clone(), group, is_busy: false });
        Ok(name)
    }

    pub(super) fn member(&mut self, name: &str) -> Result<&mut Member> {
        self.members.iter_mut().find(|member| member.name == name).with_context(|| format!("there is no {name}"))
    }

    fn take(&mut self, name: &str) -> Result<Member> {
        let place = self.members.iter().position(|member| member.name == name);
        let member = self.members.remove(place.with_context(|| format!("there is no {name}"))?);
        self.note_memory(&member)?;
        Ok(member)
    }

    fn note_memory(&mut self, member: &Member) -> Result<()> {
        let peak = member.worker.peak_memory()?;
        self.peak = self.peak.max(peak);
        ensure!(peak < MEMORY, "{} had {} MiB resident", member.name, peak >> 20);
        Ok(())
    }

    /// `kill -9` of a worker.
    pub(super) fn kill_worker(&mut self, name: &str) -> Result<()> {
        self.take(name)?.worker.kill()
    }

    /// Asks a worker to stop.
    pub(super) fn dismiss(&mut self, name: &str) -> Result<()> {
        let mut member = self.take(name)?;
        member.worker.process().signal("TERM")?;
        self.leaving.push((member, Instant::now() + LEFT_WITHIN));
        Ok(())
    }

    pub(super) fn launch_metrics(&mut self) -> Result<()> {
        let mut command = taffrail("metrics")?;
        command.arg("--data").arg(self.folder.join("series"));
        command.args(["--listen", &format!("127.0.0.1:{METRICS_PORT}")]);
        self.metrics = Some(Process::start(&mut command, &self.folder.join("metrics"))?);
        Ok(())
    }

    pub(super) fn kill_metrics(&mut self) -> Result<()> {
        self.metrics.take().context("the metrics worker is not running")?.kill()
    }

    /// Fails when anybody has ended by itself, does not stop, or has taken too much memory.
    pub(super) async fn check(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.worker.process().check().context(member.name.clone())?;
        }
        for place in (0..self.leaving.len()).rev() {
            let (member, limit) = &mut self.leaving[place];
            match member.worker.process().ended()? {
                Some(status) => {
                    ensure!(status.success(), "{} ended with {status}", member.name);
                    self.leaving.remove(place);
                }
                None => ensure!(Instant::now() < *limit, "{} does not stop", member.name),
            }
        }
        if let Some(metrics) = &mut self.metrics {
            metrics.check().context("the metrics worker")?;
        }
        self.gate.check()
    }

    /// Whether everybody who was asked to stop has stopped.
    pub(super) fn has_settled(&self) -> bool {
        self.leaving.is_empty()
    }

    /// What every worker says of itself.
    pub(super) async fn statuses(&mut self) -> Result<Vec<(String, Value)>> {
        let mut statuses = Vec::new();
        for place in 0..self.members.len() {
            let member = &self.members[place];
            let status = member.worker.status().await.with_context(|| member.name.clone())?;
            statuses.push((member.name.clone(), status));
        }
        Ok(statuses)
    }

    /// Makes sure that all workers say that they are alive, and have kept their memory; gives how often they made their
    /// sources anew.
    pub(super) async fn examine(&mut self) -> Result<u64> {
        let mut restarts = 0.0;
        for member in &self.members {
            ensure!(member.worker.is_alive().await?, "{} says that only a new process can help", member.name);
            restarts += member.worker.samples("taffrail_ingestion_source_restarts_total").await?.values().sum::<f64>();
            let peak = member.worker.peak_memory()?;
            self.peak = self.peak.max(peak);
            ensure!(peak < MEMORY, "{} had {} MiB resident", member.name, peak >> 20);
        }
        Ok(restarts as u64)
    }

    /// The last lines that each worker has logged, for whoever looks into a failure.
    pub(super) fn last_words(&self) -> String {
        let leaving = self.leaving.iter().map(|(member, _)| member);
        let members = self.members.iter().chain(leaving);
        let words = members.map(|member| {
            let log = member.worker.log();
            let lines: Vec<_> = log.lines().collect();
            format!("--- {}\n{}\n", member.name, lines[lines.len().saturating_sub(12)..].join("\n"))
        });
        words.collect()
    }
}

fn pipeline(load: &Load, brokers: &[String]) -> Value {
    let mut object = json!({
        "apiVersion": "taffrail.dev/v1alpha1",
        "kind": "LogPipeline",
        "metadata": {"name": "shop"},
        "spec": {
            "source": {"kafka": {"brokers": brokers, "topic": load.name, "group": load.name}},
            "metrics": [{"name": "log_count", "type": "counter", "labels": {"level": "level"}}],
            "batch": {"size": 200, "timeout": "300ms", "maxBytes": "256Ki"},
            "sink": {"elasticsearch": {
                "urls": [format!("http://127.0.0.1:{GATE_PORT}")],
                "index": load.name,
                "auth": {"secretName": "sink"},
            }},
        },
    });
    if load.has_transform {
        object["spec"]["transform"] = DROPPING.into();
    }
    object
}
