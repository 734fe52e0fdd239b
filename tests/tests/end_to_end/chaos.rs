//! One short round of harm to ingestion: `cargo xtask soak ingest` goes on with it for as long as one likes.

// The figures are for who runs it.
#![allow(clippy::print_stderr)]

use std::process::Command;

/// What decides the order of faults. `TAFFRAIL_TEST_SEED` is another one.
const SEED: &str = "5";

#[test]
fn everything_arrives_once_whatever_is_done_to_ingestion() {
    let seed = std::env::var("TAFFRAIL_TEST_SEED").unwrap_or_else(|_| SEED.to_owned());
    let output = Command::new(env!("CARGO_BIN_EXE_chaos")).args(["--seed", &seed]).output().unwrap();
    let timeline = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{timeline}");
    eprintln!("{timeline}");
}
