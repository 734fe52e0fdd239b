//! The query languages: parse, check, one plan; and the interface of an engine that answers them.

#![forbid(unsafe_code)]

mod engine;
mod matcher;
mod remote;
mod short;

pub use engine::{EngineError, InstantSeries, MetricsEngine, RangeSeries, TimeRange};
pub use matcher::{MatchOp, Matcher};
pub use remote::RemoteEngine;
pub use short::{Function, QueryError, ShortQuery};

/// Labels of a series, sorted by name; the metric's name is not among them.
pub type Labels = std::collections::BTreeMap<String, String>;
