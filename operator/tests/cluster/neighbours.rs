//! Objects that are wrong, beside others that are not.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{Scratch, TAFFRAIL, install, message, said, until};

const PIPELINE: &str = "
source: {kafka: {brokers: ['kafka:9092'], topic: logs}}
sink: {elasticsearch: {urls: ['http://elasticsearch:9200']}}
";

/// Longer than any duration that there is, which the schema can't say.
const ENDLESS: &str = "99999999999999w";

#[tokio::test]
async fn an_object_that_can_not_be_read_says_so_and_stops_no_other() {
    let scratch = Scratch::new("unreadable").await;
    let rule = "{query: rate error_count, operator: '>', threshold: 1}";
    scratch.apply("LogPipeline", "bad", &format!("{PIPELINE}batch: {{timeout: {ENDLESS}}}")).await;
    let endless = format!("{{query: rate error_count, operator: '>', threshold: 1, for: {ENDLESS}}}");
    scratch.apply("AlertRule", "bad", &endless).await;
    scratch.apply("Dashboard", "bad", &format!("{{range: {ENDLESS}}}")).await;
    scratch.apply("LogPipeline", "good", PIPELINE).await;
    scratch.apply("AlertRule", "good", rule).await;
    scratch.apply("Dashboard", "good", "{title: Good}").await;
    let _operator = scratch.operator().await;

    for kind in ["LogPipeline", "AlertRule", "Dashboard"] {
        let bad = scratch.wait_for_condition(kind, "bad", "Ready", "False InvalidSpec").await;
        assert!(message(&bad, "Ready").contains("is not a duration"), "{}", message(&bad, "Ready"));
        assert_eq!(bad["status"]["observedGeneration"], 1);
        scratch.wait_for(TAFFRAIL, kind, "good", |it| said(it, "Progressing").is_some()).await;
    }
    scratch.wait_for("apps/v1", "Deployment", "good-ingestion", |_| true).await;
    assert!(scratch.get("apps/v1", "Deployment", "bad-ingestion").await.is_none());
    // Whoever mends it finds it mended.
    scratch.apply("LogPipeline", "bad", PIPELINE).await;
    scratch.wait_for_condition("LogPipeline", "bad", "Ready", "False RollingOut").await;
    scratch.wait_for("apps/v1", "Deployment", "bad-ingestion", |_| true).await;
    // What breaks later keeps its workers.
    scratch.apply("LogPipeline", "bad", &format!("{PIPELINE}batch: {{timeout: {ENDLESS}}}")).await;
    scratch.wait_for_condition("LogPipeline", "bad", "Ready", "False InvalidSpec").await;
    assert!(scratch.get("apps/v1", "Deployment", "bad-ingestion").await.is_some());
}

#[tokio::test]
async fn what_a_cluster_can_not_do_is_said() {
    let scratch = Scratch::new("unable").await;
    let _operator = scratch.operator().await;
    let embedded = "{source: {demo: {rate: 1}}, sink: {embedded: {retention: 1d}}}";
    scratch.apply("LogPipeline", "embedded", embedded).await;
    scratch.apply("LogPipeline", &"long".repeat(15), PIPELINE).await;
    let said = scratch.wait_for_condition("LogPipeline", "embedded", "Degraded", "True InvalidSpec").await;
    assert!(message(&said, "Degraded").contains("elasticsearch sink"), "{}", message(&said, "Degraded"));
    scratch.wait_for_condition("LogPipeline", &"long".repeat(15), "Degraded", "True InvalidName").await;
}

#[tokio::test]
async fn somebody_elses_object_is_not_taken() {
    let scratch = Scratch::new("taken").await;
    let theirs: Value =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "logs-ingestion"}, "data": {"a": "b"}});
    let api: Api<kube::api::DynamicObject> = scratch.api("v1", "ConfigMap");
    api.patch("logs-ingestion", &PatchParams::apply("user"), &Patch::Apply(&theirs)).await.unwrap();
    let _operator = scratch.operator().await;
    scratch.apply("LogPipeline", "logs", PIPELINE).await;
    let taken = scratch.wait_for_condition("LogPipeline", "logs", "Degraded", "True NameTaken").await;
    assert!(message(&taken, "Degraded").contains("ConfigMap logs-ingestion"), "{}", message(&taken, "Degraded"));
    assert_eq!(scratch.get("v1", "ConfigMap", "logs-ingestion").await.unwrap()["data"], json!({"a": "b"}));
    scratch.delete("v1", "ConfigMap", "logs-ingestion").await;
    until("the pipeline has its ConfigMap", || async {
        let map = scratch.get("v1", "ConfigMap", "logs-ingestion").await;
        map.is_some_and(|map| map["data"]["pipeline.yaml"].is_string())
    })
    .await;
    scratch.wait_for_condition("LogPipeline", "logs", "Degraded", "False AsExpected").await;
}

/// An object of a kind whose definition has become stricter since.
///
/// The kind is everybody's, and so it is a field's type that is loosened for a moment, which no other test minds.
#[tokio::test]
async fn an_object_from_before_its_kind_became_stricter_says_so_and_stops_no_other() {
    let scratch = Scratch::new("stricter").await;
    let crds: Api<CustomResourceDefinition> = Api::all(scratch.client.clone());
    let strict = taffrail_crds::crds().into_iter().find(|crd| crd.spec.names.kind == "Dashboard").unwrap();
    let strict = serde_json::to_value(&strict).unwrap();
    let mut loose = strict.clone();
    let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    loose.pointer_mut(properties).unwrap()["title"] = json!({"x-kubernetes-preserve-unknown-fields": true});
    install(&crds, &loose).await;
    until("the looser kind is served", || async {
        let spec = json!({"apiVersion": TAFFRAIL, "kind": "Dashboard", "metadata": {"name": "old"}, "spec": {"title": {"a": 1}}});
        let params = PatchParams::apply("user").force();
        scratch.api(TAFFRAIL, "Dashboard").patch("old", &params, &Patch::Apply(&spec)).await.is_ok()
    })
    .await;
    install(&crds, &strict).await;
    scratch.apply("Dashboard", "good", "{title: Good}").await;
    let _operator = scratch.operator().await;
    scratch.wait_for_condition("Dashboard", "good", "Ready", "False RollingOut").await;
    let old = scratch.wait_for_condition("Dashboard", "old", "Ready", "False InvalidSpec").await;
    assert!(message(&old, "Ready").contains("can't be read"), "{}", message(&old, "Ready"));
}
