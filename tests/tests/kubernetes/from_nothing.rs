//! The way of a new user: the chart, the examples, logs, an alert, the page.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use taffrail_tests::kubernetes::{PATIENCE, all_ready, apply, becomes, get, is_ready, kubectl, list};
use taffrail_tests::{checkout, elasticsearch, eventually, kafka};

use crate::support::{install, pager};

const NAMESPACE: &str = "shop";
const ENTRIES: usize = 100_000;
/// The example's rule looks every ten seconds; logs take a second to their place.
const FIRES_WITHIN: Duration = Duration::from_secs(20);

/// An entry that has just happened; every fourth is an error.
fn entry(n: usize) -> String {
    let level = ["debug", "info", "warn", "error"][n % 4];
    let timestamp = jiff::Timestamp::now();
    json!({
        "timestamp": timestamp.to_string(), "level": level, "message": format!("entry number {n}"), "service": "api",
        "host": format!("web-{}", n % 7), "fields": {"n": n, "duration_ms": n % 900},
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_arrive_once_an_alert_fires_and_the_page_shows_it() {
    install().await;
    kafka::create_topic("logs", 4).await.unwrap();
    kubectl(&["apply", "--namespace", NAMESPACE, "--filename", checkout("examples/kubernetes").to_str().unwrap()])
        .unwrap();
    kubectl(&["patch", "--namespace", NAMESPACE, "lp", "logs", "--type", "merge", "-p", r#"{"spec":{"replicas":2}}"#])
        .unwrap();
    let objects = all_ready(NAMESPACE).await;
    assert_eq!(objects, 3);

    let begun = Instant::now();
    let producing = std::thread::spawn(|| {
        let mut producer = kafka::Producer::new("logs", 4).unwrap();
        (0..ENTRIES).for_each(|n| producer.send(entry(n).as_bytes()).unwrap());
        producer.flush().unwrap();
    });
    // A node that fails takes its pods with it at once.
    elasticsearch::at_least("logs-2*", ENTRIES as u64 / 5).await;
    let pods = list(NAMESPACE, "pods", "app.kubernetes.io/component=ingestion").unwrap();
    assert_eq!(pods.len(), 2);
    let victim = pods[0]["metadata"]["name"].as_str().unwrap();
    kubectl(&["delete", "--namespace", NAMESPACE, "pod", victim, "--force", "--grace-period", "0"]).unwrap();
    producing.join().unwrap();
    elasticsearch::at_least("logs-2*", ENTRIES as u64).await;
    let arrived = begun.elapsed();

    let fired = eventually(PATIENCE, || async {
        pager().told("ManyErrors").first().map(|told| told.at - begun).ok_or("nobody was told of the alert")
    })
    .await;
    println!("{ENTRIES} logs arrived after {arrived:?}, an alert of them after {fired:?}");
    assert!(fired < FIRES_WITHIN, "the alert came after {fired:?}");
    let rule = becomes(NAMESPACE, "ar/many-errors", |rule| rule["status"]["state"] == "Firing").await;
    assert!(rule["status"]["value"].as_f64().unwrap() > 1.0, "{rule:#}");

    let mut seen = vec![false; ENTRIES];
    for document in elasticsearch::documents("logs-2*").await.unwrap() {
        let n = document["_source"]["fields"]["n"].as_u64().unwrap();
        let seen = &mut seen[usize::try_from(n).unwrap()];
        assert!(!std::mem::replace(seen, true), "entry {n} is there twice");
    }
    assert!(seen.iter().all(|seen| *seen));

    let total = ENTRIES as u64;
    // The lag is looked at less often than records are counted.
    let is_told = |pipeline: &Value| {
        let status = &pipeline["status"];
        status["consumed"].as_u64() >= Some(total) && status["lag"] == 0 && is_ready(pipeline)
    };
    let pipeline = becomes(NAMESPACE, "lp/logs", is_told).await;
    let count = |name: &str| pipeline["status"][name].as_u64().unwrap();
    assert_eq!(count("consumed"), total, "{pipeline:#}");
    assert_eq!(count("indexed") + count("deduplicated"), total, "{pipeline:#}");
    assert_eq!(count("replicas"), 2, "{pipeline:#}");
    println!("{}", kubectl(&["get", "taffrail", "--namespace", NAMESPACE]).unwrap());

    let key =
        kubectl(&["get", "--namespace", NAMESPACE, "secret", "taffrail-dashboard", "-o", "jsonpath={.data.apiKey}"]);
    let key = base64_decoded(&key.unwrap());
    let service = format!("http://taffrail-dashboard.{NAMESPACE}.svc:8080");
    page_answers(&service, &key).await;
    let answer = ask(&service, "metrics/query?metric=log_count&function=sum&duration=1h", &key).await.unwrap();
    assert_eq!(answer["value"], ENTRIES as f64, "{answer}");

    let ingress = json!({
        "apiVersion": "taffrail.dev/v1alpha1", "kind": "Dashboard", "metadata": {"name": "shop"},
        "spec": {"title": "Shop", "ingress": {"host": "shop.example.com", "className": "nginx", "path": "/logs"}},
    });
    apply(NAMESPACE, &[ingress]).unwrap();
    let ingress = becomes(NAMESPACE, "ingress/shop", |_| true).await;
    page_answers(&backend(&ingress), &key).await;
}

/// The address that an Ingress controller sends requests on to.
fn backend(ingress: &Value) -> String {
    let rule = &ingress["spec"]["rules"][0];
    assert_eq!((&rule["host"], &rule["http"]["paths"][0]["path"]), (&json!("shop.example.com"), &json!("/logs")));
    let backend = &rule["http"]["paths"][0]["backend"]["service"];
    let service = get(NAMESPACE, &format!("service/{}", backend["name"].as_str().unwrap())).unwrap();
    let ports = service["spec"]["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["name"] == backend["port"]["name"]).unwrap();
    format!("http://{}:{}", service["spec"]["clusterIP"].as_str().unwrap(), port["port"])
}

/// Asks the REST API; the error is the status.
async fn ask(address: &str, path: &str, key: &str) -> Result<Value, u16> {
    let request = reqwest::Client::new().get(format!("{address}/api/v1/{path}")).header("host", "shop.example.com");
    let request = if key.is_empty() { request } else { request.bearer_auth(key) };
    let response = request.send().await.unwrap();
    match response.status().as_u16() {
        200 => Ok(response.json().await.unwrap()),
        other => Err(other),
    }
}

/// The page is there for those who have the key.
async fn page_answers(address: &str, key: &str) {
    assert_eq!(ask(address, "logs/search", "").await, Err(401));
    assert_eq!(ask(address, "logs/search", "another").await, Err(401));
    let found = ask(address, "logs/search?level=error&limit=5", key).await.unwrap();
    assert_eq!((found["total"].as_u64(), found["logs"].as_array().unwrap().len()), (Some(ENTRIES as u64 / 4), 5));
    let page = reqwest::get(address).await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("<title>Taffrail"));
}

fn base64_decoded(text: &str) -> String {
    use base64::Engine;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
}
