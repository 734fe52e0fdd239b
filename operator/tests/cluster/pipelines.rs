//! A LogPipeline from its creation to its end.

use serde_json::{Value, json};

use crate::support::{Scratch, TAFFRAIL, message, pipeline_report, said, until};

const APPS: &str = "apps/v1";

const PIPELINE: &str = "
source: {kafka: {brokers: ['kafka:9092'], topic: logs}}
sink: {elasticsearch: {urls: ['http://elasticsearch:9200']}}
";

fn with(more: &str) -> String {
    format!("{PIPELINE}{more}")
}

#[tokio::test]
async fn a_pipeline_gets_workers_and_says_what_they_have_loaded() {
    let scratch = Scratch::new("lifecycle").await;
    let operator = scratch.operator().await;
    let namespace = scratch.namespace.as_str();

    let began = std::time::Instant::now();
    scratch.apply("LogPipeline", "logs", PIPELINE).await;
    scratch.wait_for_condition("LogPipeline", "logs", "Ready", "False RollingOut").await;
    assert!(began.elapsed().as_secs() < 5, "a status within 5 s, and not {:?}", began.elapsed());
    let made = scratch.made().await;
    let expected = ["ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"]
        .map(|kind| format!("{kind} logs-ingestion"));
    let made: Vec<_> = made.into_iter().filter(|name| !name.starts_with("Pod ")).collect();
    assert_eq!(made, expected);

    // The pod is one that the restricted standard admits: this namespace admits no other.
    let deployment =
        scratch.wait_for(APPS, "Deployment", "logs-ingestion", |it| it["status"]["readyReplicas"] == 1).await;
    let hash = deployment["spec"]["template"]["metadata"]["annotations"]["taffrail.dev/content-hash"].clone();
    assert!(hash.is_string());

    scratch.workers.say(vec![pipeline_report(namespace, "logs", 1, true, "Running", 100)]);
    let ready = scratch.wait_for(TAFFRAIL, "LogPipeline", "logs", |it| it["status"]["indexed"] == 100).await;
    assert_eq!(said(&ready, "Ready").as_deref(), Some("True Running"));
    assert_eq!(said(&ready, "Progressing").as_deref(), Some("False Running"));
    assert_eq!(said(&ready, "Degraded").as_deref(), Some("False AsExpected"));
    let status = &ready["status"];
    assert_eq!(
        (&status["consumed"], &status["lag"], &status["observedGeneration"]),
        (&json!(100), &json!(5), &json!(1))
    );

    // What a worker says is wrong is said of the object, and told in an Event.
    scratch.workers.say(vec![pipeline_report(namespace, "logs", 1, false, "SinkAuthFailed", 120)]);
    let broken = scratch.wait_for_condition("LogPipeline", "logs", "Ready", "False SinkAuthFailed").await;
    assert_eq!(said(&broken, "Degraded").as_deref(), Some("True SinkAuthFailed"));
    assert!(message(&broken, "Ready").contains("0 of 1 ingestion workers"), "{}", message(&broken, "Ready"));
    until("there is an Event", || async {
        let events = scratch.api("v1", "Event").list(&kube::api::ListParams::default()).await.unwrap();
        events.iter().any(|event| event.data["reason"] == "SinkAuthFailed" && event.data["type"] == "Warning")
    })
    .await;

    // Scaling starts no worker anew; a change of what they do does.
    scratch.workers.say(vec![pipeline_report(namespace, "logs", 1, true, "Running", 130)]);
    scratch.apply("LogPipeline", "logs", &with("replicas: 2")).await;
    let scaled = scratch.wait_for(APPS, "Deployment", "logs-ingestion", |it| it["spec"]["replicas"] == 2).await;
    assert_eq!(scaled["spec"]["template"]["metadata"]["annotations"]["taffrail.dev/content-hash"], hash);
    let both = scratch.wait_for(TAFFRAIL, "LogPipeline", "logs", |it| it["status"]["indexed"] == 260).await;
    assert_eq!((said(&both, "Ready").as_deref(), &both["status"]["replicas"]), (Some("True Running"), &json!(2)));
    scratch.apply("LogPipeline", "logs", &with("replicas: 2\nformat: text")).await;
    scratch
        .wait_for(APPS, "Deployment", "logs-ingestion", |it| {
            it["spec"]["template"]["metadata"]["annotations"]["taffrail.dev/content-hash"] != hash
        })
        .await;

    scratch.delete(TAFFRAIL, "LogPipeline", "logs").await;
    until("nothing is left", || async { scratch.made().await.is_empty() }).await;
    operator.stop().await;
}

#[tokio::test]
async fn what_a_partition_has_counted_goes_with_it_and_outlives_the_operator() {
    let scratch = Scratch::new("partitions").await;
    let namespace = scratch.namespace.as_str();
    let partition =
        |number, indexed, lag| json!({"topic": "logs", "partition": number, "indexed": indexed, "lag": lag});
    let say = |partitions: Vec<serde_json::Value>| {
        let sum = partitions.iter().filter_map(|partition| partition["indexed"].as_u64()).sum();
        let mut report = pipeline_report(namespace, "logs", 1, true, "Running", sum);
        report["status"]["partitions"] = partitions.into();
        scratch.workers.say(vec![report]);
    };
    let counted = |consumed: u64, lag: u64| {
        let scratch = &scratch;
        async move {
            let is_so = |it: &serde_json::Value| {
                (&it["status"]["consumed"], &it["status"]["lag"]) == (&json!(consumed), &json!(lag))
            };
            scratch.wait_for(TAFFRAIL, "LogPipeline", "logs", is_so).await
        }
    };

    let operator = scratch.operator().await;
    scratch.apply("LogPipeline", "logs", PIPELINE).await;
    say(vec![partition(0, 100, 5), partition(1, 20, 1)]);
    counted(120, 6).await;
    // The worker loses one partition and gets another one, whose last owner nobody has heard.
    say(vec![partition(1, 21, 0), partition(2, 1_000, 2)]);
    counted(1_121, 7).await;
    operator.stop().await;

    // Another operator, and a worker that reads again what the last one had not committed.
    say(vec![partition(0, 90, 15), partition(2, 1_001, 0)]);
    let _operator = scratch.operator().await;
    counted(1_122, 15).await;
    say(vec![partition(0, 110, 0), partition(2, 1_001, 0)]);
    let after = counted(1_132, 0).await;
    let listed: Vec<_> = after["status"]["partitions"].as_array().unwrap().iter().map(|it| &it["indexed"]).collect();
    assert_eq!(listed, [110, 21, 1_001]);
}

