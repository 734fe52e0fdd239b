//! Ingestion under harm, for as long as one likes: `cargo xtask soak ingest` builds it and says where servers are.

#![allow(clippy::print_stderr)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use taffrail_tests::chaos::{self, Plan};

#[derive(Debug, Parser)]
struct Options {
    /// How long; without it, one short round
    #[arg(long)]
    minutes: Option<u64>,
    /// What decides the faults and the records [default: the time]
    #[arg(long)]
    seed: Option<u64>,
    /// Records a second, on average
    #[arg(long, default_value_t = 400)]
    rate: u64,
    /// Namespaces are made already
    #[arg(long, hide = true)]
    inside: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if !options.inside {
        let arguments: Vec<_> = std::env::args().skip(1).chain(["--inside".to_owned()]).collect();
        let status = chaos::enter(&arguments)?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let length = options.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let plan = Plan { seed: options.seed.unwrap_or(now), length, rate: options.rate };
    tokio::runtime::Runtime::new()?.block_on(chaos::run(plan))?;
    Ok(ExitCode::SUCCESS)
}
