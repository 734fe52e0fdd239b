//! The metrics worker of a namespace, and the volume it keeps its series on.

use serde_json::json;

use super::pod::{DATA_DIR, Worker};
use super::{Component, Identity, Owner, Rendered, SHARED, TELEMETRY_PORT, network, service};
use crate::child::ChildKind;
use crate::config::Config;

/// The identity of a namespace's metrics worker.
pub(crate) const fn identity(namespace: &str) -> Identity<'_> {
    Identity { namespace, component: Component::Metrics, instance: SHARED }
}

/// What belongs to all objects that need the worker: the claim and the workload.
///
/// The claim stands by itself and not in the StatefulSet: there it could not grow, and would not go with the last
/// object that needs it.
pub(crate) fn roots(namespace: &str, owners: &[Owner], config: &Config) -> Vec<Rendered> {
    let of = identity(namespace);
    let name = of.workload();
    let args = ["metrics", "--data", DATA_DIR, "--listen", &format!("0.0.0.0:{TELEMETRY_PORT}")];
    let worker = Worker {
        of,
        args: args.map(str::to_owned).to_vec(),
        ports: Vec::new(),
        account: None,
        config_map: None,
        secrets: &[],
        claim: Some(name.clone()),
        content_hash: String::new(),
    };
    let mut claim = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": config.metrics_volume_size.to_string()}},
    });
    if let Some(class) = &config.metrics_storage_class {
        claim["storageClassName"] = class.as_str().into();
    }
    let spec = json!({
        "replicas": 1,
        "serviceName": name,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": of.selector()},
        "template": worker.template(config),
    });
    vec![
        Rendered::new(ChildKind::Claim, &name, &of, owners, json!({"spec": claim})),
        Rendered::new(ChildKind::StatefulSet, &name, &of, owners, json!({"spec": spec})),
    ]
}

/// What belongs to the workload.
pub(crate) fn attachments(namespace: &str, root: &Owner, config: &Config) -> Vec<Rendered> {
    let of = identity(namespace);
    let owners = std::slice::from_ref(root);
    vec![service(&of, owners, &[]), network::policy(&of, owners, &[], config)]
}
