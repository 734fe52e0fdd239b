//! `cargo xtask …`: the project's own tasks.
#![forbid(unsafe_code)]
// A command-line program: printing is what it is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod generate;
mod place;
mod process;
mod servers;
mod test;
mod tools;
mod ui;
mod versions;

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
    /// Write anew what is generated and checked in: the custom resource definitions, the built web page
    Generate,
    /// Start Kafka and Elasticsearch for tests, print how to reach them, stop them on Ctrl-C
    Servers,
    /// Check and install what the other tasks need
    Tools,
}

fn main() -> Result<()> {
    let task = Task::parse();
    process::catch_signals()?;
    match task {
        Task::Test { only, arguments } => test::run(&only, &arguments),
        Task::Generate => generate::run(),
        Task::Servers => servers::foreground(&tools::install_servers()?),
        Task::Tools => tools::install(),
    }
}
