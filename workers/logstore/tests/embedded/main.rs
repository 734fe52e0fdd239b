//! The embedded store: that it does what every store does, and what only it can be asked for.
#![allow(clippy::unwrap_used, missing_docs)]

mod agreement;
#[path = "../conformance/mod.rs"]
mod conformance;
mod crash;
mod folder;
mod support;
