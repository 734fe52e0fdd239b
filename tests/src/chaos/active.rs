//! Harm to the stage: how it is done and undone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::Value;

use super::faults::{Fault, Victim};
use super::gate::Gate;
use super::network::Harm;
use super::random::Random;
use super::stage::{BROKERS, GATE_PORT, METRICS_PORT, Stage};
use crate::elasticsearch;
use crate::ingestion::write_secret;
use crate::kafka::Cluster;

/// Harm that is being done.
pub(super) struct Active {
    pub(super) fault: Fault,
    lasts: Duration,
    until: Instant,
    /// What it is done to.
    pub(super) target: Target,
    /// Since when it is undone, and what was harmed comes back.
    healing: Option<Instant>,
}

pub(super) enum Target {
    Nobody,
    Worker(String, Option<Harm>),
    Broker(usize),
}

impl Target {
    fn worker(&self) -> &str {
        if let Self::Worker(name, _) = self { name } else { "" }
    }

    fn broker(&self) -> usize {
        if let Self::Broker(number) = self { *number } else { 0 }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Nobody => String::new(),
            Self::Worker(name, _) => format!(" {name}"),
            Self::Broker(number) => format!(" broker {number}"),
        }
    }
}

/// How long whoever was harmed may take to come back on a busy machine.
const BACK_WITHIN: Duration = Duration::from_secs(120);

/// Little room.
const OVERLOADED: &str =
    "thread_pool.write.size: 1\nthread_pool.write.queue_size: 1\nindexing_pressure.memory.coordinating.limit: 100kb\n";

/// Begins to do harm; none where there is nobody to do it to at the moment.
pub(super) fn begin(
    fault: Fault,
    stage: &mut Stage,
    active: &[Active],
    random: &mut Random,
    is_short: bool,
) -> Result<Option<Active>> {
    let victim = fault.victim();
    if active.iter().filter(|other| other.fault.victim() == victim).count() >= victim.at_once() {
        return Ok(None);
    }
    let (least, most) = fault.lasts();
    // As short as it can be, to be felt.
    let most = if is_short { least + 2_000 } else { most };
    let lasts = random.between(least, most);
    let free: Vec<usize> = (0..stage.members.len()).filter(|place| !stage.members[*place].is_busy).collect();
    let target = match fault {
        Fault::KillBroker | Fault::StopBroker | Fault::PauseBroker => Target::Broker(random.below(BROKERS)),
        Fault::ExtraWorker => Target::Worker(stage.add_worker()?, None),
        _ if matches!(victim, Victim::Worker | Victim::Network) => {
            let Some(place) = random.pick(&free) else { return Ok(None) };
            let harm = match fault {
                Fault::CutWorkerFromAll => Some(Harm::Cut(Vec::new())),
                Fault::CutWorkerFromBrokers => Some(Harm::Cut(stage.broker_ports.clone())),
                Fault::CutWorkerFromSink => Some(Harm::Cut(vec![GATE_PORT])),
                Fault::CutWorkerFromMetrics => Some(Harm::Cut(vec![METRICS_PORT])),
                Fault::LossyWorker => Some(Harm::Loss(4)),
                Fault::NarrowWorker => Some(Harm::Narrow),
                _ => None,
            };
            Target::Worker(stage.members[place].name.clone(), harm)
        }
        _ => Target::Nobody,
    };
    match (fault, &target) {
        (Fault::KillWorker, Target::Worker(name, _)) => stage.kill_worker(name)?,
        (Fault::ReplaceWorker, Target::Worker(name, _)) => stage.dismiss(name)?,
        (Fault::PauseWorker, Target::Worker(name, _)) => stage.member(name)?.worker.process().signal("STOP")?,
        (Fault::KillBroker, Target::Broker(number)) => stage.brokers.kill(*number)?,
        (Fault::StopBroker, Target::Broker(number)) => stage.brokers.signal(*number, "TERM")?,
        (Fault::PauseBroker, Target::Broker(number)) => stage.brokers.signal(*number, "STOP")?,
        (Fault::KillAllBrokers, _) => (0..BROKERS).try_for_each(|number| stage.brokers.kill(number))?,
        (Fault::KillSink, _) => stage.node.kill()?,
        (Fault::OverloadedSink, _) => {
            stage.node.kill()?;
            stage.node.launch(OVERLOADED)?;
        }
        (Fault::FullDisk, _) => stage.disk.fill()?,
        (Fault::NoSpace, _) => stage.disk.fill_up()?,
        (Fault::KillGate, _) => stage.gate.kill()?,
        (Fault::ChangePassword, _) => {
            stage.password = format!("password-{}", random.below(1_000_000));
            stage.gate.take(&stage.password)?;
        }
        (Fault::SlowPath, _) => stage.path.delay(random.between(200, 1_500)),
        (Fault::CutPath, _) => stage.path.cut(),
        (Fault::KillMetrics, _) => stage.kill_metrics()?,
        _ => {}
    }
    if let Target::Worker(name, harm) = &target
        && let Ok(member) = stage.member(name)
    {
        member.is_busy = true;
        if let Some(harm) = harm {
            harm.begin(member.group)?;
        }
    }
    Ok(Some(Active { fault, lasts, until: Instant::now() + lasts, target, healing: None }))
}

