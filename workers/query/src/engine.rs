//! What rules, panels and the REST API ask a metrics engine. One interface, so that one number comes out everywhere.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Labels, ShortQuery};

/// A number for one set of labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstantSeries {
    /// The labels named in `by`; none without `by`.
    pub labels: Labels,
    /// The value.
    pub value: f64,
}

/// Numbers over time for one set of labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RangeSeries {
    /// The labels named in `by`; none without `by`.
    pub labels: Labels,
    /// Time in milliseconds since 1970 and value; steps without data are left out.
    pub points: Vec<(i64, f64)>,
}

/// Evaluation times `from`, `from + step`, … up to and including `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// First evaluation, milliseconds since 1970.
    pub from: i64,
    /// No evaluation is later, milliseconds since 1970.
    pub to: i64,
    /// Milliseconds between evaluations, more than 0.
    pub step: i64,
}

/// Why an engine gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The engine can't be reached, or is not ready.
    #[error("the metrics engine does not answer: {0}")]
    Unavailable(String),
    /// The query is more than the engine will do.
    #[error("the query is too large: {0}")]
    TooLarge(String),
    /// The query can't be evaluated.
    #[error("the query can't be evaluated: {0}")]
    Invalid(String),
}

/// Answers queries on metrics. A window is the half-open interval `(at - window, at]`.
#[async_trait]
pub trait MetricsEngine: Send + Sync {
    /// The values at one time (milliseconds since 1970). An empty list is *no data*.
    async fn instant(&self, query: &ShortQuery, window: Duration, at: i64) -> Result<Vec<InstantSeries>, EngineError>;

    /// The values at each time of a range.
    async fn range(
        &self,
        query: &ShortQuery,
        window: Duration,
        range: TimeRange,
    ) -> Result<Vec<RangeSeries>, EngineError>;

    /// The names of all metrics, sorted.
    async fn metric_names(&self) -> Result<Vec<String>, EngineError>;

    /// The values that a label has on a metric (on any, if none is named), sorted.
    async fn label_values(&self, metric: Option<&str>, label: &str) -> Result<Vec<String>, EngineError>;
}
