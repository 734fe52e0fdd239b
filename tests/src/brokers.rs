//! Kafka brokers of a test's own, to have other listeners or to come to harm.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::kafka::Cluster;
use crate::process::free_port;

/// How long a broker may take to come up on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(90);

/// Any UUID.
const CLUSTER_ID: &str = "VGFmZnJhaWxUZXN0cyEhIQ";

/// Brokers that know each other. They are killed when this goes.
pub struct Brokers {
    nodes: Vec<Node>,
    listeners: Vec<&'static str>,
    folder: tempfile::TempDir,
}

struct Node {
    /// One for each listener; the first is that of brokers among themselves.
    ports: Vec<u16>,
    child: Option<Child>,
}

impl Brokers {
    /// Starts brokers, and waits until all of them are there. Beside the listener `PLAINTEXT` they have those that are
    /// named; `properties` are lines of theirs.
    ///
    /// # Errors
    /// When they don't come up.
    pub async fn start(nodes: usize, listeners: &[&'static str], properties: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let listeners: Vec<_> = ["PLAINTEXT"].into_iter().chain(listeners.iter().copied()).collect();
        let ports = || (0..=listeners.len()).map(|_| free_port()).collect::<Result<Vec<_>>>();
        let nodes = (0..nodes).map(|_| Ok(Node { ports: ports()?, child: None })).collect::<Result<Vec<_>>>()?;
        let mut brokers = Self { nodes, listeners, folder };
        for node in 0..brokers.nodes.len() {
            brokers.prepare(node, properties)?;
            brokers.launch(node)?;
        }
        brokers.all_up().await?;
        Ok(brokers)
    }

    fn path(&self, node: usize, name: &str) -> PathBuf {
        self.folder.path().join(format!("{node}-{name}"))
    }

    fn prepare(&self, node: usize, properties: &str) -> Result<()> {
        let data = self.path(node, "data");
        fs::create_dir(&data)?;
        let home = PathBuf::from(crate::variable("TAFFRAIL_TEST_KAFKA_HOME"));
        fs::copy(home.join("formatted/bootstrap.checkpoint"), data.join("bootstrap.checkpoint"))?;
        let id = node + 1;
        // The last digits say nothing, because sixteen bytes do not fill them.
        let directory = format!("VGFmZnJhaWxUZXN0RG{id:02}AA");
        let meta = format!("version=1\ncluster.id={CLUSTER_ID}\nnode.id={id}\ndirectory.id={directory}\n");
        fs::write(data.join("meta.properties"), meta)?;
        let count = self.nodes.len();
        let controller = |node: &Node| node.ports[self.listeners.len()];
        let voters = self.nodes.iter().enumerate().map(|(n, node)| format!("{}@127.0.0.1:{}", n + 1, controller(node)));
        let ports = &self.nodes[node].ports;
        let listeners: Vec<_> =
            self.listeners.iter().zip(ports).map(|(name, port)| format!("{name}://127.0.0.1:{port}")).collect();
        let listeners = listeners.join(",");
        let mut text = format!(
            "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={}\n\
             listeners={listeners},CONTROLLER://127.0.0.1:{}\nadvertised.listeners={listeners}\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\nlog.dirs={}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             offsets.topic.num.partitions=4\ngroup.initial.rebalance.delay.ms=0\n\
             transaction.state.log.num.partitions=4\n",
            voters.collect::<Vec<_>>().join(","),
            controller(&self.nodes[node]),
            data.display(),
        );
        for log in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
            writeln!(text, "{log}.replication.factor={count}")?;
        }
        let enough = count.div_ceil(2);
        writeln!(text, "transaction.state.log.min.isr={enough}\nshare.coordinator.state.topic.min.isr={enough}")?;
        // The last one of two equal keys holds.
        writeln!(text, "min.insync.replicas={enough}\n{properties}")?;
        fs::write(self.path(node, "properties"), text)?;
        Ok(())
    }

