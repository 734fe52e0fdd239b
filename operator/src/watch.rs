//! The watches, and which work follows from what they tell.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use taffrail_crds::{AlertRule, Dashboard, LogPipeline};
use tokio::task::JoinSet;

use crate::cache::{Cache, Change};
use crate::child::{Child, ChildKind};
use crate::context::{Context, Own};
use crate::controllers::trouble;
use crate::queue::Work;
use crate::resources::{COMPONENT, Component, INSTANCE, MANAGED_BY, MANAGER, SHARED};
use crate::secrets;

/// How long what a namespace's objects share waits for more of them to change.
const SETTLE: Duration = Duration::from_millis(300);

/// The namespaces that are watched: each by itself, or all at once.
pub(crate) fn scopes(context: &Context) -> Vec<Option<String>> {
    let named = &context.config.watch_namespaces;
    if named.is_empty() { vec![None] } else { named.iter().cloned().map(Some).collect() }
}

/// Starts all watches but that of ServiceMonitors.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>) {
    for scope in scopes(context) {
        tasks.spawn(own::<LogPipeline>(context.clone(), scope.clone()));
        tasks.spawn(own::<AlertRule>(context.clone(), scope.clone()));
        tasks.spawn(own::<Dashboard>(context.clone(), scope.clone()));
        tasks.spawn(secret_metadata(context.clone(), scope.clone()));
        for kind in ChildKind::BUILT_IN {
            tasks.spawn(children(context.clone(), scope.clone(), kind));
        }
    }
}

/// Whether there is anything to look after, and nothing else is to be waited for: a namespace in which the operator may
/// not read what it must is no reason to leave all others alone.
pub(crate) fn is_synced(context: &Context) -> bool {
    let known: Vec<_> = scopes(context).iter().map(|scope| known(context, scope)).collect();
    known.iter().all(Option::is_some) && known.contains(&Some(true))
}

/// Whether a namespace can be looked after.
pub(crate) fn looks_after(context: &Context, namespace: &str) -> bool {
    let is_all = context.config.watch_namespaces.is_empty();
    known(context, &(!is_all).then(|| namespace.to_owned())) == Some(true)
}

/// Whether all of a scope has been listed that is needed there, or may not be; nothing while that is under way.
///
/// Of the kinds that are only written it is enough to know that they may not be listed: what can't be done about them is
/// said then, and all others are looked after. Without the objects themselves, their Secrets and pods nothing true can be
/// said.
fn known(context: &Context, scope: &Option<String>) -> Option<bool> {
    let needed = [
        context.pipelines.listed(scope),
        context.rules.listed(scope),
        context.dashboards.listed(scope),
        context.secrets.metadata.listed(scope),
        context.children(ChildKind::Pod).listed(scope),
    ];
    if needed.contains(&Some(false)) {
        return Some(false);
    }
    let is_decided = |kind: &ChildKind| context.children(*kind).listed(scope).is_some();
    (!needed.contains(&None) && ChildKind::BUILT_IN.iter().all(is_decided)).then_some(true)
}

