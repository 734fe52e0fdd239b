//! A real Kubernetes: the control plane alone, on free ports of the loopback address, or with a node that runs pods, in
//! namespaces of its own.

pub mod build;
mod certificates;
mod cgroups;
mod control_plane;
mod detached;
mod forward;
pub mod images;
mod kubectl;
mod node;
mod sandbox;
#[cfg(test)]
mod tests;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::place::{self, Scratch};
use crate::servers::running::{self, Running};
use crate::tools;
use certificates::Authority;
use cgroups::Cgroups;
use control_plane::ControlPlane;
pub use kubectl::Kubectl;
use node::Node;
use sandbox::{Namespaces, Sandbox};

/// The node's address, in a network of its own.
pub const NODE_IP: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 2);
const POD_CIDR: &str = "10.244.0.0/24";
const SERVICE_CIDR: &str = "10.96.0.0/16";
/// The first address of [`SERVICE_CIDR`], which Kubernetes gives to the API server.
const API_SERVICE_IP: &str = "10.96.0.1";
const DNS_IP: &str = "10.96.0.10";
/// What has the cluster's administrator's access.
const KUBECONFIG: &str = "admin.kubeconfig";
/// How programs outside of pods find the cluster's name server.
const RESOLV_CONF: &str = "cluster-resolv.conf";
/// In the node's network every port is free.
const ETCD_PORT: u16 = 2379;
/// How often we start again when somebody took a port between our choice and a server's start.
const ATTEMPTS: usize = 3;

/// What `cargo xtask cluster` does.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Start a cluster and print how to reach it; it stays until `down`
    Up {
        /// Only the control plane, which needs no root: objects can be made, but no pod runs
        #[arg(long)]
        no_node: bool,
    },
    /// Stop the cluster and remove everything that belongs to it
    Down,
    /// Give an image to the node: an archive, or else Taffrail, built from this checkout
    LoadImage {
        /// What `docker save` writes
        archive: Option<PathBuf>,
    },
    /// kubectl, as the cluster's administrator
    Kubectl {
        /// For kubectl, as in `-- get pods -A`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Run a command where the addresses and names of pods and services work
    Run {
        /// The command, as in `-- curl http://my-service.my-namespace`
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Start a cluster and keep it until a signal comes
    #[command(hide = true)]
    Hold {
        #[arg(long)]
        no_node: bool,
    },
    /// Hand connections on into the node's network
    #[command(hide = true)]
    Forward { port: u16 },
}

/// Runs a task.
pub fn run(task: Task) -> Result<()> {
    let form = |no_node| if no_node { Form::ControlPlane } else { Form::Node };
    match task {
        Task::Up { no_node } => detached::up(form(no_node)),
        Task::Down => detached::down(),
        Task::LoadImage { archive } => load_image(archive),
        Task::Kubectl { arguments } => {
            let kubectl = Kubectl::new(detached::find()?.join(KUBECONFIG))?;
            Err(kubectl.command().args(arguments).exec()).context("could not start kubectl")
        }
        Task::Run { command } => {
            let dir = detached::find()?;
            let namespaces = detached::namespaces(&dir)?;
            let mut command = namespaces.with_network(&dir.join(RESOLV_CONF), &command);
            command.envs(kubectl::environment(&dir.join(KUBECONFIG)));
            Err(command.exec()).context("could not start `nsenter`")
        }
        Task::Hold { no_node } => detached::hold(form(no_node)),
        Task::Forward { port } => forward::run(port),
    }
}

fn load_image(archive: Option<PathBuf>) -> Result<()> {
    let namespaces = detached::namespaces(&detached::find()?)?;
    if let Some(archive) = archive {
        let archive = archive.canonicalize().with_context(|| format!("could not find {}", archive.display()))?;
        return node::import(namespaces, &archive);
    }
    let scratch = Scratch::new()?;
    node::import(namespaces, &images::of_taffrail(&scratch, None)?)
}

/// `k8s` in the cache: the programs, the images, and the cluster that `up` starts.
fn home() -> Result<PathBuf> {
    Ok(place::cache()?.join("k8s"))
}

/// How much of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// API server, controller manager and scheduler. There can be any number of them.
    ControlPlane,
    /// With a node. A machine has one.
    Node,
}

/// Installs and builds what is missing: at first that takes a quarter of an hour.
pub fn install(form: Form) -> Result<()> {
    tools::install_cluster(form == Form::Node)?;
    control_plane::install()?;
    if form == Form::Node {
        node::install()?;
    }
    Ok(())
}

/// Builds what is tested beside Taffrail: at first that takes a quarter of an hour, too.
pub fn install_tested() -> Result<()> {
    for build in [build::helm, build::kubeconform, build::starlark] {
        build()?;
    }
    images::of_prometheus().map(drop)
}

/// Builds Taffrail's image from this checkout, named `name` or else as released, and writes its archive.
pub fn write_image(name: Option<&str>, archive: &Path) -> Result<()> {
    let scratch = Scratch::new()?;
    images::copy(&images::of_taffrail(&scratch, name)?, archive)
}

