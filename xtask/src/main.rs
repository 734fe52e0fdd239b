//! `cargo xtask …`: the project's own tasks.
#![forbid(unsafe_code)]
// A command-line program: printing is what it is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod place;
mod process;
mod servers;
mod tools;
mod versions;

use anyhow::Result;
use clap::Parser;

/// Taffrail's development tasks
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Start Kafka and Elasticsearch for tests, print how to reach them, stop them on Ctrl-C
    Servers,
    /// Check and install what the other tasks need
    Tools,
}

fn main() -> Result<()> {
    let task = Task::parse();
    process::catch_signals()?;
    match task {
        Task::Servers => servers::foreground(&tools::install_servers()?),
        Task::Tools => tools::install(),
    }
}
