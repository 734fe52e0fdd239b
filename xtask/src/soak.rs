//! `cargo xtask soak NAME`: harm to a part of Taffrail, for as long as one likes.

use std::process::Command;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::servers::homes;
use crate::{place, process, tools};

/// What can be harmed.
#[derive(Debug, Subcommand)]
pub enum Soak {
    /// Ingestion: workers, brokers, Elasticsearch, its disk, its password and networks fail, and every record must
    /// arrive once
    Ingest(Options),
}

/// For how long, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// How long new rounds of faults begin
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// What decides the order of faults, and the records [default: the time]
    #[arg(long)]
    seed: Option<u64>,
    /// Records a second, on average
    #[arg(long, default_value_t = 400)]
    rate: u64,
}

/// Builds what is harmed, as `cargo xtask test` does, and harms it.
pub fn run(soak: &Soak) -> Result<()> {
    let Soak::Ingest(options) = soak;
    let jdk = tools::install_soak()?;
    process::run(place::cargo()?.args(["build", "--workspace", "--all-targets", "--locked"]))?;
    let mut chaos = Command::new(place::target()?.join("debug/chaos"));
    chaos.args(["--minutes", &options.minutes.to_string(), "--rate", &options.rate.to_string()]);
    if let Some(seed) = options.seed {
        chaos.args(["--seed", &seed.to_string()]);
    }
    process::run(chaos.envs(homes(&jdk)?))
}