/// Watches one kind of the operator's objects, for good.
pub(crate) fn children(
    context: Arc<Context>,
    scope: Option<String>,
    kind: ChildKind,
) -> impl Future<Output = ()> + Send {
    let resource = kind.resource();
    let client = context.client.clone();
    let api: Api<Child> = match &scope {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let config = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    let events = watcher(api, config);
    let name = kind.kind();
    async move {
        let on = |change: Change<Child>| child_changed(&context, kind, &change);
        follow(&context, name, scope.as_deref(), context.children(kind), events, |_| {}, on).await;
    }
}

fn own<K: Own>(context: Arc<Context>, scope: Option<String>) -> impl Future<Output = ()> + Send {
    let events = watcher(api::<DeserializeGuard<K>>(&context.client, scope.as_deref()), watcher::Config::default());
    async move {
        let on = |(before, after): Change<DeserializeGuard<K>>| {
            let Some(object) = after.as_ref().or(before.as_ref()) else { return };
            let metadata = object.meta();
            let namespace = metadata.namespace.clone().unwrap_or_default();
            context.queue.add(K::work(&namespace, metadata.name.as_deref().unwrap_or_default()), Duration::ZERO);
            let shape = |object: &DeserializeGuard<K>| {
                (object.meta().uid.clone(), object.meta().generation, object.meta().deletion_timestamp.is_some())
            };
            if before.as_deref().map(shape) != after.as_deref().map(shape) {
                context.queue.add(Work::Namespace { namespace }, SETTLE);
            }
        };
        follow(&context, K::KIND, scope.as_deref(), K::cache(&context), events, lighten, on).await;
    }
}

fn secret_metadata(context: Arc<Context>, scope: Option<String>) -> impl Future<Output = ()> + Send {
    let api = api::<PartialObjectMeta<Secret>>(&context.client, scope.as_deref());
    let events = watcher(api, watcher::Config::default());
    async move {
        let on = |(before, after): Change<PartialObjectMeta<Secret>>| {
            let Some(secret) = after.as_ref().or(before.as_ref()) else { return };
            let namespace = secret.metadata.namespace.clone().unwrap_or_default();
            secret_changed(&context, &namespace, secret.metadata.name.as_deref().unwrap_or_default(), after.is_none());
        };
        let lighten = |secret: &mut PartialObjectMeta<Secret>| {
            lighten(secret);
            secret.metadata.annotations = None;
            secret.metadata.owner_references = None;
        };
        follow(&context, "Secret metadata", scope.as_deref(), &context.secrets.metadata, events, lighten, on).await;
    }
}

fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(client: &Client, scope: Option<&str>) -> Api<K> {
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Drops what nobody here looks at, and is the better half of many objects.
fn lighten<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// Follows a watch for good: a watch that breaks off is begun again, after a while that grows.
async fn follow<K>(
    context: &Context,
    what: &str,
    scope: Option<&str>,
    cache: &Cache<K>,
    events: impl futures::Stream<Item = watcher::Result<Event<K>>> + Send,
    lighten: impl Fn(&mut K),
    on: impl Fn(Change<K>),
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = pin!(events.default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => cache.take_in(scope, event.modify(&lighten)).into_iter().for_each(&on),
            Err(error) => {
                context.metrics.watch_failed();
                if is_refused(&error) {
                    cache.refuse(scope);
                }
                tracing::warn!(%error, "the watch of {what} broke off; it is begun again");
            }
        }
    }
}

fn child_changed(context: &Context, kind: ChildKind, (before, after): &Change<Child>) {
    let Some(child) = after.as_ref().or(before.as_ref()) else { return };
    let namespace = child.metadata.namespace.clone().unwrap_or_default();
    let (Some(component), Some(instance)) = (child.label(COMPONENT), child.label(INSTANCE)) else { return };
    let add = |work| context.queue.add(work, Duration::ZERO);
    let name = instance.to_owned();
    if component == Component::Ingestion.name() {
        add(Work::Pipeline { namespace, name });
        return;
    }
    if instance != SHARED || kind == ChildKind::Ingress {
        add(Work::Dashboard { namespace, name });
        return;
    }
    if kind != ChildKind::Pod {
        context.queue.add(Work::Namespace { namespace: namespace.clone() }, SETTLE);
    }
    // What the objects of a namespace share is told of each of them, when it comes, goes, or fails to.
    let fares = |child: &Child| (child.count("availableReplicas") > 0, trouble(child));
    let is_workload = matches!(kind, ChildKind::Deployment | ChildKind::Pod);
    if is_workload && before.as_deref().map(fares) != after.as_deref().map(fares) {
        for shared in [Component::Rules, Component::Dashboard] {
            if component == shared.name() {
                context.look_at_all_of(shared, &namespace);
            }
        }
    }
}

fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 403)
}

/// Has all objects looked at that name a Secret.
fn secret_changed(context: &Context, namespace: &str, name: &str, is_gone: bool) {
    if is_gone {
        context.secrets.forget(namespace, name);
    }
    let mut is_shared = false;
    for pipeline in context.pipelines.in_namespace(namespace) {
        let DeserializeGuard(Ok(pipeline)) = pipeline.as_ref() else { continue };
        if pipeline.spec.secret_names().contains(name) {
            is_shared |= pipeline.spec.reader_secret_names().contains(name);
            look_at(context, pipeline);
        }
    }
    for rule in context.rules.in_namespace(namespace) {
        let DeserializeGuard(Ok(rule)) = rule.as_ref() else { continue };
        if secrets::of_rule(&rule.spec, &context.config.receivers).contains(name) {
            look_at(context, rule);
        }
    }
    for dashboard in context.dashboards.in_namespace(namespace) {
        let DeserializeGuard(Ok(dashboard)) = dashboard.as_ref() else { continue };
        if dashboard.spec.secret_names().contains(name) {
            is_shared = true;
            look_at(context, dashboard);
        }
    }
    if is_shared || name == Component::Dashboard.shared_name() {
        context.queue.add(Work::Namespace { namespace: namespace.to_owned() }, SETTLE);
    }
}

fn look_at<K: Own>(context: &Context, object: &K) {
    let metadata = object.meta();
    let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
    context.queue.add(K::work(namespace.unwrap_or_default(), name.unwrap_or_default()), Duration::ZERO);
}
