//! The real Prometheus Operator runs a real Prometheus that scrapes the operator and every worker.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use taffrail_tests::eventually;
use taffrail_tests::kubernetes::{KINDS, PATIENCE, all_ready, apply, becomes, kubectl, list, object};

use crate::support::{SYSTEM, install};

/// Where Taffrail's workers are.
const NAMESPACE: &str = "observed";
/// Where the Prometheus Operator is.
const MONITORING: &str = "monitoring";

/// The Prometheus Operator, with all rights: what it may is not what is tested.
fn prometheus_operator() -> Vec<Value> {
    let account = json!({"kind": "ServiceAccount", "name": "default", "namespace": MONITORING});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    let labels = json!({"app": "prometheus-operator"});
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MONITORING}}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "monitoring"}, "roleRef": role, "subjects": [account],
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "prometheus-operator"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{
                    "name": "operator", "image": "localhost/prometheus-operator:1",
                    "args": ["--prometheus-config-reloader=localhost/prometheus-config-reloader:1"],
                }]}},
            },
        }),
        json!({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": {"name": "all"},
            "spec": {
                "image": "localhost/prometheus:1", "version": "v3.5.0", "replicas": 1, "scrapeInterval": "2s",
                "serviceAccountName": "default", "serviceMonitorSelector": {}, "serviceMonitorNamespaceSelector": {},
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65534, "fsGroup": 65534},
            },
        }),
    ]
}

/// What Prometheus scrapes, as `namespace/component health`, where Taffrail's workers of our namespaces are meant.
async fn targets(prometheus: &str) -> Result<BTreeSet<String>, String> {
    let answer = reqwest::get(format!("{prometheus}/api/v1/targets?state=active")).await.map_err(|e| e.to_string())?;
    let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
    let targets = answer["data"]["activeTargets"].as_array().ok_or_else(|| answer.to_string())?;
    let shown = targets.iter().map(|target| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let namespace = text(&target["labels"]["namespace"]);
        format!("{namespace}/{} {}", text(&target["labels"]["service"]), text(&target["health"]))
    });
    let ours = [SYSTEM, NAMESPACE];
    Ok(shown.filter(|target| target.split('/').next().is_some_and(|name| ours.contains(&name))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_the_operator_and_every_worker() {
    install().await;
    apply(MONITORING, &prometheus_operator()[..1]).unwrap();
    apply(MONITORING, &prometheus_operator()[1..]).unwrap();
    let pipeline = json!({
        "source": {"demo": {"rate": 20}}, "metrics": [{"name": "log_count", "type": "counter"}],
        "sink": {"elasticsearch": {"urls": ["http://elasticsearch:9200"], "index": "observed"}},
    });
    let rule = json!({"query": "rate log_count", "operator": ">", "threshold": 1_000_000});
    let objects = [
        object("LogPipeline", "demo", &pipeline),
        object("AlertRule", "many", &rule),
        object("Dashboard", "shop", &json!({"title": "Shop"})),
    ];
    apply(NAMESPACE, &objects).unwrap();
    assert_eq!(all_ready(NAMESPACE).await, KINDS.len());

    becomes(MONITORING, "pod/prometheus-all-0", |pod| {
        let statuses = pod["status"]["containerStatuses"].as_array();
        statuses.is_some_and(|all| all.iter().all(|container| container["ready"] == true))
    })
    .await;
    let pod = list(MONITORING, "pods", "app.kubernetes.io/name=prometheus").unwrap().remove(0);
    let prometheus = format!("http://{}:9090", pod["status"]["podIP"].as_str().unwrap());
    let expected: BTreeSet<String> = [
        format!("{SYSTEM}/taffrail-operator up"),
        format!("{NAMESPACE}/demo-ingestion up"),
        format!("{NAMESPACE}/taffrail-metrics up"),
        format!("{NAMESPACE}/taffrail-rules up"),
        format!("{NAMESPACE}/taffrail-dashboard up"),
    ]
    .into();
    eventually(PATIENCE, || async {
        let targets = targets(&prometheus).await?;
        if targets == expected { Ok(()) } else { Err(format!("{targets:#?}")) }
    })
    .await;
    println!("up in Prometheus: {expected:#?}");
    // What is scraped is there to be asked for.
    let query = "query=taffrail_operator_leader";
    let answer = reqwest::get(format!("{prometheus}/api/v1/query?{query}")).await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["data"]["result"][0]["value"][1], "1", "{answer}");
    kubectl(&["delete", "--namespace", NAMESPACE, &KINDS.join(","), "--all"]).unwrap();
    kubectl(&["delete", "namespace", MONITORING, "--wait=false"]).unwrap();
}
