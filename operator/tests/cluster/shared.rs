//! What a namespace's objects share.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{Scratch, TAFFRAIL, install, said, start, until};

const RULE: &str = "{query: rate error_count, operator: '>', threshold: 1}";
const APPS: &str = "apps/v1";

fn owners(object: &Value) -> Vec<String> {
    let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    owners
        .iter()
        .map(|owner| format!("{} {}", owner["kind"].as_str().unwrap(), owner["name"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn shared_workers_come_with_the_first_object_and_go_with_the_last() {
    let scratch = Scratch::new("shared").await;
    let _operator = scratch.operator().await;
    let plain = "{source: {demo: {}}, sink: {elasticsearch: {urls: ['http://es:9200'], auth: {secretName: es}}}}";
    scratch.apply("LogPipeline", "logs", plain).await;
    scratch.wait_for(APPS, "Deployment", "logs-ingestion", |_| true).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(scratch.get(APPS, "StatefulSet", "taffrail-metrics").await.is_none(), "nothing is measured");

    scratch.apply("AlertRule", "one", RULE).await;
    scratch.apply("AlertRule", "two", &RULE.replace("}", ", notify: [{slack: {secretName: slack}}]}")).await;
    scratch.apply("Dashboard", "shop", "{title: Shop}").await;
    let expected = ["AlertRule one", "AlertRule two", "Dashboard shop"];
    scratch.wait_for(APPS, "StatefulSet", "taffrail-metrics", |it| owners(it) == expected).await;
    scratch.wait_for("v1", "PersistentVolumeClaim", "taffrail-metrics", |it| owners(it) == expected).await;
    scratch.wait_for(APPS, "Deployment", "taffrail-rules", |it| owners(it) == expected[..2]).await;
    let role = scratch
        .wait_for("rbac.authorization.k8s.io/v1", "Role", "taffrail-rules", |it| it["rules"][2].is_object())
        .await;
    assert_eq!(role["rules"][2]["resourceNames"], json!(["slack"]));
    assert_eq!(owners(&role), ["Deployment taffrail-rules"]);
    let dashboard = scratch.wait_for(APPS, "Deployment", "taffrail-dashboard", |it| owners(it) == expected[2..]).await;
    let mounts = |it: &Value, name: &str| {
        let volumes = it["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        volumes.iter().any(|volume| volume["secret"]["secretName"] == name)
    };
    // What is not there yet is no reason to start it anew, and what comes is.
    assert!(mounts(&dashboard, "taffrail-dashboard") && !mounts(&dashboard, "es"), "{dashboard:#}");
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "es"}, "stringData": {"apiKey": "a"}});
    scratch.api("v1", "Secret").patch("es", &PatchParams::apply("user"), &Patch::Apply(&secret)).await.unwrap();
    scratch.wait_for(APPS, "Deployment", "taffrail-dashboard", |it| mounts(it, "es")).await;
    let key = scratch.wait_for("v1", "Secret", "taffrail-dashboard", |it| it["data"]["apiKey"].is_string()).await;
    // The restricted standard admits all of their pods.
    for (kind, name) in
        [("Deployment", "taffrail-rules"), ("Deployment", "taffrail-dashboard"), ("StatefulSet", "taffrail-metrics")]
    {
        scratch.wait_for(APPS, kind, name, |it| it["status"]["readyReplicas"] == 1).await;
    }

    scratch.delete(TAFFRAIL, "AlertRule", "one").await;
    scratch.wait_for(APPS, "Deployment", "taffrail-rules", |it| owners(it) == expected[1..2]).await;
    let kept = scratch.get("v1", "Secret", "taffrail-dashboard").await.unwrap();
    assert_eq!(kept["data"]["apiKey"], key["data"]["apiKey"], "the key is made once");
    scratch.delete(TAFFRAIL, "AlertRule", "two").await;
    scratch.wait_until_gone(APPS, "Deployment", "taffrail-rules").await;
    scratch.wait_until_gone("v1", "ServiceAccount", "taffrail-rules").await;
    assert!(scratch.get(APPS, "StatefulSet", "taffrail-metrics").await.is_some());

    // A pipeline needs the metrics worker for as long as it measures something.
    let measured = plain.replace("sink:", "metrics: [{name: logs_total, type: counter}], sink:");
    scratch.apply("LogPipeline", "logs", &measured).await;
    scratch
        .wait_for(APPS, "StatefulSet", "taffrail-metrics", |it| owners(it) == ["Dashboard shop", "LogPipeline logs"])
        .await;
    scratch.delete(TAFFRAIL, "Dashboard", "shop").await;
    scratch.wait_until_gone("v1", "Secret", "taffrail-dashboard").await;
    scratch.apply("LogPipeline", "logs", plain).await;
    scratch.wait_until_gone("v1", "PersistentVolumeClaim", "taffrail-metrics").await;
    scratch.wait_until_gone(APPS, "StatefulSet", "taffrail-metrics").await;
    scratch.delete(TAFFRAIL, "LogPipeline", "logs").await;
    until("nothing is left", || async { scratch.made().await.is_empty() }).await;
}

#[tokio::test]
async fn a_rule_is_told_of_until_its_worker_speaks_for_itself() {
    let scratch = Scratch::new("rule").await;
    let _operator = scratch.operator().await;
    scratch.apply("AlertRule", "errors", RULE).await;
    scratch.wait_for_condition("AlertRule", "errors", "Ready", "False WorkerNotReady").await;
    scratch.wait_for(APPS, "Deployment", "taffrail-rules", |it| it["status"]["availableReplicas"] == 1).await;
    scratch.wait_for_condition("AlertRule", "errors", "Ready", "False NotLoaded").await;

    let ready = json!({
        "type": "Ready", "status": "True", "reason": "Loaded", "message": "the rule is being evaluated",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let status = json!({
        "apiVersion": TAFFRAIL, "kind": "AlertRule", "metadata": {"name": "errors"},
        "status": {"state": "Firing", "value": 7.5, "observedGeneration": 1, "conditions": [ready]},
    });
    let params = PatchParams::apply("taffrail-rules").force();
    scratch.api(TAFFRAIL, "AlertRule").patch_status("errors", &params, &Patch::Apply(&status)).await.unwrap();
    let told = scratch.wait_for_condition("AlertRule", "errors", "Progressing", "False Loaded").await;
    assert_eq!(said(&told, "Ready").as_deref(), Some("True Loaded"), "{:#}", told["status"]);
    assert_eq!((&told["status"]["state"], &told["status"]["value"]), (&json!("Firing"), &json!(7.5)));
}

#[tokio::test]
async fn a_dashboard_is_reached_by_its_ingress() {
    let scratch = Scratch::new("ingress").await;
    let _operator = scratch.operator().await;
    let networking = "networking.k8s.io/v1";
    scratch
        .apply("Dashboard", "shop", "{ingress: {host: shop.example.com, className: nginx, tlsSecretName: tls}}")
        .await;
    let ingress = scratch.wait_for(networking, "Ingress", "shop", |_| true).await;
    assert_eq!(owners(&ingress), ["Dashboard shop"]);
    let backend = &ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"];
    let service = scratch.wait_for("v1", "Service", backend["name"].as_str().unwrap(), |_| true).await;
    let ports = service["spec"]["ports"].as_array().unwrap();
    assert!(ports.iter().any(|port| port["name"] == backend["port"]["name"] && port["port"] == 8080), "{ports:?}");
    let url = json!("https://shop.example.com/#/dashboards/shop");
    scratch.wait_for(TAFFRAIL, "Dashboard", "shop", |it| it["status"]["url"] == url).await;

    scratch
        .workers
        .say(vec![json!({"kind": "Dashboard", "namespace": scratch.namespace, "name": "shop", "generation": 1})]);
    scratch.wait_for_condition("Dashboard", "shop", "Ready", "True Running").await;
    scratch.apply("Dashboard", "shop", "{ingress: {host: new.example.com}}").await;
    let edited =
        scratch.wait_for(networking, "Ingress", "shop", |it| it["spec"]["rules"][0]["host"] == "new.example.com").await;
    assert!(edited["spec"]["tls"].is_null());
    // The worker has not loaded this generation.
    scratch.wait_for_condition("Dashboard", "shop", "Ready", "False RollingOut").await;
    scratch.apply("Dashboard", "shop", "{title: Shop}").await;
    scratch.wait_until_gone(networking, "Ingress", "shop").await;
}

#[tokio::test]
async fn service_monitors_follow_their_kind() {
    let scratch = Scratch::new("monitors").await;
    let monitoring = "monitoring.coreos.com/v1";
    let crds: Api<CustomResourceDefinition> = Api::all(scratch.client.clone());
    let name = "servicemonitors.monitoring.coreos.com";
    let mut config = scratch.config("operator-1");
    config.service_monitors = true;
    let operator = start(config, scratch.client.clone());
    until("the operator leads", || async { operator.leads() && operator.ready().is_ok() }).await;
    scratch.apply("AlertRule", "errors", RULE).await;
    scratch.wait_for(APPS, "Deployment", "taffrail-rules", |_| true).await;
    assert!(scratch.get("v1", "Service", "taffrail-rules").await.is_none());

    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": "ServiceMonitor", "plural": "servicemonitors", "singular": "servicemonitor"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    install(&crds, &crd).await;
    let monitor = scratch.wait_for(monitoring, "ServiceMonitor", "taffrail", |_| true).await;
    assert_eq!(owners(&monitor), ["AlertRule errors"]);
    let service = scratch.wait_for("v1", "Service", "taffrail-rules", |_| true).await;
    let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
    assert!(wanted.iter().all(|(key, value)| service["metadata"]["labels"][key] == *value), "{service:#}");
    assert_eq!(service["spec"]["ports"][0]["name"], monitor["spec"]["endpoints"][0]["port"]);
    // It comes back like any other.
    scratch.delete(monitoring, "ServiceMonitor", "taffrail").await;
    scratch.wait_for(monitoring, "ServiceMonitor", "taffrail", |_| true).await;

    crds.delete(name, &DeleteParams::default()).await.unwrap();
    scratch.wait_until_gone("v1", "Service", "taffrail-rules").await;
    operator.stop().await;
}

#[tokio::test]
async fn the_volume_of_the_metrics_grows() {
    let scratch = Scratch::new("volume").await;
    let class = format!("grows-{}", scratch.namespace);
    let classes: Api<k8s_openapi::api::storage::v1::StorageClass> = Api::all(scratch.client.clone());
    let object = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": class},
        "provisioner": "example.com/none", "allowVolumeExpansion": true,
    });
    classes.patch(&class, &PatchParams::apply("test"), &Patch::Apply(&object)).await.unwrap();
    let mut config = scratch.config("operator-1");
    config.metrics_storage_class = Some(class.clone());
    let operator = start(config.clone(), scratch.client.clone());
    scratch.apply("AlertRule", "errors", RULE).await;
    let kind = "PersistentVolumeClaim";
    scratch
        .wait_for("v1", kind, "taffrail-metrics", |it| it["spec"]["resources"]["requests"]["storage"] == "10Gi")
        .await;
    // Only a claim with a volume can grow.
    let volumes: Api<k8s_openapi::api::core::v1::PersistentVolume> = Api::all(scratch.client.clone());
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": class},
        "spec": {
            "storageClassName": class, "capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/nowhere"}, "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": scratch.namespace, "name": "taffrail-metrics"},
        },
    });
    volumes.patch(&class, &PatchParams::apply("test"), &Patch::Apply(&volume)).await.unwrap();
    scratch.wait_for("v1", kind, "taffrail-metrics", |it| it["status"]["phase"] == "Bound").await;
    let before = scratch.wait_for(APPS, "StatefulSet", "taffrail-metrics", |_| true).await;
    operator.stop().await;

    config.metrics_volume_size = taffrail_crds::ByteSize(20 << 30);
    let operator = start(config.clone(), scratch.client.clone());
    scratch
        .wait_for("v1", kind, "taffrail-metrics", |it| it["spec"]["resources"]["requests"]["storage"] == "20Gi")
        .await;
    let after = scratch.get(APPS, "StatefulSet", "taffrail-metrics").await.unwrap();
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"], "no pod was started anew for it");
    operator.stop().await;

    // It can't get smaller: that is said, and keeps nothing else from being applied.
    config.metrics_volume_size = taffrail_crds::ByteSize(5 << 30);
    config.image = "taffrail:new".to_owned();
    let operator = start(config, scratch.client.clone());
    scratch.wait_for_condition("AlertRule", "errors", "Degraded", "True Refused").await;
    let is_new = |it: &Value| it["spec"]["template"]["spec"]["containers"][0]["image"] == "taffrail:new";
    scratch.wait_for(APPS, "StatefulSet", "taffrail-metrics", is_new).await;
    operator.stop().await;
    volumes.delete(&class, &DeleteParams::default()).await.unwrap();
    classes.delete(&class, &DeleteParams::default()).await.unwrap();
}