/// The variables by which tests find the cluster whose files are in `dir`, and what they use of it.
pub fn tools(dir: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut exports = kubectl::environment(&dir.join(KUBECONFIG)).to_vec();
    exports.extend([
        ("TAFFRAIL_TEST_CLUSTER", dir.to_owned()),
        ("TAFFRAIL_TEST_KUBECTL", build::kubernetes("kubectl")?),
        ("TAFFRAIL_TEST_HELM", build::helm()?),
        ("TAFFRAIL_TEST_PROMETHEUS_CRDS", build::prometheus_operator_crds()?),
    ]);
    Ok(exports)
}

/// A cluster, running. It ends when this is dropped, and with this process however it ends.
#[derive(Debug)]
pub struct Cluster {
    running: Vec<Running>,
    // In this order: what runs must be gone before its groups are, and before its files are.
    sandbox: Option<Sandbox>,
    _cgroups: Option<Cgroups>,
    scratch: Scratch,
}

impl Cluster {
    /// Starts a cluster whose files are in `scratch`, and returns when it can be used. Everything it needs must be
    /// [installed](install).
    pub fn start(scratch: Scratch, form: Form) -> Result<Self> {
        let begun = Instant::now();
        let cluster = match form {
            Form::ControlPlane => Self::control_plane(scratch),
            Form::Node => Self::node(scratch),
        }?;
        eprintln!("the cluster is up after {:.1} s", begun.elapsed().as_secs_f64());
        Ok(cluster)
    }

    fn control_plane(scratch: Scratch) -> Result<Self> {
        let authority = Authority::new(scratch.dir("pki")?)?;
        let mut attempt = 1;
        let running = loop {
            let [port, etcd_port] = running::free_ports()?;
            let kubectl = administrator(&scratch, &authority, port)?;
            let parts = ControlPlane { scratch: &scratch, authority: &authority, sandbox: None, port, etcd_port };
            match parts.start(&kubectl) {
                Err(error) if attempt < ATTEMPTS && format!("{error:#}").contains("already in use") => attempt += 1,
                result => break result?,
            }
        };
        Ok(Self { running, sandbox: None, _cgroups: None, scratch })
    }

    fn node(scratch: Scratch) -> Result<Self> {
        let authority = Authority::new(scratch.dir("pki")?)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("could not listen on the loopback address")?;
        let port = listener.local_addr().context("a listening socket without an address")?.port();
        let resolv_conf = scratch.path().join(RESOLV_CONF);
        let search = "search default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
        fs::write(&resolv_conf, format!("nameserver {DNS_IP}\n{search}"))
            .with_context(|| format!("could not write {}", resolv_conf.display()))?;

        let cgroups = Cgroups::make()?;
        let sandbox = Sandbox::start(&scratch)?;
        let xtask = std::env::current_exe().context("could not find this program's file")?;
        let mut running = vec![forward::start(&scratch, &sandbox, &xtask, listener)?];
        let kubectl = administrator(&scratch, &authority, port)?;
        let parts = ControlPlane {
            scratch: &scratch,
            authority: &authority,
            sandbox: Some(&sandbox),
            port,
            etcd_port: ETCD_PORT,
        };
        running.extend(parts.start(&kubectl)?);
        let node = Node { scratch: &scratch, authority: &authority, sandbox: &sandbox, port };
        running.extend(node.start(&kubectl)?);
        Ok(Self { running, sandbox: Some(sandbox), _cgroups: Some(cgroups), scratch })
    }

    /// The variables by which tests find the cluster.
    pub fn exports(&self) -> [(&'static str, String); 1] {
        [("TAFFRAIL_TEST_KUBECONFIG", self.scratch.path().join(KUBECONFIG).display().to_string())]
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// Gives an image to the node.
    pub fn load(&self, archive: &Path) -> Result<()> {
        node::import(self.namespaces()?, archive)
    }

    /// A command that runs where the addresses and names of pods and services work.
    pub fn inside(&self, command: &[String]) -> Result<Command> {
        Ok(self.namespaces()?.with_network(&self.dir().join(RESOLV_CONF), command))
    }

    fn namespaces(&self) -> Result<Namespaces> {
        Ok(self.sandbox.as_ref().context("the cluster has no node")?.namespaces())
    }

    /// Its administrator's kubectl.
    pub fn kubectl(&self) -> Result<Kubectl> {
        Kubectl::new(self.scratch.path().join(KUBECONFIG))
    }

    /// Fails, with the end of its log, when a part has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.running.iter_mut().try_for_each(Running::check)
    }
}

fn administrator(scratch: &Scratch, authority: &Authority, port: u16) -> Result<Kubectl> {
    let file = authority.kubeconfig(scratch.path(), "admin", "/O=system:masters/CN=admin", port)?;
    Kubectl::new(file)
}
