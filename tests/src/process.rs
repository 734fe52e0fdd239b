//! The program, as a process that ends with whoever started it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long the program may take to stop on a busy machine, before it counts as stuck.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// The program, which was built before the tests: it lies beside their folder, and beside our own programs.
///
/// # Errors
/// When it is not there.
pub fn program() -> Result<PathBuf> {
    let ours = std::env::current_exe().context("no path of this program")?;
    let program = ours.ancestors().skip(1).take(2).map(|folder| folder.join("taffrail")).find(|path| path.is_file());
    let ours = ours.display();
    program.with_context(|| format!("no `taffrail` beside {ours}: run `cargo build` first, or `cargo xtask test`"))
}

/// The program, or another one, running. It is killed when this goes.
pub struct Process {
    child: Child,
    output: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts a program with what stands on its command line. Its output goes into files whose paths begin with `files`.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(command: &mut Command, files: &Path) -> Result<Self> {
        let (output, log) = (files.with_extension("out"), files.with_extension("log"));
        let child = command
            .stdout(File::create(&output)?)
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("could not start {}", command.get_program().display()))?;
        Ok(Self { child, output, log })
    }

    /// The number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// What it, and those before it with the same files, have logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// With what it said.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("it has ended with {status}:\n{}", self.log()),
            None => Ok(()),
        }
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal such as `STOP`.
    ///
    /// # Errors
    /// When there is nobody to take it.
    pub fn signal(&self, signal: &str) -> Result<()> {
        // The shell's `kill` spares us unsafe code for the one system call that std lacks.
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.child.id())]).status()?;
        ensure!(status.success(), "could not send {signal}");
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When there is nothing to kill.
    pub fn kill(mut self) -> Result<()> {
        self.check()?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal such as `TERM`, waits for the end, and gives how long that took.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub async fn stop(mut self, signal: &str) -> Result<Duration> {
        let begun = Instant::now();
        self.signal(signal)?;
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(begun.elapsed() < STOPPED_WITHIN, "taffrail does not stop:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        ensure!(status.success(), "taffrail ended with {status}:\n{}", self.log());
        Ok(begun.elapsed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time that a process has taken so far.
///
/// # Errors
/// When there is no such process.
pub fn processor_time(process: u32) -> Result<Duration> {
    /// Milliseconds in one of the kernel's ticks; Linux has had no other number for user space in decades.
    const TICK: u64 = 10;
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit_once(')').context("no name in /proc/*/stat")?.1;
    // The 14th and 15th fields, of which the third is the first after the name.
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * TICK))
}

/// Bytes of memory that a process has had at most.
///
/// # Errors
/// When there is no such process.
pub fn peak_memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// A port of the loopback address on which nobody listens.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A command that starts `taffrail` with nothing to read.
///
/// # Errors
/// When the program is not there.
pub fn taffrail(subcommand: &str) -> Result<Command> {
    let mut command = Command::new(program()?);
    command.arg(subcommand).stdin(Stdio::null());
    Ok(command)
}
