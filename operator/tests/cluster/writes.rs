//! What the operator writes, and what it leaves alone.

use std::time::Duration;

use serde_json::json;

use crate::support::{Scratch, TAFFRAIL, pipeline_report, said};

const APPS: &str = "apps/v1";
const NETWORK: &str = "networking.k8s.io/v1";
const PIPELINE: &str = "
source: {kafka: {brokers: ['kafka:9092'], topic: logs}}
sink: {elasticsearch: {urls: ['http://elasticsearch:9200']}}
";

#[tokio::test]
async fn drift_is_corrected_and_what_others_own_is_left_alone() {
    let scratch = Scratch::new("drift").await;
    let _operator = scratch.operator().await;
    scratch.apply("LogPipeline", "logs", PIPELINE).await;
    let deployment = scratch.wait_for(APPS, "Deployment", "logs-ingestion", |_| true).await;
    scratch.wait_for_condition("LogPipeline", "logs", "Ready", "False RollingOut").await;

    // Fields of the operator's that others change or take away.
    let image = json!([{"name": "ingestion", "image": "evil:1"}]);
    scratch
        .meddle(APPS, "Deployment", "logs-ingestion", json!({"spec": {"template": {"spec": {"containers": image}}}}))
        .await;
    let back = |it: &serde_json::Value| it["spec"]["template"]["spec"] == deployment["spec"]["template"]["spec"];
    scratch.wait_for(APPS, "Deployment", "logs-ingestion", back).await;
    scratch.meddle("v1", "ConfigMap", "logs-ingestion", json!({"data": null})).await;
    scratch.wait_for("v1", "ConfigMap", "logs-ingestion", |it| it["data"]["pipeline.yaml"].is_string()).await;
    let unlabelled = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}, "ownerReferences": null}});
    scratch.meddle(NETWORK, "NetworkPolicy", "logs-ingestion", unlabelled).await;
    scratch
        .wait_for(NETWORK, "NetworkPolicy", "logs-ingestion", |it| {
            it["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "taffrail-operator"
                && it["metadata"]["ownerReferences"][0]["name"] == "logs"
        })
        .await;

    // Objects that are deleted by hand.
    for (api_version, kind) in
        [(NETWORK, "NetworkPolicy"), ("v1", "ConfigMap"), (APPS, "Deployment"), ("policy/v1", "PodDisruptionBudget")]
    {
        let before = scratch.get(api_version, kind, "logs-ingestion").await.unwrap()["metadata"]["uid"].clone();
        scratch.delete(api_version, kind, "logs-ingestion").await;
        scratch.wait_for(api_version, kind, "logs-ingestion", |it| it["metadata"]["uid"] != before).await;
    }

    // Fields that others own: an autoscaler's, `kubectl rollout restart`'s, an injector's, a label's.
    let theirs = json!({
        "metadata": {"labels": {"team": "shop"}},
        "spec": {"replicas": 4, "template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}},
    });
    scratch.meddle(APPS, "Deployment", "logs-ingestion", theirs).await;
    scratch.apply("LogPipeline", "logs", &format!("{PIPELINE}format: text")).await;
    let text = |it: &serde_json::Value| {
        it["data"]["pipeline.yaml"].as_str().is_some_and(|file| file.contains("\"format\": \"text\""))
    };
    scratch.wait_for("v1", "ConfigMap", "logs-ingestion", text).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = scratch.get(APPS, "Deployment", "logs-ingestion").await.unwrap();
    assert_eq!(after["spec"]["replicas"], 4);
    assert_eq!(after["metadata"]["labels"]["team"], "shop");
    assert_eq!(after["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"], "now");
}

/// What is in one list and not in the other.
fn changed(before: &[String], after: &[String]) -> Vec<String> {
    let gone = before.iter().filter(|object| !after.contains(object)).map(|object| format!("- {object}"));
    let new = after.iter().filter(|object| !before.contains(object)).map(|object| format!("+ {object}"));
    gone.chain(new).collect()
}

#[tokio::test]
async fn idle_means_no_writes() {
    let scratch = Scratch::new("idle").await;
    let operator = scratch.operator().await;
    let rule = "{query: rate error_count, operator: '>', threshold: 1}";
    let mut reports = Vec::new();
    for index in 0..5 {
        let name = format!("p{index}");
        scratch.apply("LogPipeline", &name, &format!("{PIPELINE}replicas: 1")).await;
        scratch.apply("AlertRule", &name, rule).await;
        reports.push(pipeline_report(&scratch.namespace, &name, 1, true, "Running", 10));
    }
    scratch.apply("Dashboard", "shop", "{ingress: {host: shop.example.com}}").await;
    reports.push(json!({"kind": "Dashboard", "namespace": scratch.namespace, "name": "shop", "generation": 1}));
    scratch.workers.say(reports);
    // A pod template in other words than the API server's, which it rewrites: that is no drift.
    let template =
        "template: {spec: {containers: [{name: ingestion, resources: {limits: {memory: 1024Mi, cpu: '0.5'}}}]}}";
    scratch.apply("LogPipeline", "p0", &format!("{PIPELINE}replicas: 1\n{template}")).await;
    for index in 0..5 {
        scratch.wait_for_condition("LogPipeline", &format!("p{index}"), "Ready", "True Running").await;
        scratch.wait_for_condition("AlertRule", &format!("p{index}"), "Ready", "False NotLoaded").await;
    }
    scratch.wait_for_condition("Dashboard", "shop", "Ready", "True Running").await;
    tokio::time::sleep(Duration::from_secs(3)).await;

    let before = scratch.versions().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(changed(&before, &scratch.versions().await), [""; 0]);

    // A new operator finds everything as it would have it.
    operator.stop().await;
    let operator = scratch.operator().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(changed(&before, &scratch.versions().await), [""; 0]);
    let logs = scratch.get(TAFFRAIL, "LogPipeline", "p1").await.unwrap();
    assert_eq!((said(&logs, "Ready").as_deref(), &logs["status"]["indexed"]), (Some("True Running"), &json!(10)));
    operator.stop().await;
}
