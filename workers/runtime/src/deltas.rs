//! Derived metrics on their way from an ingestion worker to the metrics worker: the form that both agree on.
//!
//! `POST` [`PATH`] counts a [`Message`]; the answer is 200, or 409 with a [`Counted`] where a part of it was counted before,
//! or another 4xx for one that will never be counted, or 5xx for one that may be sent again. `GET` [`PATH`]`?source=…` answers with a [`Counted`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Where the metrics worker takes derived metrics.
pub const PATH: &str = "/api/v1/deltas";

/// Changes that are counted together or not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Where they come from; counted once, however often it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The series that change.
    pub series: Vec<Series>,
    /// Index of the series, milliseconds since 1970, and value.
    pub samples: Vec<(u32, i64, f64)>,
}

/// From which records of which source changes were made, so that they are counted exactly once however often they are
/// sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// A source whose records have offsets that are given only once: a pipeline's partition of one incarnation of a
    /// topic, or one file. At most 1,024 bytes.
    pub source: String,
    /// The offset of the first record.
    pub first: u64,
    /// The offset after the last record.
    pub next: u64,
}

/// A series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// The metric's name.
    pub metric: Arc<str>,
    /// Its type.
    pub kind: Kind,
    /// Its labels.
    pub labels: Arc<BTreeMap<String, String>>,
}

/// The type of a metric, and what a value of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An increment.
    Counter,
    /// The metric's value.
    Gauge,
    /// One observation.
    Histogram,
}

/// Up to where a source has been counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The first offset that is not; none for a source never seen.
    pub counted: Option<u64>,
}
