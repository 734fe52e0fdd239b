//! A network, mounts and processes of the node's own, so that it leaves nothing behind, and can't reach out.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::NODE_IP;
use crate::place::Scratch;
use crate::process;
use crate::servers::running::Running;

const INIT: &str = include_str!("resources/sandbox.sh");
const RUN: &str = include_str!("resources/run.sh");
/// Where the first process's id is kept for [`Namespaces::find`].
const PID: &str = "sandbox.pid";

/// The namespaces, and the process that keeps them. When this is dropped, all that ran in them has ended.
#[derive(Debug)]
pub struct Sandbox {
    init: Running,
    namespaces: Namespaces,
}

impl Sandbox {
    /// Makes the namespaces.
    pub fn start(scratch: &Scratch) -> Result<Self> {
        let mut unshare = process::tied("unshare");
        unshare.args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--propagation",
            "private",
            "--mount-proc",
        ]);
        unshare.args(["sh", "-c"]).arg(INIT.replace("@NODE_IP@", &NODE_IP.to_string())).arg("sh").arg(scratch.path());
        unshare.env("PATH", path()).stdin(Stdio::piped());
        let mut init = Running::start("sandbox", scratch, &mut unshare)?;
        let file = scratch.path().join(PID);
        fs::write(&file, init.id().to_string()).with_context(|| format!("could not write {}", file.display()))?;
        let ready = scratch.path().join("sandbox.ready");
        init.await_ready(|| ready.exists())?;
        let namespaces = Namespaces(init.id());
        Ok(Self { init, namespaces })
    }

    /// Its namespaces.
    pub fn namespaces(&self) -> Namespaces {
        self.namespaces
    }

    /// A command that runs in all the namespaces, and ends with the sandbox at the latest.
    pub fn tied(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = process::tied("nsenter");
        command.args(self.namespaces.all()).arg("--").arg(program).env("PATH", path());
        command
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.init.close_and_wait();
    }
}

/// The way into the namespaces, for those who did not make them.
#[derive(Debug, Clone, Copy)]
pub struct Namespaces(u32);

impl Namespaces {
    /// Those of the cluster whose files are in `dir`; none if it has no node.
    pub fn find(dir: &Path) -> Option<Self> {
        fs::read_to_string(dir.join(PID)).ok()?.parse().ok().map(Self)
    }

    /// Of `unshare`, which is not the namespace's first process: it waits for it.
    fn all(self) -> [String; 3] {
        let kinds = [("net", "net"), ("mount", "mnt"), ("pid", "pid_for_children")];
        kinds.map(|(option, file)| format!("--{option}=/proc/{}/ns/{file}", self.0))
    }

    /// A command in all the namespaces.
    pub fn command(self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.all()).arg("--").arg(program).env("PATH", path());
        command
    }

    /// A command that sees this machine's files, but the cluster's network and name server.
    pub fn with_network(self, resolv_conf: &Path, command: &[String]) -> Command {
        let [net, ..] = self.all();
        let mut nsenter = Command::new("nsenter");
        nsenter.args([&net, "--", "unshare", "--mount", "--", "sh", "-c", RUN]).arg(resolv_conf).args(command);
        nsenter
    }
}

/// Where Debian puts programs for administrators, which is not on everybody's `PATH`.
fn path() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    std::env::join_paths(dirs).unwrap_or(path)
}
