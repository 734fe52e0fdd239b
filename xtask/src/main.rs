//! `cargo xtask …`: the project's own tasks.
#![forbid(unsafe_code)]
// A command-line program: printing is what it is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod chart;
mod cluster;
mod fuzz;
mod generate;
mod place;
mod process;
mod servers;
mod soak;
mod test;
mod tools;
mod ui;
mod versions;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

/// Taffrail's development tasks
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Run everything that must hold: formatting, lints, licences, documentation, the web page, all tests
    Test {
        /// Only these steps
        #[arg(long, value_name = "STEP", value_delimiter = ',')]
        only: Vec<test::Step>,
        /// For cargo test, as in `-- -p taffrail-query parse`
        #[arg(last = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Measure, and print the figures that the documentation quotes
    Bench {
        /// What to measure
        name: bench::Bench,
        /// For the benchmark, as in `ingest --entries 500000`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Do harm to a part of Taffrail under load for as long as one likes, and see whether it keeps its promises
    #[command(subcommand)]
    Soak(soak::Soak),
    /// Look for bytes that a decoder can't stand (`cargo install cargo-fuzz` first)
    Fuzz {
        /// One of those in fuzz/targets
        target: String,
        /// How long
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
    /// Write anew what is generated and checked in: the custom resource definitions, what the chart renders, the web page
    Generate,
    /// Start Kafka, Elasticsearch and OpenSearch for tests, print how to reach them, stop them on Ctrl-C
    Servers,
    /// A real Kubernetes on this machine, with a node that runs pods
    #[command(subcommand)]
    Cluster(cluster::Task),
    /// Build Taffrail's image from this checkout, without a container engine
    Image {
        /// Its name and tag [default: those of the release]
        #[arg(long)]
        name: Option<String>,
        /// Where its archive goes, in the form of `docker save`
        archive: PathBuf,
    },
    /// Check and install what the other tasks need
    Tools,
    /// The tests of pods, in the network of a node
    #[command(hide = true)]
    OnNode {
        /// The cluster's folder
        cluster: PathBuf,
        /// For the tests
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

fn main() -> Result<()> {
    let task = Task::parse();
    process::catch_signals()?;
    match task {
        Task::Test { only, arguments } => test::run(&only, &arguments),
        Task::Bench { name, arguments } => bench::run(name, &arguments),
        Task::Soak(soak) => soak::run(&soak),
        Task::Fuzz { target, minutes } => fuzz::run(&target, minutes),
        Task::Generate => generate::run(),
        Task::Servers => servers::foreground(&tools::install_servers()?),
        Task::Cluster(task) => cluster::run(task),
        Task::Image { name, archive } => cluster::write_image(name.as_deref(), &archive),
        Task::Tools => test::install(),
        Task::OnNode { cluster, arguments } => test::node::inside(&cluster, &arguments),
    }
}
