//! What all controllers share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::{Client, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use taffrail_crds::{AlertRule, Dashboard, LogPipeline};

use crate::cache::Cache;
use crate::child::{Child, ChildKind};
use crate::config::Config;
use crate::controllers::tally::Tallies;
use crate::error::Error;
use crate::events::Events;
use crate::queue::{Queue, Work};
use crate::resources::{COMPONENT, Component, INSTANCE};
use crate::secrets::Secrets;
use crate::status::Why;
use crate::telemetry::OperatorMetrics;
use crate::workers::Reports;

/// How long the API server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What all controllers share.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) client: Client,
    pub(crate) metrics: OperatorMetrics,
    pub(crate) queue: Queue,
    pub(crate) events: Events,
    pub(crate) pipelines: Cache<DeserializeGuard<LogPipeline>>,
    pub(crate) rules: Cache<DeserializeGuard<AlertRule>>,
    pub(crate) dashboards: Cache<DeserializeGuard<Dashboard>>,
    pub(crate) secrets: Secrets,
    pub(crate) reports: Reports,
    pub(crate) tallies: Tallies,
    children: BTreeMap<ChildKind, Cache<Child>>,
    /// Whether the Prometheus Operator is there.
    monitors: AtomicBool,
    /// What is wrong with the workers that a namespace's objects share.
    troubles: Mutex<BTreeMap<(String, Component), Why>>,
}

impl Context {
    pub(crate) fn new(config: Config, client: Client, metrics: OperatorMetrics) -> Arc<Self> {
        let kinds = ChildKind::BUILT_IN.into_iter().chain([ChildKind::ServiceMonitor]);
        Arc::new(Self {
            events: Events::new(client.clone(), &config.identity),
            config,
            client,
            metrics,
            queue: Queue::default(),
            pipelines: Cache::default(),
            rules: Cache::default(),
            dashboards: Cache::default(),
            secrets: Secrets::default(),
            reports: Reports::default(),
            tallies: Tallies::default(),
            children: kinds.map(|kind| (kind, Cache::default())).collect(),
            monitors: AtomicBool::new(false),
            troubles: Mutex::default(),
        })
    }

    /// The operator's objects of a kind.
    pub(crate) fn children(&self, kind: ChildKind) -> &Cache<Child> {
        // Every kind has been put there.
        &self.children[&kind]
    }

    /// The operator's objects of a kind that belong to an instance.
    pub(crate) fn children_of(
        &self,
        kind: ChildKind,
        namespace: &str,
        component: Component,
        instance: &str,
    ) -> Vec<Arc<Child>> {
        let mut children = self.children(kind).in_namespace(namespace);
        children.retain(|child| {
            child.label(COMPONENT) == Some(component.name()) && child.label(INSTANCE) == Some(instance)
        });
        children
    }

    /// The pods of an instance that are not about to go.
    pub(crate) fn pods(&self, namespace: &str, component: Component, instance: &str) -> Vec<Arc<Child>> {
        let mut pods = self.children_of(ChildKind::Pod, namespace, component, instance);
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods
    }

    /// Whether ServiceMonitors are made.
    pub(crate) fn monitors(&self) -> bool {
        self.monitors.load(Ordering::Relaxed)
    }

    /// Says whether ServiceMonitors can be made.
    pub(crate) fn set_monitors(&self, are_there: bool) {
        self.monitors.store(are_there, Ordering::Relaxed);
    }

    /// What is wrong with the workers that objects share which are there for one of them: with that one, or with the
    /// metrics worker, which all need.
    pub(crate) fn trouble(&self, namespace: &str, component: Component) -> Option<Why> {
        let troubles = self.troubles.lock();
        [component, Component::Metrics].into_iter().find_map(|one| troubles.get(&(namespace.to_owned(), one)).cloned())
    }

