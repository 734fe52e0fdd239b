//! The rights that the operator needs, and what happens while it has none.

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{Scratch, TAFFRAIL, client_of, start, until};

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const PIPELINE: &str =
    "{source: {demo: {}}, sink: {elasticsearch: {urls: ['http://es:9200'], auth: {secretName: es}}}}";

/// All that an operator may in a namespace that it looks after. With less it would not do its work: the API server lets
/// nobody give away rights that he has not himself, so those of the workers are among them.
fn rules() -> Value {
    let all = ["get", "list", "watch", "create", "patch", "delete"];
    json!([
        {"apiGroups": ["taffrail.dev"], "resources": ["logpipelines", "alertrules", "dashboards"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["taffrail.dev"], "resources": ["logpipelines/status", "alertrules/status", "dashboards/status"], "verbs": ["get", "patch"]},
        {"apiGroups": [""], "resources": ["configmaps", "secrets", "services", "serviceaccounts", "persistentvolumeclaims"], "verbs": all},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": all},
        {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": all},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies", "ingresses"], "verbs": all},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": all},
        {"apiGroups": ["monitoring.coreos.com"], "resources": ["servicemonitors"], "verbs": all},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
    ])
}

/// Gives the rights to a name, within the test's namespace.
async fn grant(scratch: &Scratch, user: &str) {
    let params = PatchParams::apply("test").force();
    let role = json!({"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "operator"}, "rules": rules()});
    scratch.api(RBAC, "Role").patch("operator", &params, &Patch::Apply(&role)).await.unwrap();
    let binding = json!({
        "apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    scratch.api(RBAC, "RoleBinding").patch("operator", &params, &Patch::Apply(&binding)).await.unwrap();
}

#[tokio::test]
async fn an_operator_with_its_rights_and_no_others_does_all_its_work() {
    let scratch = Scratch::new("rights").await;
    let user = format!("operator-of-{}", scratch.namespace);
    grant(&scratch, &user).await;
    let client = client_of(&user).await;
    let operator = start(scratch.config("operator-1"), client.clone());
    scratch.apply("LogPipeline", "logs", PIPELINE).await;
    scratch
        .apply(
            "AlertRule",
            "errors",
            "{query: rate e, operator: '>', threshold: 1, notify: [{slack: {secretName: slack}}]}",
        )
        .await;
    scratch.apply("Dashboard", "shop", "{ingress: {host: shop.example.com}}").await;
    scratch.wait_for_condition("LogPipeline", "logs", "Degraded", "True SecretNotFound").await;
    scratch.wait_for_condition("AlertRule", "errors", "Degraded", "True SecretNotFound").await;
    scratch.wait_for_condition("Dashboard", "shop", "Degraded", "False AsExpected").await;
    for name in ["taffrail-rules", "taffrail-dashboard"] {
        scratch.wait_for("apps/v1", "Deployment", name, |it| it["status"]["readyReplicas"] == 1).await;
        scratch.wait_for(RBAC, "RoleBinding", name, |_| true).await;
    }
    until("there are Events of the operator's", || async {
        let events = scratch.api("v1", "Event").list(&ListParams::default()).await.unwrap();
        events.iter().any(|event| event.data["reportingComponent"] == taffrail_operator::FIELD_MANAGER)
    })
    .await;
    // And sees nothing of any other namespace.
    let elsewhere: Api<DynamicObject> = {
        let resource = kube::api::ApiResource::from_gvk(&kube::api::GroupVersionKind::gvk("", "v1", "Secret"));
        Api::namespaced_with(client, "kube-system", &resource)
    };
    assert!(elsewhere.list(&ListParams::default()).await.is_err());
    operator.stop().await;
}

#[tokio::test]
async fn rights_that_are_withdrawn_are_said_and_given_back_are_used() {
    let scratch = Scratch::new("withdrawn").await;
    let user = format!("operator-of-{}", scratch.namespace);
    grant(&scratch, &user).await;
    let operator = start(scratch.config("operator-1"), client_of(&user).await);
    scratch.apply("LogPipeline", "one", PIPELINE).await;
    scratch.wait_for("apps/v1", "Deployment", "one-ingestion", |_| true).await;

    // Some of them: what can't be done is said.
    let mut fewer = rules();
    fewer.as_array_mut().unwrap().retain(|rule| rule["apiGroups"][0] != "networking.k8s.io");
    let patch = json!({"rules": fewer});
    scratch.api(RBAC, "Role").patch("operator", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    scratch.apply("LogPipeline", "two", PIPELINE).await;
    scratch.wait_for_condition("LogPipeline", "two", "Degraded", "True Forbidden").await;
    scratch.wait_for("apps/v1", "Deployment", "two-ingestion", |_| true).await;
    // All of them.
    scratch.api(RBAC, "RoleBinding").delete("operator", &DeleteParams::default()).await.unwrap();
    until("the operator leads no more", || async { !operator.leads() }).await;
    scratch.apply("LogPipeline", "three", PIPELINE).await;

    grant(&scratch, &user).await;
    for name in ["two-ingestion", "three-ingestion"] {
        scratch.wait_for("networking.k8s.io/v1", "NetworkPolicy", name, |_| true).await;
    }
    let told = |it: &Value| it["status"]["observedGeneration"] == 1;
    scratch.wait_for(TAFFRAIL, "LogPipeline", "three", told).await;
    operator.stop().await;
}
