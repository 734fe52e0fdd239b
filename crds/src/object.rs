//! An object of any kind that Taffrail reads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::{AlertRule, Dashboard, LogPipeline};

/// The kinds that Taffrail reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// [`LogPipeline`].
    LogPipeline,
    /// [`AlertRule`].
    AlertRule,
    /// [`Dashboard`].
    Dashboard,
    /// Kubernetes' own `Secret`.
    Secret,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LogPipeline => "LogPipeline",
            Self::AlertRule => "AlertRule",
            Self::Dashboard => "Dashboard",
            Self::Secret => "Secret",
        })
    }
}

/// What tells one object from all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object of any kind that Taffrail reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// Moves logs.
    LogPipeline(Arc<LogPipeline>),
    /// Watches a number.
    AlertRule(Arc<AlertRule>),
    /// Shows panels.
    Dashboard(Arc<Dashboard>),
    /// Holds credentials and certificates. Both `data` and `stringData` have been merged into `data`.
    Secret(Arc<Secret>),
}

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

impl Object {
    /// The object's metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::LogPipeline(object) => &object.metadata,
            Self::AlertRule(object) => &object.metadata,
            Self::Dashboard(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
        }
    }

    /// The object's kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::LogPipeline(_) => Kind::LogPipeline,
            Self::AlertRule(_) => Kind::AlertRule,
            Self::Dashboard(_) => Kind::Dashboard,
            Self::Secret(_) => Kind::Secret,
        }
    }

    /// What tells the object from all others.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        let metadata = self.metadata();
        ObjectKey {
            kind: self.kind(),
            namespace: metadata.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }
}

/// The values of a secret by key.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// The values of a secret by key.
#[must_use]
pub fn secret_data(secret: &Secret) -> SecretData {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}
