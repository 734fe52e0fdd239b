//! Running other programs so that nothing outlives us: not after Ctrl-C, not after a panic, not after `kill -9`.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How often a waiting loop looks again.
pub const TICK: Duration = Duration::from_millis(50);
/// How long an interrupted command gets to end by itself.
const GRACE: Duration = Duration::from_secs(5);

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on Ctrl-C, SIGTERM and SIGHUP end the running step and clean up; a second one ends this process at once
/// (the kernel then ends the servers, see [`tied`]).
pub fn catch_signals() -> Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(flag)))
            .context("could not install the handler for Ctrl-C")?;
    }
    Ok(())
}

/// Fails once the user has asked us to stop; every waiting loop calls it.
pub fn check_interrupted() -> Result<()> {
    ensure!(!INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed)), "interrupted");
    Ok(())
}

/// A command that the kernel kills when the *thread* that spawned it ends, even by `kill -9`: for servers. Spawn it from
/// the main thread.
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null());
    command
}

/// Runs a command to its end with its output visible. An interrupt stops it and everything it started.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    check_interrupted()?;
    let mut child = command
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("could not start `{shown}`: is it installed? `cargo xtask tools` checks"))?;
    let status = wait(&mut child).with_context(|| format!("while running `{shown}`"))?;
    ensure!(status.success(), "`{shown}` failed: {status}");
    Ok(())
}

/// Runs a command to its end and returns its standard output; its standard error becomes part of the error.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("could not start `{shown}`"))?;
    ensure!(
        output.status.success(),
        "`{shown}` failed: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` did not print UTF-8"))
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Err(interrupt) = check_interrupted() {
            end_group(child)?;
            return Err(interrupt);
        }
        std::thread::sleep(TICK);
    }
}

/// Ends a child that leads its own process group, and everything in that group.
fn end_group(child: &mut Child) -> Result<()> {
    signal_group(child, "TERM")?;
    let deadline = Instant::now() + GRACE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            signal_group(child, "KILL")?;
            child.wait()?;
        }
        std::thread::sleep(TICK);
    }
    Ok(())
}

fn signal_group(child: &Child, name: &str) -> Result<()> {
    signal(&format!("-{}", child.id()), name)
}

/// Sends a signal. The shell's `kill` spares us unsafe code for the one system call that std lacks.
pub fn signal(process: &str, name: &str) -> Result<()> {
    let kill = format!("kill -{name} {process}");
    let status = Command::new("sh").args(["-c", &kill]).status().context("could not start `sh`")?;
    if !status.success() {
        bail!("`{kill}` failed: {status}");
    }
    Ok(())
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
