//! Fields of the operator's that others change, and fields of others that it leaves alone.

use futures::future::join_all;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{Scratch, TAFFRAIL, pipeline_report, rights::RBAC, until};

const APPS: &str = "apps/v1";
const NETWORK: &str = "networking.k8s.io/v1";
const PIPELINE: &str = "
source: {http: {port: 8081}}
metrics: [{name: logs_total, type: counter}]
sink: {elasticsearch: {urls: ['http://es:9200']}}
";

async fn apply_all(scratch: &Scratch) {
    scratch.apply("LogPipeline", "logs", PIPELINE).await;
    scratch.apply("AlertRule", "errors", "{query: rate logs_total, operator: '>', threshold: 1}").await;
    scratch.apply("Dashboard", "shop", "{ingress: {host: shop.example.com}}").await;
    scratch.workers.say(vec![
        pipeline_report(&scratch.namespace, "logs", 1, true, "Running", 10),
        json!({"kind": "Dashboard", "namespace": scratch.namespace, "name": "shop", "generation": 1}),
    ]);
    scratch.wait_for_condition("LogPipeline", "logs", "Ready", "True Running").await;
    scratch.wait_for_condition("AlertRule", "errors", "Ready", "False NotLoaded").await;
    scratch.wait_for_condition("Dashboard", "shop", "Ready", "True Running").await;
}

/// One object of each kind that the operator makes, and a change of it that is not for others to make.
fn meddling() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let unlabelled = json!({"metadata": {"labels": {"app.kubernetes.io/component": "evil"}}});
    vec![
        ("v1", "ConfigMap", "logs-ingestion", json!({"data": {"pipeline.yaml": "evil"}})),
        ("v1", "Secret", "taffrail-dashboard", json!({"metadata": {"ownerReferences": null}})),
        ("v1", "Service", "taffrail-dashboard", json!({"spec": {"selector": {"app.kubernetes.io/component": "evil"}}})),
        ("v1", "ServiceAccount", "taffrail-rules", json!({"automountServiceAccountToken": true})),
        ("v1", "PersistentVolumeClaim", "taffrail-metrics", unlabelled),
        (
            APPS,
            "Deployment",
            "logs-ingestion",
            json!({"spec": {"template": {"spec": {"automountServiceAccountToken": true}}}}),
        ),
        (APPS, "StatefulSet", "taffrail-metrics", json!({"spec": {"replicas": 3}})),
        ("policy/v1", "PodDisruptionBudget", "logs-ingestion", json!({"spec": {"maxUnavailable": 5}})),
        (NETWORK, "NetworkPolicy", "taffrail-rules", json!({"spec": {"ingress": [{}]}})),
        (NETWORK, "Ingress", "shop", json!({"spec": {"rules": [{"host": "evil.example.com"}]}})),
        (RBAC, "Role", "taffrail-rules", json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]})),
        (RBAC, "RoleBinding", "taffrail-dashboard", json!({"subjects": []})),
    ]
}

