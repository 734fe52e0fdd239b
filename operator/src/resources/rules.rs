//! The rule worker of a namespace.

use serde_json::{Value, json};

use super::pod::{CONFIG_DIR, DATA_DIR, Worker};
use super::{Component, Identity, Owner, Rendered, SHARED, TELEMETRY_PORT, account, metrics_url, network, service};
use crate::child::ChildKind;
use crate::config::Config;
use crate::hash;

/// The file with the receivers of rules that name none.
const RECEIVERS: &str = "receivers.yaml";

/// The identity of a namespace's rule worker.
pub(crate) const fn identity(namespace: &str) -> Identity<'_> {
    Identity { namespace, component: Component::Rules, instance: SHARED }
}

/// What belongs to all AlertRules: the workload.
pub(crate) fn roots(namespace: &str, owners: &[Owner], config: &Config) -> Vec<Rendered> {
    let of = identity(namespace);
    let name = of.workload();
    let mut args: Vec<_> =
        ["rules", "--namespace", namespace, "--metrics", &metrics_url(namespace), "--data", DATA_DIR]
            .map(str::to_owned)
            .to_vec();
    args.extend(["--listen".to_owned(), format!("0.0.0.0:{TELEMETRY_PORT}")]);
    let has_receivers = !config.receivers.is_empty();
    if has_receivers {
        args.extend(["--receivers".to_owned(), format!("{CONFIG_DIR}/{RECEIVERS}")]);
    }
    let worker = Worker {
        of,
        args,
        ports: Vec::new(),
        account: Some(name.clone()),
        config_map: has_receivers.then(|| name.clone()),
        secrets: &[],
        claim: None,
        content_hash: hash::of_json(&receivers(config)),
    };
    let spec = json!({
        "replicas": 1,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": of.selector()},
        // Two at once would tell everybody twice.
        "strategy": {"type": "Recreate"},
        "template": worker.template(config),
    });
    vec![Rendered::new(ChildKind::Deployment, &name, &of, owners, json!({"spec": spec}))]
}

/// What belongs to the workload. `secrets` are those that receivers name.
pub(crate) fn attachments(
    namespace: &str,
    root: &Owner,
    secrets: &[String],
    config: &Config,
    monitors: bool,
) -> Vec<Rendered> {
    let of = identity(namespace);
    let owners = std::slice::from_ref(root);
    let mut rules = vec![
        json!({"apiGroups": ["taffrail.dev"], "resources": ["alertrules", "logpipelines"], "verbs": ["get", "list", "watch"]}),
        json!({"apiGroups": ["taffrail.dev"], "resources": ["alertrules/status"], "verbs": ["get", "patch"]}),
    ];
    if !secrets.is_empty() {
        // A watch of one Secret by its name is a list and a watch to the API server.
        let verbs = ["get", "list", "watch"];
        rules.push(json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": secrets, "verbs": verbs}));
    }
    let mut all = account(&of, owners, Value::Array(rules));
    all.push(network::policy(&of, owners, &[], config));
    if !config.receivers.is_empty() {
        let text = serde_json::to_string_pretty(&receivers(config)).unwrap_or_default();
        all.push(Rendered::new(ChildKind::ConfigMap, of.workload(), &of, owners, json!({"data": {RECEIVERS: text}})));
    }
    if monitors {
        all.push(service(&of, owners, &[]));
    }
    all
}

fn receivers(config: &Config) -> Value {
    serde_json::to_value(&config.receivers).unwrap_or_default()
}
