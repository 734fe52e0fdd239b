//! What an operator takes to make workloads of many objects, and to do nothing afterwards. It needs an API server
//! without nodes, `TAFFRAIL_TEST_KUBECONFIG`. `cargo bench -p taffrail-operator` prints a line for each figure; a share
//! of the objects, in percent, may be given behind `--`.

#![allow(clippy::print_stdout, missing_docs)]

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::config::{Config as ClientConfig, KubeConfigOptions, Kubeconfig};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use taffrail_operator::{Config, Operator, OperatorMetrics};

const NAMESPACES: usize = 50;
/// Kind, how many, and the spec of each.
const OBJECTS: [(&str, usize, &str); 3] = [
    ("LogPipeline", 500, PIPELINE),
    ("AlertRule", 5_000, "{query: rate error_count service=api, operator: '>', threshold: 10, duration: 5m}"),
    ("Dashboard", 200, "{panels: [{title: Errors, type: timeseries, queries: [{query: rate error_count}]}]}"),
];
const PIPELINE: &str = "
source: {kafka: {brokers: ['kafka:9092'], topic: logs}}
metrics: [{name: error_count, type: counter, match: {level: error}, labels: {service: service}}]
sink: {elasticsearch: {urls: ['http://elasticsearch:9200']}}
";
/// Requests under way while objects are made and deleted.
const AT_ONCE: usize = 32;
/// The operator has come to rest when it has written nothing for so long.
const QUIET: Duration = Duration::from_secs(10);
/// How long it is watched doing nothing.
const IDLE: Duration = Duration::from_secs(60);

fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = |place: usize| stat.split(' ').nth(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(13) + ticks(14)) * 10)
}

/// MiB resident, now (`VmRSS`) or at most (`VmHWM`).
fn resident(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.trim_start_matches(":").split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("taffrail.dev", "v1alpha1", kind))
}

fn namespace(index: usize) -> String {
    format!("bench-{}-{:02}", std::process::id(), index % NAMESPACES)
}

async fn client() -> Client {
    let path = std::env::var("TAFFRAIL_TEST_KUBECONFIG").expect("TAFFRAIL_TEST_KUBECONFIG names a kubeconfig");
    rustls::crypto::ring::default_provider().install_default().expect("one TLS provider");
    let config = Kubeconfig::read_from(path).expect("a kubeconfig");
    let config = ClientConfig::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.expect("a cluster");
    Client::try_from(config).expect("a client")
}

/// Applies an object to a kind that may just have been installed.
async fn apply<K>(api: Api<K>, name: String, object: Value)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let params = PatchParams::apply("bench").force();
    let patch = Patch::Apply(&object);
    for _ in 0..50 {
        if api.patch(&name, &params, &patch).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    api.patch(&name, &params, &patch).await.expect("the object is taken");
}

async fn load(client: &Client, percent: usize) -> usize {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in taffrail_crds::crds() {
        let name = crd.metadata.name.clone().expect("a name");
        apply(crds.clone(), name, serde_json::to_value(&crd).expect("JSON")).await;
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for index in 0..NAMESPACES {
        let name = namespace(index);
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        apply(namespaces.clone(), name, object).await;
    }
    let mut all = Vec::new();
    for (kind, count, spec) in OBJECTS {
        let spec: Value = serde_yaml::from_str(spec).expect("a spec");
        for index in 0..count * percent / 100 {
            let name = format!("o{index:04}");
            let object = json!({
                "apiVersion": "taffrail.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
            });
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace(index), &resource(kind));
            all.push(apply(api, name, object));
        }
    }
    let count = all.len();
    futures::stream::iter(all).buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
    count
}

/// Writes that the operator has counted so far.
fn writes(registry: &Registry) -> u64 {
    let mut text = String::new();
    encode(&mut text, registry).expect("text");
    let counts = text.lines().filter(|line| line.starts_with("writes_total"));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// How many of the bench's objects have a status of their present version.
async fn told(client: &Client) -> usize {
    let mut told = 0;
    for (kind, ..) in OBJECTS {
        for index in 0..NAMESPACES {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace(index), &resource(kind));
            let objects = api.list(&ListParams::default()).await.expect("a list");
            told += objects.iter().filter(|object| object.data["status"]["conditions"].is_array()).count();
        }
    }
    told
}

#[tokio::main]
async fn main() {
    let percent = std::env::args().filter_map(|text| text.parse().ok()).next().unwrap_or(100);
    let client = client().await;
    let began = Instant::now();
    let count = load(&client, percent).await;
    println!("{count} objects in {NAMESPACES} namespaces, applied in {:.1} s", began.elapsed().as_secs_f64());

    let mut config = Config::new(&namespace(0), "bench", "taffrail:bench");
    config.watch_namespaces = Vec::new();
    config.service_monitors = false;
    let mut registry = Registry::default();
    let metrics = OperatorMetrics::new(&mut registry);
    let (began, processor) = (Instant::now(), processor_time());
    let operator = Operator::start(config, client.clone(), metrics);
    let mut last = (0, Instant::now(), Duration::ZERO);
    while last.0 == 0 || last.1.elapsed() < QUIET {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = writes(&registry);
        if now != last.0 {
            last = (now, Instant::now(), processor_time() - processor);
        }
    }
    let took = last.1 - began;
    println!(
        "converged in {:.1} s with {} writes and {:.1} s of CPU",
        took.as_secs_f64(),
        last.0,
        last.2.as_secs_f64()
    );
    println!("resident {} MiB, at most {} MiB", resident("VmRSS"), resident("VmHWM"));

    let (before, processor) = (writes(&registry), processor_time());
    tokio::time::sleep(IDLE).await;
    let idle = (processor_time() - processor).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    println!("idle for {} s: {} writes, {idle:.2}% of a core", IDLE.as_secs(), writes(&registry) - before);
    println!("{} of {count} objects have a status", told(&client).await);
    operator.stop().await;

    let namespaces: Api<Namespace> = Api::all(client.clone());
    for index in 0..NAMESPACES {
        let _ = namespaces.delete(&namespace(index), &DeleteParams::default()).await;
    }
}
