//! `cargo xtask fuzz`: libFuzzer, which needs no nightly compiler as long as no sanitizer is asked for. What it finds
//! stays in `fuzz/corpus` and `fuzz/artifacts`, which are not checked in; what is worth keeping becomes a seed.

use anyhow::Result;

use crate::{place, process};

/// Runs a target for some minutes, or until it fails.
pub fn run(target: &str, minutes: u64) -> Result<()> {
    let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
    std::fs::create_dir_all(place::root().join(&corpus))?;
    let mut cargo = place::cargo()?;
    cargo.args(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir", "fuzz", target, &corpus, &seeds, "--"]);
    cargo.args(["-max_len=16384", "-timeout=20", "-rss_limit_mb=1024", "-print_final_stats=1"]);
    process::run(cargo.arg(format!("-max_total_time={}", minutes * 60)))
}
