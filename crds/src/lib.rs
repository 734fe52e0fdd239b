//! The three kinds of object that users apply, `LogPipeline`, `AlertRule` and `Dashboard`, as Rust types.
//!
//! Everything that Kubernetes needs to know of them (structural schema, CEL rules, printer columns) is derived from
//! these types; the generated YAML lies beside `Cargo.toml`, so that `kubectl apply -f crds/` works.

#![forbid(unsafe_code)]
// Printer columns of one type are no repetition.
#![allow(clippy::duplicated_attributes)]

mod alert_rule;
pub mod classic;
pub mod convert;
mod dashboard;
mod generate;
mod log_pipeline;
pub mod manifest;
mod object;
mod patterns;
pub mod prometheus;
mod references;
mod units;
mod yaml;

pub use alert_rule::*;
pub use dashboard::*;
pub use generate::{crds, file_name, to_yaml};
pub use log_pipeline::*;
pub use object::{DEFAULT_NAMESPACE, Kind, Object, ObjectKey, SecretData, secret_data};
pub use units::{ByteSize, Duration, UnitError};
pub use yaml::object_to_yaml;

/// The API group of every kind here.
pub const GROUP: &str = "taffrail.dev";

/// The API version of every kind here.
pub const VERSION: &str = "v1alpha1";
