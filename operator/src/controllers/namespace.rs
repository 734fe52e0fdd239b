//! What a namespace's objects share: the metrics, rule and dashboard workers. They come with the first object that
//! needs them and go with the last.
//!
//! The workloads, the metrics' volume and the Secret with the API key are owned by all objects that need them; what
//! belongs to a workload is owned by that. So a new rule changes two objects and not twenty.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Resource;
use kube::api::{Api, PostParams};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use taffrail_crds::LogPipeline;

use super::Subject;
use crate::apply::{apply, apply_all, prune};
use crate::cache::Cache;
use crate::child::ChildKind;
use crate::context::{Context, Own};
use crate::error::Error;
use crate::hash::hex;
use crate::resources::{Component, MANAGED_BY, MANAGER, Owner, Rendered, SHARED, dashboard, metrics, monitor, rules};
use crate::secrets::{self, Names};

/// All kinds that a shared worker may consist of.
const KINDS: [ChildKind; 11] = [
    ChildKind::Deployment,
    ChildKind::StatefulSet,
    ChildKind::Claim,
    ChildKind::Secret,
    ChildKind::Service,
    ChildKind::ConfigMap,
    ChildKind::Role,
    ChildKind::RoleBinding,
    ChildKind::ServiceAccount,
    ChildKind::NetworkPolicy,
    ChildKind::DisruptionBudget,
];
/// By this name API keys are made, so that applying the Secret without one does not take it away.
const KEY_MAKER: &str = "taffrail-operator-keys";

/// Who needs what.
#[derive(Default)]
struct Needs {
    metrics: Vec<Owner>,
    rules: Vec<Owner>,
    dashboards: Vec<Owner>,
    all: Vec<Owner>,
    /// The Secrets that rules' receivers name.
    rule_secrets: Names,
    /// The Secrets that the dashboard worker needs.
    dashboard_secrets: Names,
}

pub(super) async fn reconcile(context: &Context, namespace: &str) -> Result<Option<Duration>, Error> {
    let needs = dereference(context, namespace);
    let parts = [
        (Component::Metrics, metrics(context, namespace, &needs).await),
        (Component::Rules, rules(context, namespace, &needs).await),
        (Component::Dashboard, dashboards(context, namespace, &needs).await),
    ];
    let mut outcome = monitors(context, namespace, &needs).await;
    for (component, done) in parts {
        let why = done.as_ref().err().and_then(Error::why);
        if context.set_trouble(namespace, component, why) {
            context.look_at_all_of(component, namespace);
        }
        outcome = outcome.and(done);
    }
    outcome.map(|()| None)
}

fn dereference(context: &Context, namespace: &str) -> Needs {
    let mut needs = Needs {
        rules: owners(&context.rules, namespace),
        dashboards: owners(&context.dashboards, namespace),
        ..Needs::default()
    };
    let volume = context.children(ChildKind::StatefulSet).get(namespace, &Component::Metrics.shared_name());
    for pipeline in context.pipelines.in_namespace(namespace) {
        let Some(owner) = owner::<LogPipeline>(pipeline.as_ref()) else { continue };
        let needs_metrics = match pipeline.as_ref() {
            DeserializeGuard(Ok(pipeline)) => {
                needs.dashboard_secrets.extend(pipeline.spec.reader_secret_names());
                !pipeline.spec.metrics.is_empty()
            }
            // What can't be read any more needs what it needed.
            DeserializeGuard(Err(_)) => volume.as_ref().is_some_and(|volume| volume.is_owned_by(&owner.uid)),
        };
        if needs_metrics {
            needs.metrics.push(owner.clone());
        }
        needs.all.push(owner);
    }
    for rule in context.rules.in_namespace(namespace) {
        if let DeserializeGuard(Ok(rule)) = rule.as_ref() {
            needs.rule_secrets.extend(secrets::of_rule(&rule.spec, &context.config.receivers));
        }
    }
    for dashboard in context.dashboards.in_namespace(namespace) {
        if let DeserializeGuard(Ok(dashboard)) = dashboard.as_ref() {
            needs.dashboard_secrets.extend(dashboard.spec.secret_names());
        }
    }
    needs.dashboard_secrets.insert(Component::Dashboard.shared_name());
    let watched = needs.rules.iter().chain(&needs.dashboards).cloned().collect::<Vec<_>>();
    needs.metrics.extend(watched.clone());
    needs.all.extend(watched);
    needs
}

fn owners<K: Own>(objects: &Cache<DeserializeGuard<K>>, namespace: &str) -> Vec<Owner> {
    objects.in_namespace(namespace).iter().filter_map(|object| owner::<K>(object.as_ref())).collect()
}

fn owner<K: Own>(object: &DeserializeGuard<K>) -> Option<Owner> {
    let metadata = object.meta();
    metadata.deletion_timestamp.is_none().then(|| Subject::new::<K>(metadata).owner())
}

