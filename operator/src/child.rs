//! What the operator keeps of the objects it has made: enough to see whether anybody has changed them since, and how
//! they fare.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::Resource;
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use serde::Deserialize;
use serde_json::Value;

use crate::FIELD_MANAGER;

/// The kinds of objects that the operator makes, and the pods that come of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ChildKind {
    ConfigMap,
    Secret,
    Service,
    ServiceAccount,
    Claim,
    Role,
    RoleBinding,
    NetworkPolicy,
    DisruptionBudget,
    Deployment,
    StatefulSet,
    Ingress,
    ServiceMonitor,
    Pod,
}

impl ChildKind {
    /// All kinds that every cluster has.
    pub(crate) const BUILT_IN: [Self; 13] = [
        Self::ConfigMap,
        Self::Secret,
        Self::Service,
        Self::ServiceAccount,
        Self::Claim,
        Self::Role,
        Self::RoleBinding,
        Self::NetworkPolicy,
        Self::DisruptionBudget,
        Self::Deployment,
        Self::StatefulSet,
        Self::Ingress,
        Self::Pod,
    ];

    /// Group, version, kind and plural.
    const fn names(self) -> [&'static str; 4] {
        match self {
            Self::ConfigMap => ["", "v1", "ConfigMap", "configmaps"],
            Self::Secret => ["", "v1", "Secret", "secrets"],
            Self::Service => ["", "v1", "Service", "services"],
            Self::ServiceAccount => ["", "v1", "ServiceAccount", "serviceaccounts"],
            Self::Claim => ["", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"],
            Self::Role => ["rbac.authorization.k8s.io", "v1", "Role", "roles"],
            Self::RoleBinding => ["rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"],
            Self::NetworkPolicy => ["networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"],
            Self::DisruptionBudget => ["policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"],
            Self::Deployment => ["apps", "v1", "Deployment", "deployments"],
            Self::StatefulSet => ["apps", "v1", "StatefulSet", "statefulsets"],
            Self::Ingress => ["networking.k8s.io", "v1", "Ingress", "ingresses"],
            Self::ServiceMonitor => ["monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"],
            Self::Pod => ["", "v1", "Pod", "pods"],
        }
    }

    /// How the API server calls the kind.
    pub(crate) fn resource(self) -> ApiResource {
        let [group, version, kind, plural] = self.names();
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: self.api_version(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }

    /// As in an object's `apiVersion`.
    pub(crate) fn api_version(self) -> String {
        let [group, version, ..] = self.names();
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
    }

    /// As in an object's `kind`.
    pub(crate) const fn kind(self) -> &'static str {
        self.names()[2]
    }
}

impl fmt::Display for ChildKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// An object of the operator's, as it was seen last.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Whole")]
pub(crate) struct Child {
    /// Without managed fields.
    pub(crate) metadata: ObjectMeta,
    /// The fields that the operator applied and nobody has taken from it, as the API server tells them (`fieldsV1`).
    /// As text, which takes a tenth of the room of a tree.
    pub(crate) owned: Option<Box<str>>,
    /// How many replicas are wanted, whoever wants them.
    pub(crate) replicas: Option<i64>,
    /// How the object fares.
    pub(crate) status: Value,
}

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Scale,
    #[serde(default)]
    status: Value,
}

#[derive(Deserialize, Default)]
struct Scale {
    #[serde(default)]
    replicas: Option<i64>,
}

impl From<Whole> for Child {
    fn from(whole: Whole) -> Self {
        let mut metadata = whole.metadata;
        let ours = |entry: &ManagedFieldsEntry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER)
                && entry.operation.as_deref() == Some("Apply")
                && entry.subresource.as_deref().unwrap_or_default().is_empty()
        };
        let entries = metadata.managed_fields.take().unwrap_or_default();
        let owned = entries.into_iter().find(ours).and_then(|entry| entry.fields_v1);
        Self {
            owned: owned.map(|fields| fields.0.to_string().into_boxed_str()),
            metadata,
            replicas: whole.spec.replicas,
            status: whole.status,
        }
    }
}

impl Child {
    /// The value of an annotation.
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// The value of a label.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// Whether the object of that UID is an owner.
    pub(crate) fn is_owned_by(&self, uid: &str) -> bool {
        self.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
    }

    /// A whole number in the status; zero where there is none.
    pub(crate) fn count(&self, key: &str) -> i64 {
        self.status.get(key).and_then(Value::as_i64).unwrap_or_default()
    }

    /// A condition's status in the status, such as `True`.
    pub(crate) fn condition(&self, kind: &str) -> Option<&Value> {
        self.status.get("conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
    }
}

impl Resource for Child {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