    /// Notes what is wrong with a shared worker; returns whether that is news.
    pub(crate) fn set_trouble(&self, namespace: &str, component: Component, why: Option<Why>) -> bool {
        let key = (namespace.to_owned(), component);
        let mut troubles = self.troubles.lock();
        let before = match why.clone() {
            Some(why) => troubles.insert(key, why),
            None => troubles.remove(&key),
        };
        before != why
    }

    /// Has every object of a namespace looked at that a shared worker is there for.
    pub(crate) fn look_at_all_of(&self, component: Component, namespace: &str) {
        match component {
            Component::Rules => self.look_at::<AlertRule>(namespace),
            Component::Dashboard => self.look_at::<Dashboard>(namespace),
            Component::Metrics => {
                self.look_at::<AlertRule>(namespace);
                self.look_at::<Dashboard>(namespace);
            }
            Component::Ingestion => {}
        }
    }

    /// Has every object looked at, and what they share.
    pub(crate) fn look_at_everything(&self) {
        let mut namespaces = BTreeSet::new();
        namespaces.extend(self.pipelines.all().iter().filter_map(|object| object.meta().namespace.clone()));
        namespaces.extend(self.rules.all().iter().filter_map(|object| object.meta().namespace.clone()));
        namespaces.extend(self.dashboards.all().iter().filter_map(|object| object.meta().namespace.clone()));
        for namespace in namespaces {
            self.look_at::<LogPipeline>(&namespace);
            self.look_at::<AlertRule>(&namespace);
            self.look_at::<Dashboard>(&namespace);
            self.queue.add(Work::Namespace { namespace }, Duration::ZERO);
        }
    }

    fn look_at<K: Own>(&self, namespace: &str) {
        for object in K::cache(self).in_namespace(namespace) {
            let name = object.meta().name.as_deref().unwrap_or_default();
            self.queue.add(K::work(namespace, name), Duration::ZERO);
        }
    }

    /// Lets go what is kept beside the caches of objects that are gone.
    pub(crate) fn forget_what_is_gone(&self) {
        let pipelines = self.pipelines.all();
        let rules = self.rules.all();
        let pipelines = pipelines.iter().filter_map(|object| object.meta().uid.as_deref());
        let rules = rules.iter().filter_map(|object| object.meta().uid.as_deref());
        let there: BTreeSet<&str> = pipelines.chain(rules).collect();
        self.tallies.lock().retain(|uid, _| there.contains(uid.as_str()));
        self.reports.retain_objects(|uid| there.contains(uid));
    }

    /// Waits for the API server's answer, for as long as it may take.
    ///
    /// # Errors
    /// When it refuses, can't be reached or takes too long.
    pub(crate) async fn call<T>(
        &self,
        verb: &'static str,
        kind: &str,
        name: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(PATIENCE, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(Error::Api { verb, kind: kind.to_owned(), name: name.to_owned(), source }),
            Err(_) => Err(Error::Timeout { verb, kind: kind.to_owned(), name: name.to_owned() }),
        }
    }
}

/// One of the kinds that users apply.
pub(crate) trait Own:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Debug
    + Send
    + Sync
    + 'static
{
    /// The kind's name.
    const KIND: &'static str;
    /// All objects of the kind.
    fn cache(context: &Context) -> &Cache<DeserializeGuard<Self>>;
    /// Looking at one of them.
    fn work(namespace: &str, name: &str) -> Work;
}

macro_rules! own {
    ($type:ident, $cache:ident, $work:ident) => {
        impl Own for $type {
            const KIND: &'static str = stringify!($type);

            fn cache(context: &Context) -> &Cache<DeserializeGuard<Self>> {
                &context.$cache
            }

            fn work(namespace: &str, name: &str) -> Work {
                Work::$work { namespace: namespace.to_owned(), name: name.to_owned() }
            }
        }
    };
}

own!(LogPipeline, pipelines, Pipeline);
own!(AlertRule, rules, Rule);
own!(Dashboard, dashboards, Dashboard);
