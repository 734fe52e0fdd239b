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
    /// The series that change, each with its changes.
    pub series: Vec<Changes>,
}

/// The changes of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// The series.
    #[serde(flatten)]
    pub series: Series,
    /// When: the first in milliseconds since 1970, every other one in milliseconds after the one before it.
    pub times: Vec<i64>,
    /// What: as many values; none at all where every one is 1, as it is in a counter of logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<f64>,
}

impl Changes {
    /// A series without changes.
    #[must_use]
    pub fn new(series: Series) -> Self {
        Self { series, times: Vec::new(), values: Vec::new() }
    }

    /// Adds a change. Those of one series are added one after the other, and `last` starts at 0.
    pub fn push(&mut self, last: &mut i64, timestamp: i64, value: f64) {
        // Bits, because that is what is kept: a negative zero is none.
        let is_one = value.to_bits() == 1_f64.to_bits();
        if !is_one && self.values.is_empty() {
            self.values.resize(self.times.len(), 1.0);
        }
        if !is_one || !self.values.is_empty() {
            self.values.push(value);
        }
        self.times.push(timestamp.wrapping_sub(*last));
        *last = timestamp;
    }

    /// Time, in milliseconds since 1970, and value of each change; none where times and values do not fit together.
    pub fn samples(&self) -> Option<impl Iterator<Item = (i64, f64)>> {
        let fits = self.values.is_empty() || self.values.len() == self.times.len();
        let mut last = 0_i64;
        let times = self.times.iter().map(move |step| {
            last = last.wrapping_add(*step);
            last
        });
        let values = self.values.iter().copied().chain(std::iter::repeat(1.0));
        fits.then(|| times.zip(values))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_out_as_they_went_in() {
        let series = Series { metric: "m".into(), kind: Kind::Counter, labels: Arc::default() };
        for values in [vec![], vec![1.0, 1.0], vec![1.0, 1.0, 2.5, 1.0, -0.0]] {
            let given: Vec<(i64, f64)> = [5, 3, i64::MAX, i64::MIN, 0].into_iter().zip(values).collect();
            let (mut changes, mut last) = (Changes::new(series.clone()), 0);
            given.iter().for_each(|(time, value)| changes.push(&mut last, *time, *value));
            let text = serde_json::to_string(&changes).expect("JSON");
            let read: Changes = serde_json::from_str(&text).expect("changes");
            assert_eq!(read.samples().expect("fit").collect::<Vec<_>>(), given, "{text}");
            assert_eq!(text.contains("values"), given.len() > 2);
        }
        assert!(Changes { times: vec![1, 2], values: vec![1.0], series }.samples().is_none());
    }
}
