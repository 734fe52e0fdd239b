//! The Elasticsearch store against a real Elasticsearch, and against a false one for what a real one does only when it
//! is unwell.
#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod agreement;
mod faults;
mod letters;
mod mapping;
mod paging;
mod support;
mod writing;
