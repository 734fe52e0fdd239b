//! Dashboards: their worker watches them itself, and is asked how they are.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::DeserializeGuard;
use taffrail_crds::{Dashboard, DashboardStatus};

use super::pipeline::says;
use super::rollout::{Replica, judge};
use super::{SOON, Subject, find, secret_not_found, trouble, write_status};
use crate::apply::{apply_all, prune};
use crate::child::{Child, ChildKind};
use crate::context::Context;
use crate::error::Error;
use crate::resources::{Component, Rendered, SHARED, ingress};
use crate::status::{Verdict, Why};

/// The longest name of a Dashboard, which is that of its Ingress and a label's value.
const LONGEST_NAME: usize = 63;

pub(super) async fn reconcile(context: &Context, namespace: &str, name: &str) -> Result<Option<Duration>, Error> {
    let Some((object, subject)) = find::<Dashboard>(context, namespace, name).await? else { return Ok(None) };
    let DeserializeGuard(Ok(dashboard)) = object.as_ref() else { return Ok(None) };
    let pods = context.pods(namespace, Component::Dashboard, SHARED);
    let (verdict, failure) = match validate(dashboard) {
        Err(why) => (Verdict::degraded(why), None),
        Ok(()) => match apply(context, &subject, &build(dashboard, &subject)).await {
            Ok(()) if is_told(dashboard) && pods.iter().any(|pod| context.reports.is_undecided(pod)) => {
                return Ok(Some(SOON));
            }
            Ok(()) => (verdict(context, dashboard, &subject, &pods), None),
            Err(error) => match error.why() {
                Some(why) => (Verdict::degraded(why), Some(error)),
                None => return Err(error),
            },
        },
    };
    say(context, dashboard, &subject, verdict).await?;
    failure.map_or(Ok(None), Err)
}

/// Whether something has been said of this version of a dashboard.
fn is_told(dashboard: &Dashboard) -> bool {
    let status = dashboard.status.as_ref();
    status.is_some_and(|status| status.observed_generation == dashboard.metadata.generation)
}

pub(super) fn validate(dashboard: &Dashboard) -> Result<(), Why> {
    let name = dashboard.metadata.name.as_deref().unwrap_or_default();
    if name.len() > LONGEST_NAME || name == SHARED {
        let message = format!("a Dashboard's name has at most {LONGEST_NAME} characters, and is not `{SHARED}`");
        return Err(Why::new("InvalidName", message));
    }
    Ok(())
}

fn build(dashboard: &Dashboard, subject: &Subject) -> Vec<Rendered> {
    let owner = subject.owner();
    let ingress = dashboard.spec.ingress.iter();
    ingress.map(|ingress| ingress::ingress(&subject.namespace, &subject.name, &owner, ingress)).collect()
}

async fn apply(context: &Context, subject: &Subject, objects: &[Rendered]) -> Result<(), Error> {
    apply_all(context, objects).await?;
    let of = (subject.namespace.as_str(), Component::Dashboard, subject.name.as_str());
    prune(context, of, &[ChildKind::Ingress], objects).await
}

fn verdict(context: &Context, dashboard: &Dashboard, subject: &Subject, pods: &[Arc<Child>]) -> Verdict {
    let missing = context.secrets.missing(&subject.namespace, &dashboard.spec.secret_names());
    if let Some(why) = secret_not_found(&missing) {
        return Verdict::degraded(why);
    }
    let replicas: Vec<_> = pods.iter().map(|pod| replica(context, subject, pod)).collect();
    let deployment =
        context.children(ChildKind::Deployment).get(&subject.namespace, &Component::Dashboard.shared_name());
    let wanted = deployment.and_then(|deployment| usize::try_from(deployment.replicas.unwrap_or(1)).ok()).unwrap_or(1);
    // Pods of two rollouts show the same dashboard: as many as are wanted is enough.
    let mut verdict = judge(Component::Dashboard, wanted, &replicas);
    if let Some(why) = context.trouble(&subject.namespace, Component::Dashboard) {
        match verdict.ready {
            // What is refused of the metrics worker is no reason not to be shown.
            Some((true, _)) => verdict.degraded = (true, why),
            _ => verdict = Verdict::degraded(why),
        }
    }
    verdict
}

fn replica(context: &Context, subject: &Subject, pod: &Child) -> Replica {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let report = context.reports.of(uid, subject.kind, &subject.name);
    let report = report.filter(|report| report.generation == subject.generation);
    let says = report.as_ref().map(|report| {
        // Of a dashboard that it shows a worker need not say more.
        says(report).unwrap_or_else(|| (true, Why::new("Loaded", "the dashboard is shown")))
    });
    if says.is_none() {
        context.reports.await_pod(uid, true);
    }
    Replica { is_current: true, trouble: trouble(pod), says, warns: None }
}

async fn say(context: &Context, dashboard: &Dashboard, subject: &Subject, verdict: Verdict) -> Result<(), Error> {
    let before = dashboard.status.clone().unwrap_or_default();
    let after = DashboardStatus {
        url: Some(ingress::url(&subject.namespace, &subject.name, dashboard.spec.ingress.as_ref())),
        conditions: verdict.conditions(&before.conditions, subject.generation, Timestamp::now()),
        observed_generation: subject.generation,
    };
    if dashboard.status.as_ref() == Some(&after) {
        return Ok(());
    }
    // Plain data, which JSON can say.
    let status = serde_json::to_value(&after).unwrap_or_default();
    write_status::<Dashboard>(context, subject, &status, &before.conditions, &after.conditions).await
}
