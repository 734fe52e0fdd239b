//! A namespace of a test's own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use serde_json::{Value, json};
use taffrail_operator::{Config, Operator};
use tokio::task::JoinHandle;

use super::workers::{Workers, kubelet};
use super::{TAFFRAIL, client, client_config, eventually, said, start, until};

/// A name that no other test has.
fn unique(name: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() % 1_000_000_000;
    format!("t{time}-{}-{}-{name}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A namespace of a test's own, which goes with it, and which admits pods of the restricted standard only.
pub struct Scratch {
    pub client: Client,
    pub namespace: String,
    kubelet: JoinHandle<()>,
    pub workers: Workers,
}

impl Scratch {
    pub async fn new(name: &str) -> Self {
        let client = client().await;
        let namespace = unique(name);
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let object = json!({"metadata": {"name": namespace, "labels": labels}});
        let api: Api<Namespace> = Api::all(client.clone());
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        let kubelet = tokio::spawn(kubelet(Api::namespaced(client.clone(), &namespace)));
        let workers = Workers::start().await;
        Self { client, namespace, kubelet, workers }
    }

    /// A configuration for an operator of this namespace alone.
    pub fn config(&self, identity: &str) -> Config {
        let mut config = Config::new(&self.namespace, identity, "taffrail:test");
        config.watch_namespaces = vec![self.namespace.clone()];
        config.service_monitors = false;
        config.poll_interval = Duration::from_secs(1);
        config.worker_port = self.workers.port;
        config.discovery_interval = Duration::from_secs(1);
        config.lease.duration = Duration::from_secs(6);
        config.lease.deadline = Duration::from_secs(4);
        config.lease.retry = Duration::from_secs(1);
        config
    }

    /// An operator of this namespace that leads.
    pub async fn operator(&self) -> Operator {
        let operator = start(self.config("operator-1"), self.client.clone());
        until("the operator leads", || async { operator.leads() && operator.ready().is_ok() }).await;
        operator
    }

    pub fn api(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Applies an object as a user does; `text` is its YAML without kind and metadata.
    pub async fn apply(&self, kind: &str, name: &str, spec: &str) -> DynamicObject {
        let spec: Value = serde_yaml::from_str(spec).unwrap();
        let object = json!({"apiVersion": TAFFRAIL, "kind": kind, "metadata": {"name": name}, "spec": spec});
        let params = PatchParams::apply("user").force();
        self.api(TAFFRAIL, kind).patch(name, &params, &Patch::Apply(&object)).await.unwrap()
    }

    pub async fn delete(&self, api_version: &str, kind: &str, name: &str) {
        self.api(api_version, kind).delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// An object, if it is there, with all its fields.
    pub async fn get(&self, api_version: &str, kind: &str, name: &str) -> Option<Value> {
        let found = self.api(api_version, kind).get_opt(name).await.unwrap()?;
        Some(serde_json::to_value(found).unwrap())
    }

    /// Waits for an object to be there, and to be as wanted.
    pub async fn wait_for(&self, api_version: &str, kind: &str, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let what = format!("{kind} {name} as wanted");
        eventually(&what, || async { self.get(api_version, kind, name).await.filter(|object| is_so(object)) }).await
    }

    /// Waits for an object to be gone.
    pub async fn wait_until_gone(&self, api_version: &str, kind: &str, name: &str) {
        let what = format!("{kind} {name} is gone");
        until(&what, || async { self.get(api_version, kind, name).await.is_none() }).await;
    }

    /// Waits for a condition of one of our objects to say `status reason`.
    pub async fn wait_for_condition(&self, kind: &str, name: &str, condition: &str, expected: &str) -> Value {
        self.wait_for(TAFFRAIL, kind, name, |object| said(object, condition).as_deref() == Some(expected)).await
    }

    /// What a condition says of each of our objects: `status reason`.
    pub async fn said_of_all(&self, condition: &str) -> Vec<String> {
        let mut all = Vec::new();
        for (api_version, kind) in WRITTEN.into_iter().filter(|(api_version, _)| *api_version == TAFFRAIL) {
            for object in self.api(api_version, kind).list(&ListParams::default()).await.unwrap() {
                all.extend(said(&serde_json::to_value(object).unwrap(), condition));
            }
        }
        all
    }

    /// Writes to an object as somebody else.
    pub async fn meddle(&self, api_version: &str, kind: &str, name: &str, patch: Value) {
        let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        self.api(api_version, kind).patch(name, &params, &Patch::Merge(&patch)).await.unwrap();
    }

    /// Kind, name and version of every object that an operator of this namespace may write, but for the Lease and
    /// others' Events. Pods it never writes.
    pub async fn versions(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (api_version, kind) in WRITTEN.into_iter().filter(|(_, kind)| *kind != "Pod") {
            for object in self.api(api_version, kind).list(&ListParams::default()).await.unwrap() {
                if kind == "Event" && object.data["reportingComponent"] != taffrail_operator::FIELD_MANAGER {
                    continue;
                }
                let version = object.metadata.resource_version.unwrap_or_default();
                all.push(format!("{kind} {} {version}", object.metadata.name.unwrap_or_default()));
            }
        }
        all.sort();
        all
    }

    /// Names of everything the operator has made here, and of its pods.
    pub async fn made(&self) -> Vec<String> {
        let params = ListParams::default().labels("app.kubernetes.io/managed-by=taffrail-operator");
        let mut all = Vec::new();
        for (api_version, kind) in
            WRITTEN.iter().filter(|(api_version, kind)| *api_version != TAFFRAIL && *kind != "Event")
        {
            for object in self.api(api_version, kind).list(&params).await.unwrap() {
                all.push(format!("{kind} {}", object.metadata.name.unwrap_or_default()));
            }
        }
        all.sort();
        all
    }
}

/// API version and kind of everything that is written where operators work.
pub const WRITTEN: [(&str, &str); 17] = [
    (TAFFRAIL, "LogPipeline"),
    (TAFFRAIL, "AlertRule"),
    (TAFFRAIL, "Dashboard"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "PersistentVolumeClaim"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("networking.k8s.io/v1", "Ingress"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("v1", "Pod"),
    ("v1", "Event"),
];

impl Drop for Scratch {
    fn drop(&mut self) {
        self.kubelet.abort();
        let namespace = self.namespace.clone();
        // A destructor can't wait for the runtime that it is called in.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let api: Api<Namespace> = Api::all(Client::try_from(client_config().await).unwrap());
                let _ = api.delete(&namespace, &DeleteParams::default()).await;
            });
        });
        let _ = cleaning.join();
    }
}
