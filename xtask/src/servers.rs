//! Real servers for tests: one Kafka, one Elasticsearch, and the same Elasticsearch behind TLS and authentication, on
//! free ports of the loopback address, with their data in a temporary folder.

pub mod elasticsearch;
pub mod kafka;
mod proxy;
pub mod running;

use std::time::Instant;

use anyhow::Result;

use crate::place::Scratch;
use crate::process;
use crate::tools::Jdk;
use running::Running;

/// How often we start again when somebody took a port between our choice and the server's start.
const ATTEMPTS: usize = 3;

/// All servers, running. They end when this is dropped, and with this process however it ends.
#[derive(Debug)]
pub struct Servers {
    running: Vec<Running>,
    exports: Vec<(&'static str, String)>,
    // Last: the servers must be gone before their files are.
    _scratch: Scratch,
}

impl Servers {
    /// Starts all servers at once, and returns when all of them answer.
    pub fn start(jdk: &Jdk) -> Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::start_once(jdk) {
                Err(error) if attempt < ATTEMPTS && format!("{error:#}").contains("already in use") => attempt += 1,
                result => return result,
            }
        }
    }

    fn start_once(jdk: &Jdk) -> Result<Self> {
        let begun = Instant::now();
        let scratch = Scratch::new()?;
        let ports = running::free_ports::<5>()?;
        let [kafka_port, controller_port, http_port, transport_port, tls_port] = ports;
        let kafka = kafka::start(jdk, &scratch, kafka_port, controller_port)?;
        let elasticsearch = elasticsearch::start(jdk, &scratch, http_port, transport_port)?;
        let (proxy, ca) = proxy::start(&scratch, tls_port, http_port)?;
        let mut running = [kafka, elasticsearch, proxy];
        running[2].await_ready(|| running::answers(tls_port))?;
        running[0].await_ready(|| kafka::is_ready(kafka_port))?;
        running[1].await_ready(|| elasticsearch::is_ready(http_port))?;
        eprintln!("servers are up after {:.1} s", begun.elapsed().as_secs_f64());
        let exports = vec![
            ("TAFFRAIL_TEST_KAFKA", format!("127.0.0.1:{kafka_port}")),
            ("TAFFRAIL_TEST_ELASTICSEARCH", format!("http://127.0.0.1:{http_port}")),
            ("TAFFRAIL_TEST_ELASTICSEARCH_TLS", format!("https://127.0.0.1:{tls_port}")),
            ("TAFFRAIL_TEST_ELASTICSEARCH_CA", ca.display().to_string()),
        ];
        Ok(Self { running: running.into(), exports, _scratch: scratch })
    }

    /// The variables by which tests find the servers.
    pub fn exports(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.exports.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Fails, with the end of its log, when a server has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.running.iter_mut().try_for_each(Running::check)
    }

    /// The end of every server's log, for whoever looks into a failure.
    pub fn print_logs(&self) {
        for server in &self.running {
            eprintln!("--- the end of {}'s log\n{}", server.name(), server.log_tail());
        }
    }
}

/// `cargo xtask servers`: prints how to reach the servers, and keeps them until Ctrl-C.
pub fn foreground(jdk: &Jdk) -> Result<()> {
    let mut servers = Servers::start(jdk)?;
    for (name, value) in servers.exports() {
        println!("export {name}={value}");
    }
    eprintln!("basic auth of the TLS address: elastic:changeme; API key: id testid, key testkey\nCtrl-C stops them");
    while process::check_interrupted().is_ok() {
        servers.check()?;
        std::thread::sleep(process::TICK);
    }
    Ok(())
}
