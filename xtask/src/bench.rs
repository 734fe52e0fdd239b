//! `cargo xtask bench NAME`: the figures that the README and the documentation quote.

use std::net::Ipv4Addr;

use anyhow::Result;
use clap::ValueEnum;

use crate::cluster::{self, Cluster, Form, build};
use crate::place::{self, Scratch};
use crate::servers::Servers;
use crate::{process, tools};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bench {
    /// The whole process: how quickly it is up and stops, the first alert, what it takes while idle
    Standalone,
    /// The embedded log store: how quick writing and searching are
    Logs,
    /// The time series store: how quick it is, and how small
    Metrics,
    /// Ingestion: from Kafka into a sink, beside its peers and what is possible at all
    Ingest,
    /// The operator: how long it takes for thousands of objects, on a real API server, and what it takes while idle
    Operator,
}

/// Builds what is measured, optimised, and prints the figures. `arguments` go to the benchmark.
pub fn run(bench: Bench, arguments: &[String]) -> Result<()> {
    let (package, name) = match bench {
        Bench::Standalone => ("taffrail-tests", "standalone"),
        Bench::Logs => ("taffrail-logstore", "embedded"),
        Bench::Metrics => ("taffrail-metrics", "store"),
        Bench::Ingest => ("taffrail-tests", "ingest"),
        Bench::Operator => ("taffrail-operator", "converge"),
    };
    let mut measure = place::cargo()?;
    measure.args(["bench", "--locked", "--package", package, "--bench", name, "--"]).args(arguments);
    if matches!(bench, Bench::Standalone | Bench::Ingest) {
        // They start the program, which is no dependency of its own.
        process::run(place::cargo()?.args(["build", "--release", "--locked", "--package", "taffrail"]))?;
    }
    let servers = if bench == Bench::Ingest {
        measure
            .env("TAFFRAIL_BENCH_RSYSLOG", tools::install_peers()?)
            .env("TAFFRAIL_BENCH_TELEGRAF", build::telegraf()?);
        Some(Servers::start(&tools::install_servers()?, Ipv4Addr::LOCALHOST)?)
    } else {
        None
    };
    let cluster = if bench == Bench::Operator {
        cluster::install(Form::ControlPlane)?;
        Some(Cluster::start(Scratch::new()?, Form::ControlPlane)?)
    } else {
        None
    };
    measure.envs(servers.iter().flat_map(Servers::exports));
    process::run(measure.envs(cluster.iter().flat_map(Cluster::exports)))
}
