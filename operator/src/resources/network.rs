//! Who may talk to a worker. A namespace is a tenant: others' pods reach none of its workers, but for what it publishes.

use serde_json::{Value, json};

use super::{COMPONENT, Component, Identity, Owner, Rendered, TELEMETRY_PORT};
use crate::child::ChildKind;
use crate::config::Config;

/// The policy of a worker that serves `open` ports to everybody, and its telemetry to those who have business with it.
///
/// Where workers connect to (brokers, stores, receivers) only users know, so all may leave.
pub(crate) fn policy(of: &Identity<'_>, owners: &[Owner], open: &[u16], config: &Config) -> Rendered {
    let tcp = |port: &u16| json!({"protocol": "TCP", "port": port});
    let mut ingress = vec![json!({"from": telemetry_peers(of, config), "ports": [tcp(&TELEMETRY_PORT)]})];
    if !open.is_empty() {
        ingress.push(json!({"ports": open.iter().map(tcp).collect::<Vec<_>>()}));
    }
    let spec = json!({"spec": {
        "podSelector": {"matchLabels": of.selector()},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": [{}],
    }});
    Rendered::new(ChildKind::NetworkPolicy, of.workload(), of, owners, spec)
}

fn telemetry_peers(of: &Identity<'_>, config: &Config) -> Vec<Value> {
    let mut peers = vec![json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": config.own_namespace}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "taffrail", COMPONENT: "operator"}},
    })];
    let worker = |component: Component| json!({"podSelector": {"matchLabels": {"app.kubernetes.io/name": "taffrail", COMPONENT: component.name()}}});
    match of.component {
        // The namespace's applications send metrics, and its people read them.
        Component::Metrics => peers.push(json!({"podSelector": {}})),
        // The metrics worker scrapes the others, and the dashboard worker has dead letters sent again.
        Component::Ingestion => peers.extend([worker(Component::Metrics), worker(Component::Dashboard)]),
        Component::Rules | Component::Dashboard => peers.push(worker(Component::Metrics)),
    }
    if config.service_monitors {
        peers.push(json!({
            "namespaceSelector": {},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
        }));
    }
    peers
}
