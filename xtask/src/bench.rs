//! `cargo xtask bench NAME`: the figures that the README and the documentation quote.

use anyhow::Result;
use clap::ValueEnum;

use crate::{place, process};

/// What can be measured.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Bench {
    /// The whole process: how quickly it is up and stops, the first alert, what it takes while idle
    Standalone,
    /// The time series store: how quick it is, and how small
    Metrics,
}

/// Builds what is measured, optimised, and prints the figures.
pub fn run(bench: Bench) -> Result<()> {
    let (package, name) = match bench {
        Bench::Standalone => ("taffrail-tests", "standalone"),
        Bench::Metrics => ("taffrail-metrics", "store"),
    };
    if matches!(bench, Bench::Standalone) {
        // It starts the program, which is no dependency of its own.
        process::run(place::cargo()?.args(["build", "--release", "--locked", "--package", "taffrail"]))?;
    }
    process::run(place::cargo()?.args(["bench", "--locked", "--package", package, "--bench", name]))
}
