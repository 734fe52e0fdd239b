//! The dashboard worker of a namespace.

use serde_json::json;

use super::pod::{SECRETS_DIR, Worker};
use super::{Component, Identity, Owner, Rendered, SHARED, TELEMETRY_PORT, account, metrics_url, network, service};
use crate::child::ChildKind;
use crate::config::Config;

/// The name of the port of the page and the REST API.
pub(crate) const HTTP: &str = "http";
/// The port of the page and the REST API.
pub(crate) const HTTP_PORT: u16 = 8080;
/// The key of the API key in the namespace's Secret.
pub(crate) const API_KEY: &str = "apiKey";

/// The identity of a namespace's dashboard worker.
pub(crate) const fn identity(namespace: &str) -> Identity<'_> {
    Identity { namespace, component: Component::Dashboard, instance: SHARED }
}

/// What belongs to all Dashboards: the workload. `secrets` are mounted, `secrets_hash` is of what is in them.
pub(crate) fn roots(
    namespace: &str,
    owners: &[Owner],
    secrets: &[String],
    secrets_hash: &str,
    config: &Config,
) -> Vec<Rendered> {
    let of = identity(namespace);
    let name = of.workload();
    let args = [
        "dashboard",
        "--namespace",
        namespace,
        "--metrics",
        &metrics_url(namespace),
        "--secrets",
        SECRETS_DIR,
        "--listen",
        &format!("0.0.0.0:{HTTP_PORT}"),
        "--telemetry-listen",
        &format!("0.0.0.0:{TELEMETRY_PORT}"),
    ];
    let worker = Worker {
        of,
        args: args.map(str::to_owned).to_vec(),
        ports: vec![(HTTP, HTTP_PORT)],
        account: Some(name.clone()),
        config_map: None,
        secrets,
        claim: None,
        content_hash: secrets_hash.to_owned(),
    };
    let spec = json!({
        "selector": {"matchLabels": of.selector()},
        "revisionHistoryLimit": 3,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": worker.template(config),
    });
    vec![Rendered::new(ChildKind::Deployment, &name, &of, owners, json!({"spec": spec}))]
}

/// The Secret with the API key of a namespace, which belongs to all Dashboards, without the key: that is made once, by
/// another name, so that nothing but the Secret knows it and whoever changes it is left alone.
pub(crate) fn key_secret(namespace: &str, owners: &[Owner]) -> Rendered {
    let of = identity(namespace);
    Rendered::new(ChildKind::Secret, of.workload(), &of, owners, json!({"type": "Opaque"}))
}

/// What belongs to the workload.
pub(crate) fn attachments(namespace: &str, root: &Owner, config: &Config) -> Vec<Rendered> {
    let of = identity(namespace);
    let owners = std::slice::from_ref(root);
    let kinds = ["logpipelines", "alertrules", "dashboards"];
    let rules = json!([{"apiGroups": ["taffrail.dev"], "resources": kinds, "verbs": ["get", "list", "watch"]}]);
    let budget = json!({"spec": {"maxUnavailable": 1, "selector": {"matchLabels": of.selector()}}});
    let mut all: Vec<Rendered> = account(&of, owners, rules);
    all.extend([
        Rendered::new(ChildKind::DisruptionBudget, of.workload(), &of, owners, budget),
        service(&of, owners, &[(HTTP, HTTP_PORT)]),
        network::policy(&of, owners, &[HTTP_PORT], config),
    ]);
    all
}
