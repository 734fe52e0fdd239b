//! What the accounts of a namespace may: as the API server's authorizer says, of everything that it knows.

use futures::StreamExt;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::api::{Api, ListParams, PostParams};
use kube::discovery::{Discovery, Scope};
use serde_json::{Value, json};

use crate::support::{Scratch, rights, start};

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
const PIPELINE: &str =
    "{source: {demo: {}}, sink: {elasticsearch: {urls: ['http://es:9200'], auth: {secretName: es}}}}";
const RULE: &str = "{query: rate e, operator: '>', threshold: 1, notify: [{slack: {secretName: slack}}]}";

/// Group and plural of every kind in namespaces, with their subresources.
async fn resources(scratch: &Scratch) -> Vec<(String, String)> {
    let discovery = Discovery::new(scratch.client.clone()).run().await.unwrap();
    let mut all = Vec::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if capabilities.scope != Scope::Namespaced {
                continue;
            }
            for (below, _) in &capabilities.subresources {
                all.push((
                    resource.group.clone(),
                    format!("{}/{}", resource.plural, below.plural.rsplit('/').next().unwrap()),
                ));
            }
            all.push((resource.group, resource.plural));
        }
    }
    all
}

/// Whether an account may do something with a resource, or with one object of it, in a namespace or in all.
async fn may(
    scratch: &Scratch,
    account: &str,
    namespace: &str,
    verb: &str,
    (group, resource, name): (&str, &str, &str),
) -> bool {
    let (plural, below) = resource.split_once('/').unwrap_or((resource, ""));
    let home = account.split(':').nth(2).unwrap();
    let review = json!({"spec": {
        "user": account,
        "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{home}"), "system:authenticated"],
        "resourceAttributes": {
            "namespace": namespace, "verb": verb, "group": group, "resource": plural, "subresource": below, "name": name,
        },
    }});
    let api: Api<SubjectAccessReview> = Api::all(scratch.client.clone());
    let answer = api.create(&PostParams::default(), &serde_json::from_value(review).unwrap()).await.unwrap();
    answer.status.unwrap().allowed
}

/// All that an account may in a namespace, as `verb resource`.
async fn all_that(scratch: &Scratch, account: &str, namespace: &str, resources: &[(String, String)]) -> Vec<String> {
    let questions = resources.iter().flat_map(|of| VERBS.map(|verb| (of, verb)));
    let answers = questions.map(|((group, resource), verb)| async move {
        may(scratch, account, namespace, verb, (group, resource, "")).await.then(|| format!("{verb} {resource}"))
    });
    let mut all: Vec<_> = futures::stream::iter(answers).buffered(16).filter_map(std::future::ready).collect().await;
    all.sort();
    all
}

#[tokio::test]
async fn no_account_of_a_namespace_reaches_beyond_it_and_workers_reach_only_what_they_need() {
    let scratch = Scratch::new("own").await;
    let other = Scratch::new("other").await;
    rights::grant(&scratch, &rights::of_the_chart()).await;
    let operator = start(scratch.config("operator-1"), rights::client(&scratch).await);
    scratch.apply("LogPipeline", "logs", PIPELINE).await;
    scratch.apply("AlertRule", "errors", RULE).await;
    scratch.apply("Dashboard", "shop", "{title: Shop}").await;
    for name in ["taffrail-rules", "taffrail-dashboard"] {
        scratch.wait_for(rights::RBAC, "RoleBinding", name, |_| true).await;
    }
    for name in ["logs-ingestion", "taffrail-rules", "taffrail-dashboard"] {
        scratch.wait_for("apps/v1", "Deployment", name, |it| it["status"]["readyReplicas"] == 1).await;
    }

    let resources = resources(&scratch).await;
    assert!(resources.iter().any(|(_, resource)| resource == "secrets") && resources.len() > 30, "{resources:?}");
    let of = |name: &str| format!("system:serviceaccount:{}:{name}", scratch.namespace);
    let watched = |kinds: &[&str]| -> Vec<String> {
        kinds.iter().flat_map(|kind| ["get", "list", "watch"].map(|verb| format!("{verb} {kind}"))).collect()
    };
    let rules = [
        watched(&["alertrules", "logpipelines"]),
        ["get", "patch"].map(|verb| format!("{verb} alertrules/status")).to_vec(),
    ];
    let dashboard = watched(&["alertrules", "dashboards", "logpipelines"]);
    for (account, expected) in [
        (of("taffrail-rules"), Some(rules.concat())),
        (of("taffrail-dashboard"), Some(dashboard)),
        (of("default"), Some(Vec::new())),
        (of("operator"), None),
    ] {
        for elsewhere in [other.namespace.as_str(), ""] {
            let allowed = all_that(&scratch, &account, elsewhere, &resources).await;
            assert_eq!(allowed, [""; 0], "{account} in `{elsewhere}`");
        }
        let allowed = all_that(&scratch, &account, &scratch.namespace, &resources).await;
        match expected {
            Some(mut expected) => {
                expected.sort();
                assert_eq!(allowed, expected, "{account}");
            }
            None => assert!(allowed.iter().any(|right| right == "patch deployments"), "{allowed:?}"),
        }
    }
    // Of Secrets the rules worker reads those that its rules name, and nobody else any.
    for (account, secret, expected) in [
        ("taffrail-rules", "slack", true),
        ("taffrail-rules", "es", false),
        ("taffrail-rules", "taffrail-dashboard", false),
        ("taffrail-dashboard", "es", false),
        ("taffrail-dashboard", "slack", false),
    ] {
        for verb in ["get", "list", "watch"] {
            let allowed = may(&scratch, &of(account), &scratch.namespace, verb, ("", "secrets", secret)).await;
            assert_eq!(allowed, expected, "{account} may {verb} {secret}");
        }
    }
    // Who has no business with the API server has no token for it.
    for pod in scratch.api("v1", "Pod").list(&ListParams::default()).await.unwrap() {
        let component = pod.metadata.labels.unwrap()["app.kubernetes.io/component"].clone();
        let volumes: Vec<Value> = pod.data["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        let has_token = volumes.iter().any(|volume| volume["projected"].to_string().contains("serviceAccountToken"));
        assert_eq!(has_token, ["rules", "dashboard"].contains(&component.as_str()), "{component}: {volumes:?}");
        assert_eq!(pod.data["spec"]["automountServiceAccountToken"], json!(has_token));
    }
    operator.stop().await;
}