impl Active {
    /// Goes on: undoes the harm when it is time, and is true when all is well again.
    pub(super) async fn is_over(&mut self, stage: &mut Stage, folder: &std::path::Path) -> Result<bool> {
        match self.healing {
            None if self.fault == Fault::OverloadedSink && !stage.node.is_up().await? => {
                self.until = Instant::now() + self.lasts;
                Ok(false)
            }
            None if Instant::now() < self.until => Ok(false),
            None => {
                self.undo(stage, folder).await?;
                self.healing = Some(Instant::now());
                Ok(false)
            }
            Some(since) => {
                if self.is_well(stage).await? {
                    if let Target::Worker(name, _) = &self.target
                        && let Ok(member) = stage.member(name)
                    {
                        member.is_busy = false;
                    }
                    return Ok(true);
                }
                anyhow::ensure!(since.elapsed() < BACK_WITHIN, "{:?}: what was harmed does not come back", self.fault);
                Ok(false)
            }
        }
    }

    async fn undo(&self, stage: &mut Stage, folder: &std::path::Path) -> Result<()> {
        let (worker, broker) = (self.target.worker(), self.target.broker());
        match self.fault {
            Fault::KillWorker | Fault::ReplaceWorker => stage.add_worker().map(drop),
            Fault::ExtraWorker => stage.dismiss(worker),
            Fault::PauseWorker => stage.member(worker)?.worker.process().signal("CONT"),
            Fault::KillBroker => stage.brokers.launch(broker),
            Fault::StopBroker => {
                stage.brokers.stop(broker).await?;
                stage.brokers.launch(broker)
            }
            Fault::PauseBroker => stage.brokers.signal(broker, "CONT"),
            Fault::KillAllBrokers => (0..BROKERS).try_for_each(|number| stage.brokers.launch(number)),
            Fault::KillSink => stage.node.launch(""),
            Fault::OverloadedSink => {
                stage.node.kill()?;
                stage.node.launch("")
            }
            Fault::FullDisk | Fault::NoSpace => stage.disk.empty(),
            Fault::KillGate => stage.gate.launch(),
            Fault::ChangePassword => write_secret(folder, "sink", &Gate::credentials(&stage.password)).map(drop),
            Fault::SlowPath => {
                stage.path.delay(Duration::ZERO);
                Ok(())
            }
            Fault::CutPath => {
                stage.path.mend();
                Ok(())
            }
            Fault::KillMetrics => stage.launch_metrics(),
            Fault::CutWorkerFromAll
            | Fault::CutWorkerFromBrokers
            | Fault::CutWorkerFromSink
            | Fault::CutWorkerFromMetrics
            | Fault::LossyWorker
            | Fault::NarrowWorker => {
                let Target::Worker(_, Some(harm)) = &self.target else { return Ok(()) };
                let group = stage.member(worker)?.group;
                harm.end(group)
            }
        }
    }

    async fn is_well(&self, stage: &mut Stage) -> Result<bool> {
        match self.fault {
            Fault::KillBroker | Fault::StopBroker | Fault::PauseBroker | Fault::KillAllBrokers => {
                let addresses = stage.brokers.addresses("PLAINTEXT");
                let all = |address: &String| Cluster::at(address).brokers().is_ok_and(|count| count == BROKERS);
                Ok(tokio::task::block_in_place(|| addresses.iter().all(all)))
            }
            Fault::KillSink | Fault::OverloadedSink => stage.node.is_up().await,
            Fault::FullDisk | Fault::NoSpace => {
                // As its operator must: a shard that has failed often enough is left alone.
                let healthy = revive().await.unwrap_or(false);
                Ok(healthy && blocked_indices().await.is_ok_and(|count| count == 0))
            }
            _ => Ok(true),
        }
    }

    /// What is to be seen of the harm just before it is undone; for the timeline.
    pub(super) async fn effect(&self, stage: &Stage) -> String {
        let effect = match self.fault {
            Fault::FullDisk => blocked_indices().await.map(|count| format!("{count} indices are read-only")),
            Fault::NoSpace => stage.node.said("No space left on device").map(|count| format!("told {count} times")),
            Fault::OverloadedSink => refused_writes().await,
            _ => return String::new(),
        };
        effect.map_or_else(|error| format!(" ({error:#})"), |effect| format!(" ({effect})"))
    }

    /// Whether the harm is about to be undone.
    pub(super) fn is_due(&self) -> bool {
        self.healing.is_none() && Instant::now() >= self.until
    }
}

/// Indices that Elasticsearch has made read-only.
async fn blocked_indices() -> Result<usize> {
    let path = "*/_settings/index.blocks.read_only_allow_delete?expand_wildcards=all";
    let (status, answer) = elasticsearch::request(Method::GET, path, &Value::Null).await?;
    anyhow::ensure!(status == 200, "Elasticsearch answered {status}");
    Ok(answer.as_object().map_or(0, serde_json::Map::len))
}

/// Primary shards that are not there.
async fn failed_shards() -> Result<u64> {
    let (_, answer) = elasticsearch::request(Method::GET, "_cluster/health", &Value::Null).await?;
    answer["unassigned_primary_shards"].as_u64().with_context(|| format!("no number in {answer}"))
}

/// Has Elasticsearch try again to open shards that have failed; is true when all are there.
async fn revive() -> Result<bool> {
    elasticsearch::request(Method::POST, "_cluster/reroute?retry_failed=true", &Value::Null).await?;
    Ok(failed_shards().await? == 0)
}

/// How many requests and parts of requests Elasticsearch has refused since its start.
async fn refused_writes() -> Result<String> {
    let path = "_nodes/stats/thread_pool,indexing_pressure";
    let (_, answer) = elasticsearch::request(Method::GET, path, &Value::Null).await?;
    let node = answer["nodes"].as_object().and_then(|nodes| nodes.values().next()).context("it does not answer")?;
    let requests = &node["indexing_pressure"]["memory"]["total"]["coordinating_rejections"];
    Ok(format!("{requests} requests were refused, and {} parts of some", node["thread_pool"]["write"]["rejected"]))
}
