//! The cluster that stays when `cargo xtask` has returned: a process of this program holds it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::sandbox::Namespaces;
use super::{Cluster, Form, KUBECONFIG, cgroups};
use crate::place::{self, Scratch};
use crate::process;

/// The holder's process id.
const PID: &str = "holder.pid";
/// Is there when the cluster can be used: what `up` prints.
const READY: &str = "exports";
/// How long the holder may take to end everything before it is killed, and how long that may take.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// The cluster's folder. The holder has its lock.
fn dir() -> Result<PathBuf> {
    Ok(super::home()?.join("cluster"))
}

/// Outside of that folder: it says why the folder is gone.
fn log() -> Result<PathBuf> {
    Ok(super::home()?.join("cluster.log"))
}

/// The folder of the cluster that is up.
pub fn find() -> Result<PathBuf> {
    let dir = dir()?;
    ensure!(Scratch::in_use(&dir) && dir.join(READY).exists(), "no cluster is up: `cargo xtask cluster up`");
    Ok(dir)
}

/// The namespaces of its node.
pub fn namespaces(dir: &Path) -> Result<Namespaces> {
    Namespaces::find(dir).context("the cluster that is up has no node: `down`, then `up` without --no-node")
}

/// `cargo xtask cluster up`.
pub fn up(form: Form) -> Result<()> {
    if let Ok(dir) = find() {
        eprintln!("a cluster is up already");
        return print(&dir);
    }
    super::install(form)?;
    let begun = Instant::now();
    let mut holder = hold_elsewhere(form)?;
    while find().is_err() {
        let ended = holder.try_wait()?;
        if let Err(interrupt) = process::check_interrupted() {
            if ended.is_none() {
                process::signal(&holder.id().to_string(), "TERM")?;
                holder.wait()?;
                fs::remove_file(log()?).ok();
            }
            return Err(interrupt);
        }
        if let Some(status) = ended {
            // Unless it ended because somebody else's was quicker.
            ensure!(Scratch::in_use(&dir()?), "the cluster did not start ({status}):\n{}", read_log());
        }
        std::thread::sleep(process::TICK);
    }
    eprintln!("the cluster is up after {:.1} s", begun.elapsed().as_secs_f64());
    print(&dir()?)
}

fn print(dir: &Path) -> Result<()> {
    print!("{}", fs::read_to_string(dir.join(READY)).context("could not read how to reach the cluster")?);
    if Namespaces::find(dir).is_some() {
        eprintln!("pods, services and their names: `cargo xtask cluster run -- COMMAND`");
        eprintln!("images: `cargo xtask cluster load-image`");
    }
    eprintln!("logs: {}\nit stays until `cargo xtask cluster down`", dir.join("*.log").display());
    Ok(())
}

/// Starts the holder in a session of its own: no terminal's end is its end.
fn hold_elsewhere(form: Form) -> Result<std::process::Child> {
    let path = log()?;
    let log = File::create(&path).with_context(|| format!("could not create {}", path.display()))?;
    let mut command = Command::new("setsid");
    command.arg(std::env::current_exe().context("could not find this program's file")?).args(["cluster", "hold"]);
    if form == Form::ControlPlane {
        command.arg("--no-node");
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().context("could not share a log file")?).stderr(log);
    command.spawn().context("could not start `setsid`, which is in util-linux")
}

/// What the holder does.
pub fn hold(form: Form) -> Result<()> {
    let scratch = Scratch::at(dir()?)?;
    write(&scratch.path().join(PID), &std::process::id().to_string())?;
    let (kubeconfig, ready) = (scratch.path().join(KUBECONFIG), scratch.path().join(READY));
    let mut cluster = Cluster::start(scratch, form)?;
    let mut exports = format!("export KUBECONFIG={}\n", kubeconfig.display());
    exports.extend(cluster.exports().map(|(name, value)| format!("export {name}={value}\n")));
    // Nobody may see half of it.
    let partial = ready.with_extension("partial");
    write(&partial, &exports)?;
    fs::rename(&partial, &ready).with_context(|| format!("could not create {}", ready.display()))?;
    while process::check_interrupted().is_ok() {
        cluster.check()?;
        std::thread::sleep(process::TICK);
    }
    Ok(())
}

/// `cargo xtask cluster down`: also after the holder or `up` was killed.
pub fn down() -> Result<()> {
    let dir = dir()?;
    for name in ["TERM", "KILL"] {
        if Scratch::in_use(&dir) {
            let pid = fs::read_to_string(dir.join(PID)).context("somebody holds the cluster, but does not say who")?;
            process::signal(&pid, name)?;
            wait_until(|| !Scratch::in_use(&dir));
        }
    }
    ensure!(!Scratch::in_use(&dir), "the process that holds the cluster does not end");
    cgroups::remove()?;
    // Of a killed holder's servers, the last may be about to end.
    wait_until(|| place::remove(&dir).is_ok());
    place::remove(&dir)?;
    fs::remove_file(log()?).ok();
    eprintln!("no cluster is up any more");
    Ok(())
}

fn wait_until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + STOP_LIMIT;
    while !done() && Instant::now() < deadline {
        std::thread::sleep(process::TICK);
    }
}

fn read_log() -> String {
    log().and_then(|log| Ok(fs::read_to_string(log)?)).unwrap_or_default()
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("could not write {}", file.display()))
}
