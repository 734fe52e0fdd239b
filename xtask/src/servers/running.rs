//! A server process: started, watched until it answers, and ended.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::place::Scratch;
use crate::process;

/// How long a server may take to answer; a busy machine with two cores needs a third of it.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long a process may take to end by itself before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long one probe may wait for its answer.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// How many lines of its log an error shows.
const TAIL: usize = 25;
/// Where we look for free ports: below the range from which Linux takes ports for outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A server that ends when this is dropped. Its data is thrown away, so it is killed rather than asked.
#[derive(Debug)]
pub struct Running {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command`, made by [`process::tied`], with its output going to a log file.
    pub fn start(name: &'static str, scratch: &Scratch, command: &mut Command) -> Result<Self> {
        let log = scratch.path().join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("could not create {}", log.display()))?;
        let child = command
            .current_dir(scratch.path())
            .stdout(file.try_clone().context("could not share a log file")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("could not start {name} by `setpriv`, which is in util-linux"))?;
        Ok(Self { name, child, log })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Fails when the process has ended.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended by itself ({status}); the end of its log:\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    /// Closes its standard input, which it takes for the end, and waits until it has ended.
    pub fn close_and_wait(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + STOP_LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(process::TICK);
        }
    }

    /// Returns when `ready` says so.
    pub fn await_ready(&mut self, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !ready() {
            self.check()?;
            process::check_interrupted()?;
            ensure!(
                Instant::now() < deadline,
                "{} does not answer after {} s; the end of its log:\n{}",
                self.name,
                START_LIMIT.as_secs(),
                self.log_tail()
            );
            std::thread::sleep(process::TICK);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only for a process that has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Different ports of the loopback address on which nobody listens.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // The standard library's only source of randomness; concurrent runs should not walk over the same ports.
    let seed = RandomState::new().hash_one(std::process::id());
    let count = u64::from(PORTS.end - PORTS.start);
    let candidates = (0..count).filter_map(|n| u16::try_from((seed % count + n * 7919) % count).ok());
    let free = candidates.map(|n| PORTS.start + n).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let ports: BTreeSet<u16> = free.take(N).collect();
    ports.into_iter().collect::<Vec<_>>().try_into().ok().with_context(|| format!("no {N} free ports in {PORTS:?}"))
}

/// A connection with a limit on how long reads and writes may take.
pub fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PROBE_LIMIT)?;
    stream.set_read_timeout(Some(PROBE_LIMIT))?;
    stream.set_write_timeout(Some(PROBE_LIMIT))?;
    Ok(stream)
}

/// Whether somebody listens.
pub fn answers(address: SocketAddr) -> bool {
    connect(address).is_ok()
}
