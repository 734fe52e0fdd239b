//! LogPipelines: each has workers of its own.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::DeserializeGuard;
use taffrail_crds::{LogPipeline, LogPipelineStatus};

use super::rollout::{Replica, judge};
use super::tally::{Tally, Told};
use super::{SOON, Subject, find, secret_not_found, trouble, write_status};
use crate::apply::{apply_all, prune};
use crate::child::{Child, ChildKind};
use crate::config::Config;
use crate::context::Context;
use crate::error::Error;
use crate::resources::ingestion::{Surroundings, render};
use crate::resources::{CONTENT_HASH, Component, Rendered};
use crate::secrets::{self, Names};
use crate::status::{Verdict, Why};
use crate::workers::Reported;

/// The kinds of objects that a pipeline's workers consist of.
const KINDS: [ChildKind; 5] = [
    ChildKind::NetworkPolicy,
    ChildKind::ConfigMap,
    ChildKind::DisruptionBudget,
    ChildKind::Deployment,
    ChildKind::Service,
];
/// The longest name of a pipeline: that of its workload is longer by 10, and names a Service and a label.
const LONGEST_NAME: usize = 53;

/// What the pipeline's surroundings are.
struct Facts {
    secrets: Vec<String>,
    missing: Vec<String>,
    secrets_hash: String,
}

/// A pipeline's workload, as it should be.
struct Plan {
    objects: Vec<Rendered>,
    content_hash: String,
}

pub(super) async fn reconcile(context: &Context, namespace: &str, name: &str) -> Result<Option<Duration>, Error> {
    let Some((object, subject)) = find::<LogPipeline>(context, namespace, name).await? else { return Ok(None) };
    let DeserializeGuard(Ok(pipeline)) = object.as_ref() else { return Ok(None) };
    let facts = dereference(context, pipeline, &subject).await?;
    let pods = context.pods(namespace, Component::Ingestion, name);
    let (verdict, failure) = match validate(pipeline).and_then(|()| build(&context.config, pipeline, &subject, &facts))
    {
        // Workers of the version before go on.
        Err(why) => (Verdict::degraded(why), None),
        Ok(plan) => match apply(context, &subject, &plan).await {
            Ok(()) if is_told(pipeline) && pods.iter().any(|pod| context.reports.is_undecided(pod)) => {
                return Ok(Some(SOON));
            }
            Ok(()) => (verdict(context, &subject, &facts, &plan, &pods), None),
            Err(error) => match error.why() {
                Some(why) => (Verdict::degraded(why), Some(error)),
                None => return Err(error),
            },
        },
    };
    say(context, pipeline, &subject, verdict, &pods).await?;
    failure.map_or(Ok(None), Err)
}

/// Whether something has been said of this version of a pipeline.
fn is_told(pipeline: &LogPipeline) -> bool {
    let status = pipeline.status.as_ref();
    status.is_some_and(|status| status.observed_generation == pipeline.metadata.generation)
}

async fn dereference(context: &Context, pipeline: &LogPipeline, subject: &Subject) -> Result<Facts, Error> {
    let names: Names = pipeline.spec.secret_names();
    Ok(Facts {
        missing: context.secrets.missing(&subject.namespace, &names),
        secrets_hash: secrets::hash_of(context, &subject.namespace, &names).await?,
        secrets: names.into_iter().collect(),
    })
}

/// What the schema can't say: what a pipeline can't ask of a cluster.
fn validate(pipeline: &LogPipeline) -> Result<(), Why> {
    let invalid = |message: &str| Err(Why::new("InvalidSpec", message));
    let name = pipeline.metadata.name.as_deref().unwrap_or_default();
    if name.len() > LONGEST_NAME || name.contains('.') {
        return Err(Why::new(
            "InvalidName",
            format!(
                "a LogPipeline's name gives its workers theirs, and so has at most {LONGEST_NAME} characters and no dots"
            ),
        ));
    }
    if pipeline.spec.source.stdin.is_some() {
        return invalid(
            "the stdin source is that of a single process (`taffrail standalone`): a pod has no standard input",
        );
    }
    if pipeline.spec.sink.embedded.is_some() {
        return invalid(
            "the embedded sink is that of a single process (`taffrail standalone`): name an elasticsearch sink",
        );
    }
    if pipeline.spec.source.http.as_ref().is_some_and(|http| http.port == crate::resources::TELEMETRY_PORT) {
        return invalid("port 9090 is that of the worker's telemetry: give the http source another one");
    }
    if pipeline.spec.source.http.as_ref().is_some_and(|http| http.port < 1024) {
        return invalid("workers have no right to listen on a port below 1024: give the http source another one");
    }
    Ok(())
}

/// What keeps a pipeline from having workers, whatever else there is in the cluster.
pub(super) fn objection(config: &Config, pipeline: &LogPipeline) -> Option<Why> {
    let facts = Facts {
        secrets: pipeline.spec.secret_names().into_iter().collect(),
        missing: Vec::new(),
        secrets_hash: String::new(),
    };
    let subject = Subject::new::<LogPipeline>(&pipeline.metadata);
    validate(pipeline).and_then(|()| build(config, pipeline, &subject, &facts)).err()
}

