//! Taffrail in a cluster with a node: the chart installed by Helm, objects applied by kubectl, and pods that move logs from
//! a real Kafka into a real Elasticsearch.
//!
//! The operator of most tests looks after the namespaces in [`support::NAMESPACES`], one for each test, and another one
//! after that of the test that wants peace. The tests in [`disruptions`] come last, one by one.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod disruptions;
mod from_nothing;
mod idle;
mod isolation;
mod monitoring;
mod neighbours;
mod rules;
mod support;