#[tokio::test]
async fn the_service_has_the_port_of_a_source_that_listens() {
    let scratch = Scratch::new("http").await;
    let _operator = scratch.operator().await;
    let http = PIPELINE.replace("kafka: {brokers: ['kafka:9092'], topic: logs}", "http: {port: 8081}");
    scratch.apply("LogPipeline", "web", &http).await;
    let service = scratch.wait_for("v1", "Service", "web-ingestion", |_| true).await;
    assert_eq!(service["spec"]["ports"][1]["port"], 8081);
    scratch.apply("LogPipeline", "web", PIPELINE).await;
    let only_telemetry = |service: &Value| service["spec"]["ports"].as_array().is_some_and(|ports| ports.len() == 1);
    let service = scratch.wait_for("v1", "Service", "web-ingestion", only_telemetry).await;
    assert_eq!(service["spec"]["ports"][0]["port"], 9090);
}

#[tokio::test]
async fn a_secret_that_is_missing_is_named_and_one_that_appears_is_noticed() {
    let scratch = Scratch::new("secret").await;
    let _operator = scratch.operator().await;
    let namespace = scratch.namespace.as_str();
    let spec = PIPELINE.replace("9200']", "9200'], auth: {secretName: es}");
    scratch.apply("LogPipeline", "logs", &spec).await;
    let without = scratch.wait_for_condition("LogPipeline", "logs", "Ready", "False SecretNotFound").await;
    assert!(message(&without, "Ready").contains("`es`"), "{}", message(&without, "Ready"));
    // The rest goes on.
    let hash =
        |it: &serde_json::Value| it["spec"]["template"]["metadata"]["annotations"]["taffrail.dev/content-hash"].clone();
    let before = hash(&scratch.wait_for(APPS, "Deployment", "logs-ingestion", |_| true).await);

    let secret = |password: &str, label: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "es", "labels": {"x": label}},
               "stringData": {"username": "u", "password": password}})
    };
    let api = scratch.api("v1", "Secret");
    let params = kube::api::PatchParams::apply("user").force();
    api.patch("es", &params, &kube::api::Patch::Apply(secret("one", "a"))).await.unwrap();
    scratch.workers.say(vec![pipeline_report(namespace, "logs", 1, true, "Running", 1)]);
    scratch.wait_for_condition("LogPipeline", "logs", "Ready", "True Running").await;
    let with = hash(&scratch.wait_for(APPS, "Deployment", "logs-ingestion", |it| hash(it) != before).await);

    // A label is no reason to start workers anew; a new password is.
    api.patch("es", &params, &kube::api::Patch::Apply(secret("one", "b"))).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(hash(&scratch.get(APPS, "Deployment", "logs-ingestion").await.unwrap()), with);
    api.patch("es", &params, &kube::api::Patch::Apply(secret("two", "b"))).await.unwrap();
    scratch.wait_for(APPS, "Deployment", "logs-ingestion", |it| hash(it) != with).await;
    scratch.delete("v1", "Secret", "es").await;
    scratch.wait_for_condition("LogPipeline", "logs", "Degraded", "True SecretNotFound").await;
}

#[tokio::test]
async fn a_template_is_merged_and_one_that_does_not_fit_is_refused() {
    let scratch = Scratch::new("template").await;
    let _operator = scratch.operator().await;
    let template = |text: &str| with(&format!("template: {text}"));
    let sidecar =
        "{spec: {priorityClassName: '', containers: [{name: ingestion, env: [{name: LOG_LEVEL, value: debug}]}]}}";
    scratch.apply("LogPipeline", "logs", &template(sidecar)).await;
    let deployment = scratch.wait_for(APPS, "Deployment", "logs-ingestion", |_| true).await;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["env"][0]["value"], &container["image"]), (&json!("debug"), &json!("taffrail:test")));
    scratch.apply("LogPipeline", "logs", &template("{spec: {containers: [{image: nameless}]}}")).await;
    scratch.wait_for_condition("LogPipeline", "logs", "Degraded", "True InvalidTemplate").await;
    scratch.apply("LogPipeline", "logs", &template("{spec: {noSuchField: 1}}")).await;
    let refused = scratch.wait_for_condition("LogPipeline", "logs", "Degraded", "True Refused").await;
    assert!(message(&refused, "Degraded").contains("noSuchField"), "{}", message(&refused, "Degraded"));
    scratch.apply("LogPipeline", "logs", PIPELINE).await;
    scratch.wait_for_condition("LogPipeline", "logs", "Degraded", "False AsExpected").await;
    let deployment = scratch.get(APPS, "Deployment", "logs-ingestion").await.unwrap();
    assert!(
        deployment["spec"]["template"]["spec"]["containers"][0]["env"].is_null(),
        "what is rendered no more is gone"
    );
}
