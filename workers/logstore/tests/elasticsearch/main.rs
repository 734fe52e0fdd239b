//! The Elasticsearch store against a real Elasticsearch, and against a false one for what a real one does only when it
//! is unwell.
#![allow(clippy::unwrap_used, missing_docs)]

mod access;
#[path = "../conformance/mod.rs"]
mod conformance;
mod faults;
mod indices;
mod support;
