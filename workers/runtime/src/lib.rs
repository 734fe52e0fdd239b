//! What every worker shares: the board of objects and their status, where objects come from, telemetry, health,
//! shutdown and HTTP serving.

#![forbid(unsafe_code)]

mod board;
mod cluster;
mod condition;
pub mod deltas;
mod directory;
pub mod http;
pub mod redrive;
mod secret_files;
mod shutdown;
mod telemetry;

pub use board::{Board, Change, Entry, LoadProblem, Subscription};
pub use cluster::{Cluster, ClusterError};
pub use condition::{degraded, ready};
pub use directory::ObjectDirectory;
pub use secret_files::SecretFiles;
pub use shutdown::stop_signal;
pub use taffrail_crds::{ByteSize, Duration, Kind, Object, ObjectKey, SecretData};
pub use telemetry::{Telemetry, start_logging};

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
