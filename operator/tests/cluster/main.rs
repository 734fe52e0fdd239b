//! The operator on a real API server with its controller manager, and no nodes: pods are made, and a stand-in for the
//! kubelet says that they run. What workers say of themselves comes from a stand-in for their status endpoint.

#![allow(clippy::unwrap_used)]

mod isolation;
mod kills;
mod leadership;
mod neighbours;
mod owners;
mod pipelines;
mod rights;
mod rivals;
mod shared;
#[path = "../support/mod.rs"]
mod support;
mod webhook;
mod withdrawn;
mod writes;