#[tokio::test]
async fn whatever_is_changed_or_deleted_by_hand_comes_back_whatever_its_kind() {
    let scratch = Scratch::new("meddling").await;
    let operator = scratch.operator().await;
    apply_all(&scratch).await;
    let expected = scratch.picture().await;
    // All at once.
    join_all(meddling().into_iter().map(|(version, kind, name, patch)| scratch.meddle(version, kind, name, patch)))
        .await;
    scratch.wait_for_picture("after changes by hand", &expected).await;
    // What is said, too.
    for (kind, name) in [("LogPipeline", "logs"), ("Dashboard", "shop")] {
        let lie = json!({"status": {"conditions": [{
            "type": "Ready", "status": "Unknown", "reason": "Lie", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}});
        scratch.api(TAFFRAIL, kind).patch_status(name, &PatchParams::default(), &Patch::Merge(&lie)).await.unwrap();
    }
    scratch.wait_for_picture("after lies", &expected).await;
    join_all(meddling().into_iter().map(async |(version, kind, name, _)| {
        let before = scratch.get(version, kind, name).await.unwrap()["metadata"]["uid"].clone();
        scratch.delete(version, kind, name).await;
        scratch.wait_for(version, kind, name, |it| it["metadata"]["uid"] != before).await;
    }))
    .await;
    scratch.wait_for_picture("after deletions by hand", &expected).await;
    operator.stop().await;
}

/// Applies some fields of an object as somebody else.
async fn add(scratch: &Scratch, version: &str, kind: &str, name: &str, mut fields: Value) {
    fields["apiVersion"] = version.into();
    fields["kind"] = kind.into();
    let params = PatchParams::apply("injector");
    scratch.api(version, kind).patch(name, &params, &Patch::Apply(&fields)).await.unwrap();
}

#[tokio::test]
async fn fields_of_others_outlive_edits_and_restarts_of_the_operator() {
    let scratch = Scratch::new("theirs").await;
    let operator = scratch.operator().await;
    apply_all(&scratch).await;
    let marks = json!({"labels": {"team": "shop"}, "annotations": {"note": "ours"}});
    for (version, kind, name, _) in meddling() {
        add(&scratch, version, kind, name, json!({"metadata": marks})).await;
    }
    // An injector, with all that the restricted standard asks of its container.
    let security = json!({
        "allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    let mounts = json!([{"name": "proxy", "mountPath": "/proxy"}]);
    let injected = json!({
        "containers": [{"name": "proxy", "image": "proxy:1", "securityContext": security, "volumeMounts": mounts}],
        "volumes": [{"name": "proxy", "emptyDir": {}}],
    });
    let workloads =
        [("Deployment", "logs-ingestion"), ("Deployment", "taffrail-rules"), ("StatefulSet", "taffrail-metrics")];
    for (kind, name) in workloads {
        add(&scratch, APPS, kind, name, json!({"metadata": marks, "spec": {"template": {"spec": injected}}})).await;
        let restart =
            json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}});
        scratch.meddle(APPS, kind, name, restart).await;
    }
    // An autoscaler, which writes to the scale.
    let scale = json!({"spec": {"replicas": 3}});
    let api = scratch.api(APPS, "Deployment");
    api.patch_scale("logs-ingestion", &PatchParams::default(), &Patch::Merge(&scale)).await.unwrap();
    // A condition of somebody's, by another name.
    let condition = json!({"type": "Approved", "status": "True", "reason": "Audit", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"apiVersion": TAFFRAIL, "kind": "LogPipeline", "status": {"conditions": [condition]}});
    let params = PatchParams::apply("auditor");
    scratch.api(TAFFRAIL, "LogPipeline").patch_status("logs", &params, &Patch::Apply(&status)).await.unwrap();

    let are_there = async || {
        for (version, kind, name, _) in meddling() {
            let object = scratch.get(version, kind, name).await.unwrap();
            assert_eq!(object["metadata"]["labels"]["team"], "shop", "{kind}");
            assert_eq!(object["metadata"]["annotations"]["note"], "ours", "{kind}");
        }
        for (kind, name) in workloads {
            let pod = scratch.get(APPS, kind, name).await.unwrap()["spec"]["template"].take();
            assert_eq!(pod["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"], "now", "{name}");
            for list in ["containers", "volumes"] {
                assert!(
                    pod["spec"][list].as_array().unwrap().iter().any(|it| it["name"] == "proxy"),
                    "{name}: {pod:#}"
                );
            }
        }
        assert_eq!(scratch.get(APPS, "Deployment", "logs-ingestion").await.unwrap()["spec"]["replicas"], 3);
        let conditions = scratch.get(TAFFRAIL, "LogPipeline", "logs").await.unwrap()["status"]["conditions"].clone();
        let has = |kind: &str| conditions.as_array().unwrap().iter().any(|it| it["type"] == kind);
        assert!(has("Approved") && has("Ready"), "{conditions:#}");
    };
    // An edit that changes the pods of all three workloads, and their neighbours.
    scratch.apply("LogPipeline", "logs", &PIPELINE.replace("8081", "8082")).await;
    scratch.apply("Dashboard", "shop", "{ingress: {host: new.example.com}}").await;
    let edited = |it: &Value| it["spec"]["template"]["spec"].to_string().contains("8082");
    scratch.wait_for(APPS, "Deployment", "logs-ingestion", edited).await;
    scratch.wait_for(NETWORK, "Ingress", "shop", |it| it["spec"]["rules"][0]["host"] == "new.example.com").await;
    are_there().await;
    operator.stop().await;
    let mut config = scratch.config("operator-2");
    config.image = "taffrail:new".to_owned();
    let operator = crate::support::start(config, scratch.client.clone());
    until("all workloads have the new image", || async {
        for (kind, name) in workloads {
            let object = scratch.get(APPS, kind, name).await.unwrap();
            if !object["spec"]["template"]["spec"]["containers"].to_string().contains("taffrail:new") {
                return false;
            }
        }
        true
    })
    .await;
    are_there().await;
    operator.stop().await;
}