fn build(config: &Config, pipeline: &LogPipeline, subject: &Subject, facts: &Facts) -> Result<Plan, Why> {
    let around = Surroundings { config, secrets: &facts.secrets, secrets_hash: &facts.secrets_hash };
    let rendered = render(pipeline, &subject.namespace, &subject.owner(), &around);
    let (objects, content_hash) = rendered.map_err(|error| Why::new("InvalidTemplate", error.to_string()))?;
    Ok(Plan { objects, content_hash })
}

async fn apply(context: &Context, subject: &Subject, plan: &Plan) -> Result<(), Error> {
    apply_all(context, &plan.objects).await?;
    let of = (subject.namespace.as_str(), Component::Ingestion, subject.name.as_str());
    prune(context, of, &KINDS, &plan.objects).await
}

/// What to say of a pipeline whose objects are as they should be.
fn verdict(context: &Context, subject: &Subject, facts: &Facts, plan: &Plan, pods: &[Arc<Child>]) -> Verdict {
    if let Some(why) = secret_not_found(&facts.missing) {
        return Verdict::degraded(why);
    }
    let replicas: Vec<_> = pods.iter().map(|pod| replica(context, subject, pod, plan)).collect();
    judge(Component::Ingestion, wanted(context, subject), &replicas)
}

fn replica(context: &Context, subject: &Subject, pod: &Child, plan: &Plan) -> Replica {
    let is_current = pod.annotation(CONTENT_HASH) == Some(plan.content_hash.as_str());
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let report = context.reports.of(uid, subject.kind, &subject.name);
    let says = report.as_ref().and_then(says);
    let warns =
        report.and_then(|report| condition(&report, "Degraded")).filter(|(is_so, _)| *is_so).map(|(_, why)| why);
    context.reports.await_pod(uid, is_current && says.as_ref().is_none_or(|(well, _)| !well));
    Replica { is_current, trouble: trouble(pod), says, warns }
}

/// What a worker says of its object: whether it is ready, and why.
pub(super) fn says(report: &Reported) -> Option<(bool, Why)> {
    condition(report, "Ready")
}

fn condition(report: &Reported, kind: &str) -> Option<(bool, Why)> {
    let conditions = report.status.get("conditions")?.as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == kind)?;
    let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    let reason = if is_reason(&text("reason")) { text("reason") } else { "Unknown".to_owned() };
    Some((condition["status"] == "True", Why::new(reason, text("message"))))
}

/// Whether the API server takes a word as a reason.
fn is_reason(word: &str) -> bool {
    word.len() <= 128
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn wanted(context: &Context, subject: &Subject) -> usize {
    let name = format!("{}-ingestion", subject.name);
    let deployment = context.children(ChildKind::Deployment).get(&subject.namespace, &name);
    deployment.and_then(|deployment| usize::try_from(deployment.replicas.unwrap_or(1)).ok()).unwrap_or(1)
}

/// Writes the status where it says something new.
async fn say(
    context: &Context,
    pipeline: &LogPipeline,
    subject: &Subject,
    verdict: Verdict,
    pods: &[Arc<Child>],
) -> Result<(), Error> {
    let before = pipeline.status.clone().unwrap_or_default();
    let mut after = counted(context, pipeline, subject, &before, pods);
    after.conditions = verdict.conditions(&before.conditions, subject.generation, Timestamp::now());
    after.observed_generation = subject.generation;
    if pipeline.status.as_ref() == Some(&after) {
        return Ok(());
    }
    // Plain data, which JSON can say.
    let status = serde_json::to_value(&after).unwrap_or_default();
    write_status::<LogPipeline>(context, subject, &status, &before.conditions, &after.conditions).await
}

/// What the workers have counted, all together.
fn counted(
    context: &Context,
    pipeline: &LogPipeline,
    subject: &Subject,
    before: &LogPipelineStatus,
    pods: &[Arc<Child>],
) -> LogPipelineStatus {
    let uid = |pod: &Child| pod.metadata.uid.clone().unwrap_or_default();
    let told: Vec<Told> = pods
        .iter()
        .map(|pod| {
            let report = context.reports.of(&uid(pod), subject.kind, &subject.name);
            (uid(pod), report.and_then(|report| serde_json::from_value(report.status).ok()))
        })
        .collect();
    let reports = || told.iter().filter_map(|(_, status)| status.as_ref());
    let mut after = LogPipelineStatus {
        replicas: u32::try_from(reports().count()).ok(),
        watermark: reports().filter_map(|status| status.watermark.clone()).min().or_else(|| before.watermark.clone()),
        ..LogPipelineStatus::default()
    };
    let mut tallies = context.tallies.lock();
    let tally = tallies
        .entry(subject.uid.clone())
        .or_insert_with(|| Tally::from_status(before, told.iter().map(|(pod, _)| pod.clone())));
    tally.count(pipeline.spec.source.kafka.as_ref(), before, &told, &mut after);
    drop(tallies);
    // Who is silent for a moment has not caught up: what was known stays known.
    after.lag = after.lag.or(before.lag);
    after
}
