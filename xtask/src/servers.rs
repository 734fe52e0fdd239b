//! Real servers for tests: one Kafka, one Elasticsearch, and the same Elasticsearch behind TLS and authentication, on
//! free ports, with their data in a temporary folder. Beside them, on request, an OpenSearch.

pub mod elasticsearch;
mod jars;
pub mod kafka;
pub mod opensearch;
mod proxy;
pub mod running;

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::Result;

use crate::place::Scratch;
use crate::process;
use crate::tools::Jdk;
use running::Running;

/// How often we start again when somebody took a port between our choice and the server's start.
const ATTEMPTS: usize = 3;

/// The variables by which tests start servers of their own.
pub fn homes(jdk: &Jdk) -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("TAFFRAIL_TEST_JAVA", jdk.program("java").display().to_string()),
        ("TAFFRAIL_TEST_KAFKA_HOME", kafka::home()?.display().to_string()),
        ("TAFFRAIL_TEST_ELASTICSEARCH_COMMAND", elasticsearch::command(jdk)?.join(" ")),
    ])
}

/// All servers, running. They end when this is dropped, and with this process however it ends.
#[derive(Debug)]
pub struct Servers {
    running: Vec<Running>,
    exports: Vec<(&'static str, String)>,
    // Last: the servers must be gone before their files are.
    scratch: Scratch,
}

impl Servers {
    /// Starts all servers at once, and returns when all of them answer. Kafka and Elasticsearch do so at an address that
    /// this machine has.
    pub fn start(jdk: &Jdk, host: Ipv4Addr) -> Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::start_once(jdk, host) {
                Err(error) if attempt < ATTEMPTS && format!("{error:#}").contains("already in use") => attempt += 1,
                result => return result,
            }
        }
    }

    fn start_once(jdk: &Jdk, host: Ipv4Addr) -> Result<Self> {
        let begun = Instant::now();
        let scratch = Scratch::new()?;
        let ports = running::free_ports::<5>()?;
        let [kafka_port, controller_port, http_port, transport_port, tls_port] = ports;
        let (kafka_address, http_address) = ((host, kafka_port).into(), (host, http_port).into());
        let kafka = kafka::start(jdk, &scratch, kafka_address, controller_port)?;
        let elasticsearch = elasticsearch::start(jdk, &scratch, http_address, transport_port)?;
        let (proxy, ca) = proxy::start(&scratch, tls_port, http_address)?;
        let mut running = [kafka, elasticsearch, proxy];
        running[2].await_ready(|| running::answers((Ipv4Addr::LOCALHOST, tls_port).into()))?;
        running[0].await_ready(|| kafka::is_ready(kafka_address))?;
        running[1].await_ready(|| elasticsearch::is_ready(http_address))?;
        eprintln!("servers are up after {:.1} s", begun.elapsed().as_secs_f64());
        let mut exports = homes(jdk)?;
        exports.extend([
            ("TAFFRAIL_TEST_KAFKA", kafka_address.to_string()),
            ("TAFFRAIL_TEST_ELASTICSEARCH", format!("http://{http_address}")),
            ("TAFFRAIL_TEST_ELASTICSEARCH_TLS", format!("https://127.0.0.1:{tls_port}")),
            ("TAFFRAIL_TEST_ELASTICSEARCH_CA", ca.display().to_string()),
        ]);
        Ok(Self { running: running.into(), exports, scratch })
    }

    /// Starts an OpenSearch as well, with its security plugin, on the loopback address.
    pub fn with_opensearch(mut self, jdk: &Jdk) -> Result<Self> {
        let begun = Instant::now();
        opensearch::install(jdk)?;
        let [port, transport_port] = running::free_ports::<2>()?;
        let (mut server, ca) = opensearch::start(jdk, &self.scratch, port, transport_port)?;
        server.await_ready(|| opensearch::is_ready(port, &ca))?;
        eprintln!("OpenSearch is up after {:.1} s", begun.elapsed().as_secs_f64());
        self.exports.push(("TAFFRAIL_TEST_OPENSEARCH", format!("https://localhost:{port}")));
        self.exports.push(("TAFFRAIL_TEST_OPENSEARCH_CA", ca.display().to_string()));
        self.running.push(server);
        Ok(self)
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
    let mut servers = Servers::start(jdk, Ipv4Addr::LOCALHOST)?.with_opensearch(jdk)?;
    for (name, value) in servers.exports() {
        println!("export {name}='{value}'");
    }
    eprintln!(
        "basic auth of the TLS address: elastic:changeme; API key: id testid, key testkey; OpenSearch: admin:changeme\nCtrl-C stops them"
    );
    while process::check_interrupted().is_ok() {
        servers.check()?;
        std::thread::sleep(process::TICK);
    }
    Ok(())
}
