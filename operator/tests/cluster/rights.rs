//! The rights that the chart gives are those that the operator needs.

use kube::api::{Api, DynamicObject, ListParams};

use crate::support::{Scratch, rights, start, until};

const PIPELINE: &str =
    "{source: {demo: {}}, sink: {elasticsearch: {urls: ['http://es:9200'], auth: {secretName: es}}}}";

#[tokio::test]
async fn an_operator_with_its_rights_and_no_others_does_all_its_work() {
    let scratch = Scratch::new("rights").await;
    rights::grant(&scratch, &rights::of_the_chart()).await;
    let client = rights::client(&scratch).await;
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
        scratch.wait_for(rights::RBAC, "RoleBinding", name, |_| true).await;
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
async fn a_namespace_without_the_rights_keeps_no_other_from_being_looked_after() {
    let scratch = Scratch::new("rights").await;
    rights::grant(&scratch, &rights::of_the_chart()).await;
    let mut config = scratch.config("operator-1");
    config.watch_namespaces.push("not-there".to_owned());
    let operator = start(config, rights::client(&scratch).await);
    scratch.apply("LogPipeline", "logs", PIPELINE).await;
    scratch.wait_for_condition("LogPipeline", "logs", "Degraded", "True SecretNotFound").await;
    scratch.wait_for("apps/v1", "Deployment", "logs-ingestion", |_| true).await;
    assert!(operator.ready().is_ok());
    operator.stop().await;
}
