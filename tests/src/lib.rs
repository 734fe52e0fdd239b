//! End-to-end tests: the program as users start it, against real Kafka and Elasticsearch. This is the harness; the
//! tests are in `tests/`.

pub mod brokers;
pub mod chaos;
pub mod elasticsearch;
pub mod ingestion;
pub mod kafka;
pub mod kubernetes;
pub mod node;
pub mod process;
pub mod proxy;
pub mod taffrail;
mod wait;
pub mod webhook;

use std::path::{Path, PathBuf};

pub use wait::{eventually, unique};

/// A file or folder of the checkout.
#[must_use]
pub fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).join(path)
}

/// A variable by which `cargo xtask test` says where a server is.
///
/// # Panics
/// When it is not set.
#[must_use]
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: run these tests by `cargo xtask test`, or start the servers by `cargo xtask servers`"
        )
    })
}