    fn java(&self) -> Command {
        // The kernel ends it with the thread that started it.
        let mut command = Command::new("setpriv");
        let home = PathBuf::from(crate::variable("TAFFRAIL_TEST_KAFKA_HOME"));
        command
            .args(["--pdeathsig", "KILL", "--", &crate::variable("TAFFRAIL_TEST_JAVA"), "-Xmx384m"])
            .args([
                "-XX:-UsePerfData",
                "-XX:TieredStopAtLevel=1",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp",
            ])
            .arg(home.join("lib/*"))
            .stdin(Stdio::null());
        command
    }

    /// Starts a broker that is not running.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn launch(&mut self, node: usize) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.path(node, "log"))?;
        let mut command = self.java();
        command.arg("kafka.Kafka").arg(self.path(node, "properties")).stdout(log.try_clone()?).stderr(log);
        self.nodes[node].child = Some(command.spawn().context("could not start a broker by `setpriv`")?);
        Ok(())
    }

    /// Waits until all brokers are part of the cluster.
    ///
    /// # Errors
    /// When one has ended, or it takes too long.
    pub async fn all_up(&mut self) -> Result<()> {
        let begun = Instant::now();
        let running = self.nodes.iter().filter(|node| node.child.is_some()).count();
        loop {
            for node in 0..self.nodes.len() {
                if let Some(child) = &mut self.nodes[node].child
                    && let Some(status) = child.try_wait()?
                {
                    bail!("broker {node} has ended with {status}:\n{}", self.log(node));
                }
            }
            let counts = (0..self.nodes.len()).filter(|node| self.nodes[*node].child.is_some()).map(|node| {
                let address = format!("127.0.0.1:{}", self.nodes[node].ports[0]);
                Cluster::at(&address).brokers().unwrap_or(0)
            });
            if counts.min() == Some(running) {
                return Ok(());
            }
            ensure!(begun.elapsed() < UP_WITHIN, "the brokers are not up:\n{}", self.log(0));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What a broker has logged.
    #[must_use]
    pub fn log(&self, node: usize) -> String {
        fs::read_to_string(self.path(node, "log")).unwrap_or_default()
    }

    /// Leaves their files when this goes, for whoever looks into a failure.
    pub fn keep_files(&mut self) {
        self.folder.disable_cleanup(true);
    }

    /// The addresses of a listener.
    #[must_use]
    pub fn addresses(&self, listener: &str) -> Vec<String> {
        let index = self.listeners.iter().position(|name| *name == listener).unwrap_or(0);
        self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.ports[index])).collect()
    }

    /// The brokers, to be worked with.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        Cluster::at(&self.addresses("PLAINTEXT").join(","))
    }

    /// Sends a signal, such as `STOP` or `CONT`, to a broker.
    ///
    /// # Errors
    /// When it is not running.
    pub fn signal(&self, node: usize, signal: &str) -> Result<()> {
        let child = self.nodes[node].child.as_ref().context("the broker is not running")?;
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status()?;
        ensure!(status.success(), "could not send {signal}");
        Ok(())
    }

    /// Has a broker give its leaderships away and end.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn stop(&mut self, node: usize) -> Result<()> {
        self.signal(node, "TERM")?;
        let mut child = self.nodes[node].child.take().context("the broker is not running")?;
        let begun = Instant::now();
        while child.try_wait()?.is_none() {
            if begun.elapsed() > UP_WITHIN {
                child.kill()?;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// `kill -9` of a broker.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        let mut child = self.nodes[node].child.take().context("the broker is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Runs one of Kafka's own tools, such as `kafka.admin.ConfigCommand`.
    ///
    /// # Errors
    /// When it fails.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> Result<()> {
        let output = self.java().arg(class).args(arguments).output()?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(output.status.success(), "{class} failed: {}", String::from_utf8_lossy(&said));
        Ok(())
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().filter_map(|node| node.child.as_mut()) {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
