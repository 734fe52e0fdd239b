//! What the tests share.

mod gate;
mod picture;
pub mod rights;
pub mod scratch;
mod tap;
mod workers;

use std::future::Future;
use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config as ClientConfig};
use prometheus_client::registry::Registry;
use serde_json::Value;
use taffrail_operator::{Config, Operator, OperatorMetrics};
use tokio::sync::OnceCell;

pub use gate::Gate;
pub use picture::Picture;
pub use scratch::Scratch;
pub use tap::{Death, Tap};
pub use workers::pipeline_report;

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
