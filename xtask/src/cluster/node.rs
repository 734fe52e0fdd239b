//! The node: containerd, kubelet and kube-proxy in the sandbox, CoreDNS as its first pod.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::certificates::Authority;
use super::sandbox::{Namespaces, Sandbox};
use super::{DNS_IP, Kubectl, NODE_IP, POD_CIDR, build, cgroups, images};
use crate::place::Scratch;
use crate::process;
use crate::servers::running::Running;

const CONTAINERD: &str = include_str!("resources/containerd.toml");
const NETWORK: &str = include_str!("resources/cni.json");
const KUBELET: &str = include_str!("resources/kubelet.yaml");
const COREDNS: &str = include_str!("resources/coredns.yaml");
const STORAGE_CLASS: &str = include_str!("resources/storage-class.yaml");
const VOLUME: &str = include_str!("resources/volume.yaml");
/// Its name.
const NAME: &str = "taffrail";
/// How many volumes there are for claims. A claim that is deleted does not give its volume back.
const VOLUMES: usize = 32;
/// What the kubelet would ask for if it could have it.
const OPEN_FILES: u64 = 1_000_000;

/// Builds what is missing.
pub fn install() -> Result<()> {
    for name in ["kubelet", "kube-proxy"] {
        build::kubernetes(name)?;
    }
    images::of_node().map(drop)
}

/// What the node's programs need to know.
#[derive(Debug)]
pub struct Node<'a> {
    /// Where files go.
    pub scratch: &'a Scratch,
    /// Who signs certificates.
    pub authority: &'a Authority,
    /// Where all of it runs.
    pub sandbox: &'a Sandbox,
    /// Of the API server.
    pub port: u16,
}

impl Node<'_> {
    /// Starts the node, and returns when it takes pods and answers questions for names.
    pub fn start(&self, kubectl: &Kubectl) -> Result<Vec<Running>> {
        let containerd = self.containerd()?;
        let mut kubelet = self.kubelet()?;
        let mut proxy = self.proxy()?;
        let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        kubelet.await_ready(|| kubectl.get(&["node", NAME, "-o", ready]).is_ok_and(|status| status == "True"))?;
        let coredns = COREDNS.replace("@IMAGE@", images::COREDNS).replace("@DNS_IP@", DNS_IP);
        let manifest = self.write("manifest.yaml", &[&coredns, STORAGE_CLASS, &self.volumes()?].concat())?;
        process::output(kubectl.command().args(["create", "-f"]).arg(manifest))?;
        let available = ["deployment", "coredns", "-n", "kube-system", "-o", "jsonpath={.status.availableReplicas}"];
        proxy.await_ready(|| kubectl.get(&available).is_ok_and(|count| count == "1"))?;
        Ok(vec![containerd, kubelet, proxy])
    }

    fn containerd(&self) -> Result<Running> {
        let config = self.write("containerd.toml", &CONTAINERD.replace("@PAUSE@", images::PAUSE))?;
        self.scratch.dir("cni")?;
        self.write("cni/taffrail.conflist", &NETWORK.replace("@POD_CIDR@", POD_CIDR))?;
        let mut command = self.sandbox.tied("containerd");
        let mut containerd = Running::start("containerd", self.scratch, command.arg("--config").arg(config))?;
        let namespaces = self.sandbox.namespaces();
        containerd.await_ready(|| process::output(ctr(namespaces).arg("version")).is_ok())?;
        images::of_node()?.iter().try_for_each(|archive| import(namespaces, archive))?;
        Ok(containerd)
    }

    fn kubelet(&self) -> Result<Running> {
        self.authority.issue("kubelet-server", &format!("/CN={NAME}"), &format!("DNS:{NAME},IP:{NODE_IP}"))?;
        let subject = format!("/O=system:nodes/CN=system:node:{NAME}");
        let kubeconfig = self.authority.kubeconfig(self.scratch.path(), "kubelet", &subject, self.port)?;
        // There is nobody else to ask.
        self.write("no-resolv.conf", "")?;
        let config = KUBELET
            .replace("@OPEN_FILES@", &open_files()?.min(OPEN_FILES).to_string())
            .replace("@CGROUP@", cgroups::NAME)
            .replace("@DNS_IP@", DNS_IP);
        let config = self.write("kubelet.yaml", &config)?;
        let mut kubelet = self.sandbox.tied(build::kubernetes("kubelet")?);
        kubelet.arg("--config").arg(config).arg("--kubeconfig").arg(kubeconfig);
        kubelet.arg("--root-dir").arg(self.scratch.dir("kubelet")?);
        kubelet.args(["--hostname-override", NAME, "--node-ip", &NODE_IP.to_string()]);
        Running::start("kubelet", self.scratch, &mut kubelet)
    }

    fn proxy(&self) -> Result<Running> {
        let subject = "/CN=system:kube-proxy";
        let kubeconfig = self.authority.kubeconfig(self.scratch.path(), "kube-proxy", subject, self.port)?;
        let mut proxy = self.sandbox.tied(build::kubernetes("kube-proxy")?);
        proxy.arg("--kubeconfig").arg(kubeconfig);
        proxy.args(["--proxy-mode", "iptables", "--hostname-override", NAME, "--cluster-cidr", POD_CIDR]);
        // By default services' addresses lag a second behind their pods, for the sake of thousands of them.
        proxy.args(["--iptables-min-sync-period", "100ms"]);
        // These are settings of the whole machine.
        for limit in ["max-per-core", "tcp-timeout-established", "tcp-timeout-close-wait"] {
            proxy.args([&format!("--conntrack-{limit}"), "0"]);
        }
        Running::start("kube-proxy", self.scratch, &mut proxy)
    }

    /// Folders that claims can have, whoever their pods run as.
    fn volumes(&self) -> Result<String> {
        let mut manifest = String::new();
        for number in 1..=VOLUMES {
            let path = self.scratch.dir(&format!("volumes/{number}"))?;
            fs::set_permissions(&path, Permissions::from_mode(0o777))
                .with_context(|| format!("could not change the mode of {}", path.display()))?;
            let volume = VOLUME.replace("@NUMBER@", &number.to_string()).replace("@NODE@", NAME);
            manifest += &volume.replace("@PATH@", &path.display().to_string());
        }
        Ok(manifest)
    }

    /// Writes a file of the node's folder; `@DIR@` in it is the folder, `@PKI@` that of certificates.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let (dir, pki) = (self.scratch.path(), self.authority.file(""));
        let text = text.replace("@DIR@", &dir.display().to_string()).replace("@PKI@/", &pki.display().to_string());
        let file = dir.join(name);
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
        Ok(file)
    }
}

/// Loads an image into the node.
pub fn import(namespaces: Namespaces, archive: &Path) -> Result<()> {
    process::output(ctr(namespaces).args(["images", "import"]).arg(archive)).map(drop)
}

fn ctr(namespaces: Namespaces) -> Command {
    let mut ctr = namespaces.command("ctr");
    // Where the kubelet looks for images.
    ctr.args(["--namespace", "k8s.io"]);
    ctr
}

/// How many files a process may open at most; asking for more would end the kubelet.
fn open_files() -> Result<u64> {
    let limits = fs::read_to_string("/proc/self/limits").context("could not read this process's limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(4)?.parse().ok());
    hard.context("/proc/self/limits does not say how many files may be open")
}
