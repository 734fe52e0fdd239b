//! kubectl, as the cluster's administrator.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::build;
use crate::process;

/// kubectl for one cluster.
#[derive(Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// Of the version that the cluster has.
    pub fn new(kubeconfig: PathBuf) -> Result<Self> {
        Ok(Self { program: build::kubernetes("kubectl")?, kubeconfig })
    }

    /// A command.
    pub fn command(&self) -> Command {
        let mut kubectl = Command::new(&self.program);
        kubectl.envs(environment(&self.kubeconfig));
        kubectl
    }

    /// What `kubectl get` prints.
    pub fn get(&self, arguments: &[&str]) -> Result<String> {
        process::output(self.command().args(["get", "--request-timeout=5s"]).args(arguments))
    }
}

/// The variables by which any kubectl finds the cluster.
pub fn environment(kubeconfig: &Path) -> [(&'static str, PathBuf); 2] {
    // It would keep what it learns of a cluster's kinds at home, and this cluster is thrown away.
    [("KUBECONFIG", kubeconfig.into()), ("KUBECACHEDIR", kubeconfig.with_file_name("kubectl-cache"))]
}
