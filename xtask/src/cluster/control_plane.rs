//! etcd, the API server, the controller manager and the scheduler.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::certificates::Authority;
use super::sandbox::Sandbox;
use super::{API_SERVICE_IP, Kubectl, NODE_IP, POD_CIDR, SERVICE_CIDR, build};
use crate::place::Scratch;
use crate::process;
use crate::servers::running::Running;

const AUDIT_POLICY: &str = include_str!("resources/audit.yaml");
/// What the API server writes of what pods write.
const AUDIT_LOG: &str = "audit.log";
/// A kubelet starts an API server again that was killed; so do we.
const KEEP: &str = r#"while :; do setpriv --pdeathsig KILL -- "$@"; [ $? -gt 128 ] || exit 1; done"#;

/// Builds what is missing.
pub fn install() -> Result<()> {
    build::etcd()?;
    for name in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"] {
        build::kubernetes(name)?;
    }
    Ok(())
}

/// What the programs need to know to find each other.
#[derive(Debug)]
pub struct ControlPlane<'a> {
    /// Where files go.
    pub scratch: &'a Scratch,
    /// Who signs certificates.
    pub authority: &'a Authority,
    /// The node's network, or else everything is on this machine's loopback address.
    pub sandbox: Option<&'a Sandbox>,
    /// Of the API server.
    pub port: u16,
    /// Of etcd.
    pub etcd_port: u16,
}

impl ControlPlane<'_> {
    /// Starts all of them, and returns when the API server answers and has the default namespace's account.
    pub fn start(&self, kubectl: &Kubectl) -> Result<Vec<Running>> {
        let mut etcd = self.etcd()?;
        let mut api_server = self.api_server()?;
        api_server.await_ready(|| etcd.check().is_err() || kubectl.get(&["--raw", "/readyz"]).is_ok())?;
        etcd.check()?;
        let mut controllers = self.controllers()?;
        let scheduler = self.scheduler()?;
        // Pods can't be made before it is there.
        controllers.await_ready(|| kubectl.get(&["serviceaccount", "default"]).is_ok())?;
        Ok(vec![etcd, api_server, controllers, scheduler])
    }

    fn command(&self, program: &Path) -> Command {
        self.sandbox.map_or_else(|| process::tied(program), |sandbox| sandbox.tied(program))
    }

    fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_port)
    }

    fn etcd(&self) -> Result<Running> {
        let mut etcd = self.command(&build::etcd()?);
        option(&mut etcd, "data-dir", self.scratch.path().join("etcd"));
        // The data is thrown away with the process: no need to wait for a disk.
        etcd.arg("--unsafe-no-fsync");
        option(&mut etcd, "listen-client-urls", self.etcd_url());
        option(&mut etcd, "advertise-client-urls", self.etcd_url());
        option(&mut etcd, "listen-peer-urls", "http://127.0.0.1:0");
        option(&mut etcd, "log-level", "warn");
        Running::start("etcd", self.scratch, &mut etcd)
    }

    fn api_server(&self) -> Result<Running> {
        let authority = self.authority;
        let names = format!(
            "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
             DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:{API_SERVICE_IP},IP:{NODE_IP}"
        );
        authority.issue("apiserver", "/CN=kube-apiserver", &names)?;
        authority.issue("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", "")?;
        authority.issue("front-proxy", "/CN=front-proxy-client", "")?;
        let (bind, advertise) = match self.sandbox {
            Some(_) => ("0.0.0.0", NODE_IP.to_string()),
            None => ("127.0.0.1", "127.0.0.1".to_owned()),
        };
        let mut server = self.command(Path::new("sh"));
        server.args(["-c", KEEP, "sh"]).arg(build::kubernetes("kube-apiserver")?);
        option(&mut server, "etcd-servers", self.etcd_url());
        option(&mut server, "bind-address", bind);
        option(&mut server, "advertise-address", advertise);
        option(&mut server, "secure-port", self.port.to_string());
        option(&mut server, "service-cluster-ip-range", SERVICE_CIDR);
        option(&mut server, "service-account-issuer", "https://kubernetes.default.svc.cluster.local");
        option(&mut server, "authorization-mode", "Node,RBAC");
        option(&mut server, "enable-admission-plugins", "NodeRestriction");
        option(&mut server, "allow-privileged", "true");
        option(&mut server, "kubelet-preferred-address-types", "InternalIP");
        option(&mut server, "requestheader-allowed-names", "front-proxy-client");
        option(&mut server, "requestheader-username-headers", "X-Remote-User");
        option(&mut server, "requestheader-group-headers", "X-Remote-Group");
        option(&mut server, "requestheader-extra-headers-prefix", "X-Remote-Extra-");
        option(&mut server, "enable-aggregator-routing", "true");
        let files = [
            ("tls-cert-file", "apiserver.crt"),
            ("tls-private-key-file", "apiserver.key"),
            ("client-ca-file", "ca.crt"),
            ("service-account-key-file", "accounts.key"),
            ("service-account-signing-key-file", "accounts.key"),
            ("kubelet-client-certificate", "kubelet-client.crt"),
            ("kubelet-client-key", "kubelet-client.key"),
            ("requestheader-client-ca-file", "ca.crt"),
            ("proxy-client-cert-file", "front-proxy.crt"),
            ("proxy-client-key-file", "front-proxy.key"),
        ];
        for (name, file) in files {
            option(&mut server, name, authority.file(file));
        }
        let policy = self.scratch.path().join("audit.yaml");
        fs::write(&policy, AUDIT_POLICY).with_context(|| format!("could not write {}", policy.display()))?;
        option(&mut server, "audit-policy-file", policy);
        option(&mut server, "audit-log-path", self.scratch.path().join(AUDIT_LOG));
        Running::start("kube-apiserver", self.scratch, &mut server)
    }

    fn controllers(&self) -> Result<Running> {
        let authority = self.authority;
        let mut controllers = self.client("kube-controller-manager", "/CN=system:kube-controller-manager")?;
        controllers.arg("--use-service-account-credentials");
        option(&mut controllers, "service-account-private-key-file", authority.file("accounts.key"));
        option(&mut controllers, "root-ca-file", authority.file("ca.crt"));
        option(&mut controllers, "cluster-signing-cert-file", authority.file("ca.crt"));
        option(&mut controllers, "cluster-signing-key-file", authority.file("ca.key"));
        option(&mut controllers, "allocate-node-cidrs", "true");
        option(&mut controllers, "cluster-cidr", POD_CIDR);
        option(&mut controllers, "service-cluster-ip-range", SERVICE_CIDR);
        Running::start("kube-controller-manager", self.scratch, &mut controllers)
    }

    fn scheduler(&self) -> Result<Running> {
        let mut scheduler = self.client("kube-scheduler", "/CN=system:kube-scheduler")?;
        Running::start("kube-scheduler", self.scratch, &mut scheduler)
    }

    /// A program that works on the API server's objects, alone, and serves nothing itself.
    fn client(&self, program: &str, subject: &str) -> Result<Command> {
        let kubeconfig = self.authority.kubeconfig(self.scratch.path(), program, subject, self.port)?;
        let mut command = self.command(&build::kubernetes(program)?);
        option(&mut command, "kubeconfig", &kubeconfig);
        option(&mut command, "leader-elect", "false");
        option(&mut command, "secure-port", "0");
        Ok(command)
    }
}

/// Switches take no value as a word of its own.
fn option(command: &mut Command, name: &str, value: impl AsRef<OsStr>) {
    let mut word = OsString::from(format!("--{name}="));
    word.push(value);
    command.arg(word);
}
