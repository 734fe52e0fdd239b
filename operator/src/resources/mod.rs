//! What is rendered of the objects: one file per workload, pure and deterministic.

use serde_json::{Map, Value, json};

use crate::child::ChildKind;

pub(crate) mod dashboard;
pub(crate) mod ingestion;
pub(crate) mod ingress;
pub(crate) mod metrics;
pub(crate) mod monitor;
pub(crate) mod network;
pub(crate) mod pod;
pub(crate) mod rules;

#[cfg(test)]
pub(crate) mod tests;

/// The port of health, telemetry and status of every worker; of the metrics worker it is the only one.
pub(crate) const TELEMETRY_PORT: u16 = 9090;
/// The label that all of the operator's objects have, with [`MANAGER`].
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub(crate) const MANAGER: &str = crate::FIELD_MANAGER;
/// The label for the kind of worker.
pub(crate) const COMPONENT: &str = "app.kubernetes.io/component";
/// The label for the pipeline, or [`SHARED`].
pub(crate) const INSTANCE: &str = "app.kubernetes.io/instance";
/// The instance of what a namespace's objects share.
pub(crate) const SHARED: &str = "taffrail";
/// The annotation of pods for what they were started with.
pub(crate) const CONTENT_HASH: &str = "taffrail.dev/content-hash";

/// How many owners an object names at most: each takes some 200 bytes of it, and of an object there are 1.5 MB at most.
/// Those that are named stand for all: when one of them goes another takes its place.
const MOST_OWNERS: usize = 1_000;

/// The kinds of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Component {
    Ingestion,
    Metrics,
    Rules,
    Dashboard,
}

impl Component {
    /// As in labels and names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ingestion => "ingestion",
            Self::Metrics => "metrics",
            Self::Rules => "rules",
            Self::Dashboard => "dashboard",
        }
    }

    /// The name of what a namespace's objects share of this kind.
    pub(crate) fn shared_name(self) -> String {
        format!("{SHARED}-{}", self.name())
    }
}

/// Which objects an object is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) component: Component,
    /// The pipeline, or [`SHARED`].
    pub(crate) instance: &'a str,
}

impl Identity<'_> {
    /// The labels by which pods are chosen; they never change.
    pub(crate) fn selector(&self) -> Value {
        json!({
            "app.kubernetes.io/name": "taffrail",
            COMPONENT: self.component.name(),
            INSTANCE: self.instance,
        })
    }

    /// All labels.
    pub(crate) fn labels(&self) -> Value {
        let mut labels = self.selector();
        labels[MANAGED_BY] = MANAGER.into();
        labels
    }

    /// The name of the workload.
    pub(crate) fn workload(&self) -> String {
        match self.component {
            Component::Ingestion => format!("{}-ingestion", self.instance),
            shared => shared.shared_name(),
        }
    }
}

/// An object that others are there for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) api_version: String,
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl Owner {
    /// As an entry of `ownerReferences`, without a controller flag: there may be many owners.
    fn reference(&self) -> Value {
        json!({"apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid})
    }
}

/// A partial object, to be applied.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rendered {
    pub(crate) kind: ChildKind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The whole object, without what the apply adds.
    pub(crate) body: Value,
}

impl Rendered {
    /// An object of an identity. `parts` are what is beside the metadata: `spec`, `data`, …
    pub(crate) fn new(
        kind: ChildKind,
        name: impl Into<String>,
        of: &Identity<'_>,
        owners: &[Owner],
        parts: Value,
    ) -> Self {
        let name = name.into();
        let mut owners: Vec<_> = owners.to_vec();
        owners.sort_by(|a, b| (&a.kind, &a.name, &a.uid).cmp(&(&b.kind, &b.name, &b.uid)));
        owners.truncate(MOST_OWNERS);
        let mut body = Map::new();
        body.insert("apiVersion".to_owned(), kind.api_version().into());
        body.insert("kind".to_owned(), kind.kind().into());
        body.insert(
            "metadata".to_owned(),
            json!({
                "name": name,
                "namespace": of.namespace,
                "labels": of.labels(),
                "ownerReferences": owners.iter().map(Owner::reference).collect::<Vec<_>>(),
            }),
        );
        if let Value::Object(parts) = parts {
            body.extend(parts);
        }
        Self { kind, namespace: of.namespace.to_owned(), name, body: Value::Object(body) }
    }
}

/// A Service for a worker: its telemetry, and what else it serves.
pub(crate) fn service(of: &Identity<'_>, owners: &[Owner], more: &[(&str, u16)]) -> Rendered {
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": name, "protocol": "TCP"});
    let mut ports = vec![port(pod::TELEMETRY, TELEMETRY_PORT)];
    ports.extend(more.iter().map(|(name, number)| port(name, *number)));
    let spec = json!({"spec": {"type": "ClusterIP", "selector": of.selector(), "ports": ports}});
    Rendered::new(ChildKind::Service, of.workload(), of, owners, spec)
}

/// A ServiceAccount with a Role, for workers that watch their namespace.
pub(crate) fn account(of: &Identity<'_>, owners: &[Owner], rules: Value) -> Vec<Rendered> {
    let name = of.workload();
    let binding = json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": of.namespace}],
    });
    vec![
        // Pods ask for the token; nothing else that happens to run as this account gets one.
        Rendered::new(ChildKind::ServiceAccount, &name, of, owners, json!({"automountServiceAccountToken": false})),
        Rendered::new(ChildKind::Role, &name, of, owners, json!({"rules": rules})),
        Rendered::new(ChildKind::RoleBinding, &name, of, owners, binding),
    ]
}

/// Where the metrics of a namespace are.
pub(crate) fn metrics_url(namespace: &str) -> String {
    format!("http://{}.{namespace}.svc:{TELEMETRY_PORT}", Component::Metrics.shared_name())
}
