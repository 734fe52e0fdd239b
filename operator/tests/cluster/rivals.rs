//! Two operators that both believe to lead, which no Lease can rule out for good: a clock may stand still.

use std::time::Duration;

use serde_json::json;

use crate::support::{Scratch, TAFFRAIL, Tap, pipeline_report, start, until};

const PIPELINE: &str = "
source: {kafka: {brokers: ['kafka:9092'], topic: logs}}
metrics: [{name: logs_total, type: counter}]
sink: {elasticsearch: {urls: ['http://elasticsearch:9200']}}
";
const RULE: &str = "{query: rate logs_total, operator: '>', threshold: 1}";

/// Waits until nothing has been written for a while.
async fn rest(scratch: &Scratch) -> Vec<String> {
    until("nothing is written", || async {
        let before = scratch.versions().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        before == scratch.versions().await
    })
    .await;
    scratch.versions().await
}

#[tokio::test]
async fn two_that_both_lead_come_to_rest_and_do_no_harm() {
    let scratch = Scratch::new("rivals").await;
    let elsewhere = Scratch::new("rivals-lease").await;
    let taps = [Tap::new(), Tap::with_lease_in(&scratch.namespace, &elsewhere.namespace)];
    let [first, second] =
        taps.clone().map(|tap| start(scratch.config("operator-1"), tap.client(scratch.client.clone())));
    until("both lead", || async { first.leads() && second.leads() && first.ready().is_ok() && second.ready().is_ok() })
        .await;

    scratch.apply("LogPipeline", "logs", PIPELINE).await;
    scratch.apply("AlertRule", "errors", RULE).await;
    scratch.apply("Dashboard", "shop", "{ingress: {host: shop.example.com}}").await;
    let shown = json!({"kind": "Dashboard", "namespace": scratch.namespace, "name": "shop", "generation": 1});
    let report = |generation, count| pipeline_report(&scratch.namespace, "logs", generation, true, "Running", count);
    scratch.workers.say(vec![report(1, 10), shown.clone()]);
    scratch.wait_for_condition("LogPipeline", "logs", "Ready", "True Running").await;
    scratch.wait_for_condition("Dashboard", "shop", "Ready", "True Running").await;
    scratch.wait_for_condition("AlertRule", "errors", "Ready", "False NotLoaded").await;
    rest(&scratch).await;
    let key = scratch.get("v1", "Secret", "taffrail-dashboard").await.unwrap()["data"].clone();
    let uid = scratch.get("apps/v1", "Deployment", "logs-ingestion").await.unwrap()["metadata"]["uid"].clone();

    // Both see each change, whoever makes it, and count the same records.
    for (generation, count) in [(2, 20), (3, 30), (4, 40)] {
        scratch.apply("LogPipeline", "logs", &format!("{PIPELINE}batch: {{size: {count}}}")).await;
        scratch
            .meddle("networking.k8s.io/v1", "NetworkPolicy", "logs-ingestion", json!({"spec": {"egress": []}}))
            .await;
        scratch.wait_for("v1", "Service", "taffrail-metrics", |_| true).await;
        scratch.delete("v1", "Service", "taffrail-metrics").await;
        scratch.workers.say(vec![report(generation, count), shown.clone()]);
    }
    rest(&scratch).await;
    taps.iter().for_each(|tap| drop(tap.take()));
    let restored = scratch.get("networking.k8s.io/v1", "NetworkPolicy", "logs-ingestion").await.unwrap();
    assert_ne!(restored["spec"]["egress"], json!([]));
    assert!(scratch.get("v1", "Service", "taffrail-metrics").await.is_some());
    let ready = scratch.wait_for_condition("LogPipeline", "logs", "Ready", "True Running").await;
    assert_eq!(ready["status"]["observedGeneration"], 4);
    assert_eq!(scratch.get("v1", "Secret", "taffrail-dashboard").await.unwrap()["data"], key, "the key is made once");
    let deployment = scratch.get("apps/v1", "Deployment", "logs-ingestion").await.unwrap();
    assert_eq!(deployment["metadata"]["uid"], uid);

    // Neither writes for the other's sake, nor has anything to do when it is alone.
    let before = scratch.versions().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(taps.each_ref().map(|tap| tap.count()), [0, 0]);
    second.stop().await;
    first.stop().await;
    let alone = scratch.operator().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(scratch.versions().await, before);
    assert_eq!(scratch.get(TAFFRAIL, "LogPipeline", "logs").await.unwrap()["status"], ready["status"]);
    alone.stop().await;
}
