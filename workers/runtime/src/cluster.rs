//! A namespace of a Kubernetes cluster as the source of objects, and as the place where their status goes.
//!
//! Watches survive restarts of the API server: they begin again with a list, and what vanished meanwhile goes from the
//! board then. Until the API server answers again, what was loaded last stays in effect.

mod objects;
mod secrets;
mod status;

use std::collections::BTreeSet;

use kube::Client;
use taffrail_crds::{Kind, Object};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Board;

/// Why there is no way to a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Nothing says where it is.
    #[error("no cluster: set KUBECONFIG, or run in a pod that has a service account: {0}")]
    Config(#[from] Box<kube::config::InferConfigError>),
    /// What says so can't be used.
    #[error("the cluster's address or credentials can't be used: {0}")]
    Client(#[from] Box<kube::Error>),
}

/// One namespace of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
}

impl Cluster {
    /// The cluster that `KUBECONFIG` or the pod's account names; no namespace stands for the one that they name.
    ///
    /// # Errors
    /// When neither is there, or what they say can't be used. Whether the API server answers is not asked.
    pub async fn connect(namespace: Option<String>) -> Result<Self, ClusterError> {
        let config = kube::Config::infer().await.map_err(Box::new)?;
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(Box::new)?;
        Ok(Self { client, namespace })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Puts all objects of some kinds on the board and keeps them there as the API server has them, until `stop` is
    /// cancelled. Returns when all that were there at the start are on the board. Secrets have [`Self::watch_secrets`].
    pub async fn watch(&self, kinds: &[Kind], board: &Board, stop: &CancellationToken) {
        let mut loaded = Vec::new();
        for kind in kinds {
            let (told, complete) = oneshot::channel();
            let (cluster, board, stop) = (self.clone(), board.clone(), stop.clone());
            match kind {
                Kind::LogPipeline => {
                    tokio::spawn(objects::follow(cluster, board, (*kind, Object::LogPipeline), told, stop))
                }
                Kind::AlertRule => {
                    tokio::spawn(objects::follow(cluster, board, (*kind, Object::AlertRule), told, stop))
                }
                Kind::Dashboard => {
                    tokio::spawn(objects::follow(cluster, board, (*kind, Object::Dashboard), told, stop))
                }
                Kind::Secret => continue,
            };
            loaded.push(complete);
        }
        for complete in loaded {
            // Not told of a stop: then there is nothing to wait for.
            let _ = complete.await;
        }
    }

    /// Puts some secrets on the board, and those that the rules on it refer to, and keeps them there. Each is watched by
    /// its name: no others can be read, nor need they be.
    pub fn watch_secrets(&self, always: BTreeSet<String>, board: &Board, stop: &CancellationToken) -> JoinHandle<()> {
        tokio::spawn(secrets::follow(self.clone(), always, board.clone(), stop.clone()))
    }

    /// Writes what workers say of rules into their status.
    pub fn write_rule_status(&self, board: &Board, stop: &CancellationToken) -> JoinHandle<()> {
        tokio::spawn(status::write(self.clone(), board.clone(), stop.clone()))
    }
}