async fn metrics(context: &Context, namespace: &str, needs: &Needs) -> Result<(), Error> {
    let is_needed = !needs.metrics.is_empty();
    let roots = if is_needed { metrics::roots(namespace, &needs.metrics, &context.config) } else { Vec::new() };
    let attachments = |root: &Owner| metrics::attachments(namespace, root, &context.config);
    converge(context, namespace, Component::Metrics, roots, attachments).await
}

async fn rules(context: &Context, namespace: &str, needs: &Needs) -> Result<(), Error> {
    let is_needed = !needs.rules.is_empty();
    let roots = if is_needed { rules::roots(namespace, &needs.rules, &context.config) } else { Vec::new() };
    let named: Vec<_> = needs.rule_secrets.iter().cloned().collect();
    let attachments = |root: &Owner| rules::attachments(namespace, root, &named, &context.config, context.monitors());
    converge(context, namespace, Component::Rules, roots, attachments).await
}

async fn dashboards(context: &Context, namespace: &str, needs: &Needs) -> Result<(), Error> {
    let mut roots = Vec::new();
    if !needs.dashboards.is_empty() {
        if ensure_key(context, namespace).await? {
            roots.push(dashboard::key_secret(namespace, &needs.dashboards));
        }
        // One pipeline whose Secret is not there yet is no reason to start what all share anew.
        let there = context.secrets.present(namespace, &needs.dashboard_secrets);
        let hash = secrets::hash_of(context, namespace, &there).await?;
        let named: Vec<_> = there.into_iter().collect();
        roots.extend(dashboard::roots(namespace, &needs.dashboards, &named, &hash, &context.config));
    }
    let attachments = |root: &Owner| dashboard::attachments(namespace, root, &context.config);
    converge(context, namespace, Component::Dashboard, roots, attachments).await
}

async fn monitors(context: &Context, namespace: &str, needs: &Needs) -> Result<(), Error> {
    if !context.monitors() {
        return Ok(());
    }
    let is_needed = !needs.all.is_empty();
    let rendered: Vec<_> = is_needed.then(|| monitor::service_monitor(namespace, &needs.all)).into_iter().collect();
    apply_all(context, &rendered).await?;
    prune(context, (namespace, Component::Metrics, SHARED), &[ChildKind::ServiceMonitor], &rendered).await
}

/// Applies a worker's roots, then what is attached to its workload, and deletes what is left over. The workload is the
/// last of the roots.
async fn converge(
    context: &Context,
    namespace: &str,
    component: Component,
    mut rendered: Vec<Rendered>,
    attachments: impl Fn(&Owner) -> Vec<Rendered>,
) -> Result<(), Error> {
    let mut outcome = Ok(());
    if let Some((workload, others)) = rendered.split_last() {
        // A volume that can't be made smaller is no reason to leave the worker as it is.
        outcome = apply_all(context, others).await;
        let Some(uid) = apply(context, workload).await? else { return outcome };
        let root = Owner {
            api_version: workload.kind.api_version(),
            kind: workload.kind.kind(),
            name: workload.name.clone(),
            uid,
        };
        let attached = attachments(&root);
        outcome = outcome.and(apply_all(context, &attached).await);
        rendered.extend(attached);
    }
    outcome.and(prune(context, (namespace, component, SHARED), &KINDS, &rendered).await)
}

/// Makes the API key of a namespace where there is none. Returns whether the Secret is the operator's: one that
/// somebody has put there by hand is used and left alone.
async fn ensure_key(context: &Context, namespace: &str) -> Result<bool, Error> {
    let name = Component::Dashboard.shared_name();
    if let Some(known) = context.secrets.metadata.get(namespace, &name) {
        let labels = known.metadata.labels.as_ref();
        return Ok(labels.and_then(|labels| labels.get(MANAGED_BY)).map(String::as_str) == Some(MANAGER));
    }
    let mut key = [0; 32];
    if SystemRandom::new().fill(&mut key).is_err() {
        tracing::error!("this machine has no randomness to make an API key of");
        return Ok(false);
    }
    let rendered = dashboard::key_secret(namespace, &[]);
    let mut body = rendered.body;
    body["stringData"] = json!({dashboard::API_KEY: hex(&key)});
    // Made of valid parts a few lines above.
    let secret: Secret = serde_json::from_value(body).unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let params = PostParams { field_manager: Some(KEY_MAKER.to_owned()), ..PostParams::default() };
    let made = context.call("create", "Secret", &name, api.create(&params, &secret)).await?;
    context.metrics.wrote("create");
    let metadata = PartialObjectMeta { types: None, metadata: made.metadata, _phantom: std::marker::PhantomData };
    context.secrets.metadata.put(metadata);
    Ok(true)
}
