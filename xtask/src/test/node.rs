//! What is tested on a node: Taffrail as pods, beside a Kafka and an Elasticsearch in the node's network.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Summary;
use crate::cluster::{self, Cluster, Form, images};
use crate::place::Scratch;
use crate::servers::Servers;
use crate::{place, process, tools};

/// The test program, in the package `taffrail-tests`.
const TESTS: &str = "kubernetes";
/// Tests whose names begin so shake everybody: they come after the others, one by one.
const DISRUPTIONS: &str = "disruptions::";
/// One that waits for ten minutes, and one other. What is measured is not to be disturbed by more.
const AT_ONCE: &str = "--test-threads=2";

/// Builds Taffrail's image, starts a cluster with a node, and runs the tests there.
pub(super) fn run(summary: &mut Summary) -> Result<()> {
    let scratch = Scratch::new()?;
    let image = summary.time("image", || {
        process::run(&mut cargo_test(&["--no-run"])?)?;
        images::of_taffrail(&scratch, None)
    })?;
    let mut cluster = summary.time("node", || {
        let cluster = Cluster::start(Scratch::new()?, Form::Node)?;
        cluster.load(&image)?;
        images::of_prometheus()?.iter().try_for_each(|archive| cluster.load(archive))?;
        Ok(cluster)
    })?;
    summary.time("tests on the node", || {
        // Whatever serves pods, or asks them, must be in their network: so is a part of this program.
        let xtask = std::env::current_exe().context("could not find this program's file")?;
        let words = [xtask, PathBuf::from("on-node"), cluster.dir().to_owned()];
        let words: Vec<_> = words.iter().map(|word| word.display().to_string()).collect();
        let outcome = process::run(&mut cluster.inside(&words)?);
        cluster.check().and(outcome)
    })
}

/// Cargo, to test that program.
fn cargo_test(arguments: &[&str]) -> Result<Command> {
    let mut cargo = place::cargo()?;
    cargo.args(["test", "--locked", "--package", "taffrail-tests", "--features", "node", "--test", TESTS]);
    cargo.args(arguments);
    Ok(cargo)
}

/// What that part does. `dir` is the cluster's folder; `arguments` go to the tests.
pub fn inside(dir: &Path, arguments: &[String]) -> Result<()> {
    let exports = cluster::tools(dir)?;
    let mut servers = Servers::start(&tools::install_servers()?, cluster::NODE_IP)?;
    let phases: &[&[&str]] = match arguments {
        // With the figures that tests print.
        [] => {
            &[&["--skip", DISRUPTIONS, AT_ONCE, "--show-output"], &[DISRUPTIONS, "--test-threads=1", "--show-output"]]
        }
        _ => &[&["--nocapture"]],
    };
    let mut outcome = Ok(());
    for phase in phases {
        // There is no network but the node's.
        let mut cargo = cargo_test(&["--offline", "--"])?;
        cargo.args(*phase).args(arguments).envs(servers.exports()).envs(exports.iter().cloned());
        outcome = outcome.and(process::run(&mut cargo));
        process::check_interrupted()?;
    }
    if outcome.is_err() {
        servers.print_logs();
    }
    outcome.and(servers.check())
}
