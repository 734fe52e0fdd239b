//! The operator while the control plane itself is away: its API server killed, its etcd standing still. That disturbs
//! whoever else works on the same control plane: hence this program of its own, in which one test runs at a time.

#![allow(clippy::unwrap_used)]

mod api_server;
mod etcd;
mod processes;
mod replicas;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;
