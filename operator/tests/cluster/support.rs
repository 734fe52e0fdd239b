//! What the tests share.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::{Namespace, Pod, PodCondition, PodStatus};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config as ClientConfig};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use taffrail_operator::{Config, Operator, OperatorMetrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;
use tokio::task::{JoinHandle, JoinSet};

/// How long anything may take that is waited for. The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

pub const TAFFRAIL: &str = "taffrail.dev/v1alpha1";

/// The cluster's address and credentials.
async fn client_config() -> ClientConfig {
    let path = std::env::var("TAFFRAIL_TEST_KUBECONFIG").unwrap_or_else(|_| {
        panic!(
            "TAFFRAIL_TEST_KUBECONFIG is not set: these tests need a real API server with a controller manager and no \
             nodes; run them by `cargo xtask test`"
        )
    });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Kubeconfig::read_from(path).unwrap();
    ClientConfig::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap()
}

/// A client with all rights, on a cluster that has our kinds.
pub async fn client() -> Client {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let client = Client::try_from(client_config().await).unwrap();
    INSTALLED.get_or_init(|| install_crds(client.clone())).await;
    client
}

/// A client of somebody's who has the rights that are given to that name only.
pub async fn client_of(user: &str) -> Client {
    let mut config = client_config().await;
    config.auth_info.impersonate = Some(user.to_owned());
    Client::try_from(config).unwrap()
}

async fn install_crds(client: Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    for crd in taffrail_crds::crds() {
        install(&api, &serde_json::to_value(&crd).unwrap()).await;
    }
}

/// Installs a definition and waits until it is served.
pub async fn install(api: &Api<CustomResourceDefinition>, crd: &Value) {
    let name = crd["metadata"]["name"].as_str().unwrap();
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(crd)).await.unwrap();
    until("the kind is served", || async {
        let crd = api.get(name).await.unwrap();
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
    })
    .await;
}

/// Waits until something is so.
pub async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    eventually(what, || async { is_so().await.then_some(()) }).await;
}

/// Waits until there is something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, find: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = find().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

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

const WRITTEN: [(&str, &str); 17] = [
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

/// Starts an operator.
pub fn start(config: Config, client: Client) -> Operator {
    Operator::start(config, client, OperatorMetrics::new(&mut Registry::default()))
}

/// What a condition of an object says: `status reason`.
pub fn said(object: &Value, condition: &str) -> Option<String> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|found| found["type"] == condition)?;
    Some(format!("{} {}", found["status"].as_str()?, found["reason"].as_str()?))
}

/// A condition's sentence.
pub fn message(object: &Value, condition: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|found| found["type"] == condition).unwrap_or_default();
    found["message"].as_str().unwrap_or_default().to_owned()
}

/// Says of every pod that it runs and is ready, as a kubelet would, whatever the scheduler says, which has no node; and
/// lets those go that are deleted.
async fn kubelet(pods: Api<Pod>) {
    let now = jiff::Timestamp::now().to_string();
    let status = json!({"status": {
        "phase": "Running",
        "podIP": "127.0.0.1",
        "podIPs": [{"ip": "127.0.0.1"}],
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": now, "lastProbeTime": null},
            {"type": "Ready", "status": "True", "lastTransitionTime": now, "lastProbeTime": null},
        ],
    }});
    loop {
        for pod in pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            let name = pod.metadata.name.unwrap_or_default();
            if pod.metadata.deletion_timestamp.is_some() {
                let _ = pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
            } else if !is_said_to_run(&pod.status.unwrap_or_default()) {
                let _ = pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn is_said_to_run(status: &PodStatus) -> bool {
    let is_not_scheduled = |condition: &PodCondition| condition.type_ == "PodScheduled" && condition.status == "False";
    status.pod_ip.is_some() && !status.conditions.iter().flatten().any(is_not_scheduled)
}

/// The status endpoint of all workers of a test.
pub struct Workers {
    pub port: u16,
    objects: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Workers {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let objects = Arc::new(Mutex::new(Vec::new()));
        let shown: Arc<Mutex<Vec<Value>>> = objects.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let body = json!({"objects": *shown.lock()}).to_string();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Self { port, objects, task }
    }

    /// What the workers say from now on: kind, namespace, name, generation and status of each object.
    pub fn say(&self, objects: Vec<Value>) {
        *self.objects.lock() = objects;
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a worker says of a pipeline.
pub fn pipeline_report(
    namespace: &str,
    name: &str,
    generation: i64,
    is_ready: bool,
    reason: &str,
    indexed: u64,
) -> Value {
    let ready = json!({
        "type": "Ready", "status": if is_ready { "True" } else { "False" }, "reason": reason, "message": "so it is",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    json!({
        "kind": "LogPipeline", "namespace": namespace, "name": name, "generation": generation,
        "status": {
            "conditions": [ready], "observedGeneration": generation, "replicas": 1, "lag": 5,
            "consumed": indexed, "indexed": indexed, "deduplicated": 0, "deadLettered": 0, "filtered": 0,
            "watermark": "2026-01-01T00:00:00Z",
        },
    })
}

/// A way to the API server that can be cut.
pub struct Gate {
    is_open: Arc<AtomicBool>,
    connections: Arc<Mutex<JoinSet<()>>>,
    task: JoinHandle<()>,
    address: std::net::SocketAddr,
}

impl Gate {
    pub async fn open() -> Self {
        let url = client_config().await.cluster_url;
        let target = format!("{}:{}", url.host().unwrap(), url.port_u16().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_open = Arc::new(AtomicBool::new(true));
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let (open, all) = (is_open.clone(), connections.clone());
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                if !open.load(Ordering::SeqCst) {
                    continue;
                }
                let target = target.clone();
                all.lock().spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Self { is_open, connections, task, address }
    }

    /// A client that goes this way.
    pub async fn client(&self) -> Client {
        let mut config = client_config().await;
        config.cluster_url = format!("https://{}", self.address).parse().unwrap();
        Client::try_from(config).unwrap()
    }

    pub fn cut(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        self.connections.lock().abort_all();
    }

    pub fn mend(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
        self.connections.lock().abort_all();
    }
}
