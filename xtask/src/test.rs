//! `cargo xtask test`: everything that must hold, the quick checks first.

pub mod node;

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::cluster::{self, Cluster, Form};
use crate::place::Scratch;
use crate::servers::Servers;
use crate::{chart, place, process, tools, ui};

/// What `cargo xtask test` does, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// Check and install what the other steps need
    Tools,
    /// Formatting
    Fmt,
    /// Licences, bans, sources and advisories of dependencies
    Deny,
    /// Types of the web page, and whether its built form is up to date
    Ui,
    /// Lints, as errors
    Clippy,
    /// Documentation, its warnings as errors
    Docs,
    /// The chart, manifests and the Tiltfile, with Helm, kubeconform and Starlark
    Chart,
    /// Build everything, start Kafka, Elasticsearch, OpenSearch and Kubernetes' control plane, and run all tests but the next ones
    Test,
    /// Build the image, start Kubernetes with a node, Kafka and Elasticsearch beside it, and run the tests of pods
    Node,
}

/// One line of the summary.
struct Row {
    name: &'static str,
    took: Duration,
    passed: bool,
}

#[derive(Default)]
struct Summary(Vec<Row>);

impl Summary {
    fn time<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("\n=== {name}");
        let begun = Instant::now();
        let result = process::check_interrupted().and_then(|()| work());
        let (took, passed) = (begun.elapsed(), result.is_ok());
        eprintln!("=== {name}: {} after {:.1} s", if passed { "done" } else { "FAILED" }, took.as_secs_f64());
        self.0.push(Row { name, took, passed });
        result
    }

    fn print(&self) {
        eprintln!("\n{:<24} {:>9}", "step", "seconds");
        for Row { name, took, passed } in &self.0 {
            eprintln!("{name:<24} {:>9.1}  {}", took.as_secs_f64(), if *passed { "passed" } else { "FAILED" });
        }
        let total: Duration = self.0.iter().map(|row| row.took).sum();
        eprintln!("{:<24} {:>9.1}", "total", total.as_secs_f64());
    }
}

/// Runs the steps, all or `only` some, up to the first that fails. `arguments` go to `cargo test`.
pub fn run(only: &[Step], arguments: &[String]) -> Result<()> {
    let steps: Vec<Step> =
        Step::value_variants().iter().copied().filter(|step| only.is_empty() || only.contains(step)).collect();
    let mut summary = Summary::default();
    let mut left = steps.iter();
    let outcome = left.try_for_each(|step| run_step(*step, arguments, &mut summary));
    summary.print();
    for step in left {
        eprintln!("{:<24} {:>9}  not run", format!("{step:?}").to_lowercase(), "");
    }
    outcome
}

fn run_step(step: Step, arguments: &[String], summary: &mut Summary) -> Result<()> {
    match step {
        Step::Tools => summary.time("tools", install),
        Step::Fmt => summary.time("formatting", || process::run(place::cargo()?.args(["fmt", "--all", "--check"]))),
        Step::Deny => {
            let passed = summary.time("dependencies", || deny(&["check", "bans", "licenses", "sources"]));
            passed.and_then(|()| summary.time("advisories", advisories))
        }
        Step::Ui => summary.time("web page", ui::check),
        Step::Clippy => summary.time("lints", || {
            let mut cargo = place::cargo()?;
            cargo.args(["clippy", "--workspace", "--all-targets", "--features", "taffrail-tests/node", "--locked"]);
            process::run(cargo.args(["--", "-D", "warnings"]))
        }),
        Step::Docs => summary.time("documentation", || {
            let mut cargo = place::cargo()?;
            process::run(cargo.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps", "--locked"]))
        }),
        Step::Chart => summary.time("chart", chart::check),
        Step::Test => {
            // The tests start the binary, which is no dependency of theirs: it must be built before.
            summary.time("build", || {
                process::run(place::cargo()?.args(["build", "--workspace", "--all-targets", "--locked"]))
            })?;
            let mut servers = summary.time("servers", || {
                let jdk = tools::install_servers()?;
                Servers::start(&jdk, Ipv4Addr::LOCALHOST)?.with_opensearch(&jdk)
            })?;
            let mut cluster = summary.time("cluster", || {
                cluster::install(Form::ControlPlane)?;
                Cluster::start(Scratch::new()?, Form::ControlPlane)
            })?;
            summary.time("tests", || tests(&mut servers, &mut cluster, arguments))
        }
        Step::Node => node::run(summary),
    }
}

/// Everything that the steps need: what is missing is installed.
pub fn install() -> Result<()> {
    tools::install()?;
    cluster::install(Form::Node)?;
    cluster::install_tested()
}

fn deny(arguments: &[&str]) -> Result<()> {
    process::run(Command::new(tools::cargo_deny()?).current_dir(place::root()).arg("--locked").args(arguments))
}

/// The advisory database is a git repository on the web. Without a way to it this check can say nothing, and that is
/// neither a pass worth hiding nor a fault of the code.
fn advisories() -> Result<()> {
    if let Err(error) = deny(&["fetch", "db"]) {
        process::check_interrupted()?;
        eprintln!("NOTE: advisories were NOT checked, because their database could not be fetched: {error:#}");
        return Ok(());
    }
    deny(&["check", "--disable-fetch", "advisories"])
}

fn tests(servers: &mut Servers, cluster: &mut Cluster, arguments: &[String]) -> Result<()> {
    let mut cargo = place::cargo()?;
    cargo.args(["test", "--locked", "--no-fail-fast"]).envs(servers.exports()).envs(cluster.exports());
    let names_a_package = |argument: &String| argument.starts_with("-p") || argument.starts_with("--package");
    if !arguments.iter().any(names_a_package) {
        cargo.arg("--workspace");
    }
    let outcome = process::run(cargo.args(arguments));
    if outcome.is_err() && process::check_interrupted().is_ok() {
        servers.print_logs();
    }
    match (outcome, servers.check().and_then(|()| cluster.check())) {
        (Err(tests), Err(server)) => Err(server).context(tests),
        (outcome, server) => outcome.and(server),
    }
}
