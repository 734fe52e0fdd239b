//! The controllers: objects become workloads, and status says what the workers loaded.
//!
//! Watches fill caches, and what they tell of becomes work in a queue (`watch`, `cache`, `queue`). Each controller looks
//! at one object: dereference, validate, build, apply. The middle two are pure; `resources` renders, `apply` writes.
//! Of the operator's replicas one does all this, by a Lease (`lease`); another begins when that one has stopped. All of
//! them answer the API server where it asks about objects before it takes them (`webhook`).

#![forbid(unsafe_code)]

mod apply;
mod cache;
mod child;
mod config;
mod context;
mod controllers;
mod discovery;
mod error;
mod events;
mod hash;
mod lease;
mod merge;
mod operator;
mod owned;
mod queue;
mod resources;
mod secrets;
mod status;
mod telemetry;
mod watch;
mod webhook;
mod workers;

pub use config::{Config, LeaseTimes};
pub use kube::Client;
pub use lease::LEASE;
pub use operator::{ConnectError, Operator, connect};
pub use status::REASONS;
pub use telemetry::OperatorMetrics;
pub use webhook::{Check, Findings, Lives, PATH as WEBHOOK_PATH, Webhook, serve as serve_webhook};

/// The name by which the operator applies fields.
pub const FIELD_MANAGER: &str = "taffrail-operator";
