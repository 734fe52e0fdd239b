//! What is written to the store: samples with their kind, batches that are counted once, and why a sample is refused.

use std::sync::Arc;

use taffrail_query::Labels;
use taffrail_runtime::deltas;
pub use taffrail_runtime::deltas::Origin;

/// Labels of a series, at most.
pub const MAX_LABELS: usize = 64;
/// Bytes of a metric's or a label's name, at most.
pub const MAX_NAME_BYTES: usize = 256;
/// Bytes of a label's value, at most.
pub const MAX_VALUE_BYTES: usize = 2048;
/// How far a sample's time may be ahead of the clock, in milliseconds: clocks differ, but a sample from next year
/// would never be pruned.
pub const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;

/// How the samples of a series are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Each sample is an increment, at the time of the event that caused it.
    Counter,
    /// Each sample is the running total since the counted thing started.
    CumulativeCounter,
    /// Each sample is the value at its time.
    Gauge,
    /// Each sample is one observed value of a distribution.
    Histogram,
}

impl From<deltas::Kind> for Kind {
    fn from(kind: deltas::Kind) -> Self {
        match kind {
            deltas::Kind::Counter => Self::Counter,
            deltas::Kind::Gauge => Self::Gauge,
            deltas::Kind::Histogram => Self::Histogram,
        }
    }
}

impl Kind {
    const ALL: [Self; 4] = [Self::Counter, Self::CumulativeCounter, Self::Gauge, Self::Histogram];

    /// The metric's type as Prometheus names it.
    #[must_use]
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Counter | Self::CumulativeCounter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    /// Whether the metric is a counter, of either temporality.
    #[must_use]
    pub const fn is_counter(self) -> bool {
        matches!(self, Self::Counter | Self::CumulativeCounter)
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Counter => "counter of increments",
            Self::CumulativeCounter => "counter of running totals",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    pub(crate) fn to_byte(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// One sample on its way into the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Delta {
    /// The metric's name. Shared, as labels are, because many samples have the same.
    pub metric: Arc<str>,
    /// How the value is to be read. All series of a metric have the same type.
    pub kind: Kind,
    /// The series' labels. One with an empty value is as one that is not there.
    pub labels: Arc<Labels>,
    /// When it happened, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The increment, running total, value or observation.
    pub value: f64,
}

/// Samples that are counted together or not at all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeltaBatch {
    /// Where the samples come from; a batch without is counted each time it is sent.
    pub origin: Option<Origin>,
    /// The samples, in order of their arrival. None is fine: the position moves on.
    pub samples: Vec<Delta>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pushed {
    /// Samples that are stored now.
    pub accepted: usize,
    /// Samples that are not, and will not be when sent again.
    pub refused: usize,
    /// Index in the batch and reason of the first refused samples, at most [`Pushed::MAX_REASONS`].
    pub reasons: Vec<(usize, Refusal)>,
    /// The whole batch had been counted before, so that nothing was done.
    pub seen: bool,
}

impl Pushed {
    /// Refused samples that are explained one by one.
    pub const MAX_REASONS: usize = 10;

    pub(crate) fn refuse(&mut self, index: usize, refusal: Refusal) {
        self.refused += 1;
        if self.reasons.len() < Self::MAX_REASONS {
            self.reasons.push((index, refusal));
        }
    }
}

/// Why a sample is not stored. The rest of its batch is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not a number, or infinite.
    #[error("the value of {0} is not finite")]
    NotFinite(String),
    /// A counter that counts down.
    #[error("{metric} is a counter and can't take the negative value {value}")]
    Negative {
        /// The metric.
        metric: String,
        /// The value.
        value: f64,
    },
    /// Older than what is kept.
    #[error("the timestamp {0} is older than the retention of the metrics store")]
    TooOld(i64),
    /// Further in the future than clocks differ.
    #[error("the timestamp {0} is more than 10 minutes in the future")]
    TooNew(i64),
    /// Not the name of a metric.
    #[error(
        "`{0}` is not the name of a metric: write letters, digits, `_`, `:` and `.`, no digit first, at most 256 bytes"
    )]
    Name(String),
    /// Labels that can't be.
    #[error("{0}")]
    Labels(String),
    /// There are as many series as there may be.
    #[error("{metric} would get a new series, and the store has its limit of {limit}: use fewer label values")]
    TooManySeries {
        /// The metric.
        metric: String,
        /// Series that the store may have.
        limit: usize,
    },
    /// The metric has another type.
    #[error("{metric} is a {}, the sample is for a {}", existing.description(), given.description())]
    Type {
        /// The metric.
        metric: String,
        /// What it is.
        existing: Kind,
        /// What the sample says it is.
        given: Kind,
    },
}

impl Refusal {
    /// A word for the reason, for a metric's label.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFinite(_) | Self::Negative { .. } => "value",
            Self::TooOld(_) => "too_old",
            Self::TooNew(_) => "too_new",
            Self::Name(_) => "name",
            Self::Labels(_) => "labels",
            Self::TooManySeries { .. } => "series_limit",
            Self::Type { .. } => "type",
        }
    }
}

/// What people are told about a metric.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Description {
    /// One line on what the metric means.
    pub help: String,
    /// Upper bounds of a histogram's buckets on `/metrics`, ascending; [`DEFAULT_BOUNDS`] where there are none.
    /// Quantiles do not depend on them.
    pub bounds: Vec<f64>,
}

/// Upper bounds of the buckets that a histogram without its own has on `/metrics`: 5 ms to 10 s in milliseconds.
pub const DEFAULT_BOUNDS: [f64; 11] = [5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0];

impl Description {
    pub(crate) fn bounds(&self) -> Arc<[f64]> {
        if self.bounds.is_empty() { Arc::from(DEFAULT_BOUNDS) } else { Arc::from(self.bounds.as_slice()) }
    }
}

/// Labels that count: those with a value.
pub(crate) fn present(labels: &Labels) -> impl Iterator<Item = (&str, &str)> + Clone {
    labels.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.as_str(), value.as_str()))
}

fn is_name(text: &str, colon: bool) -> bool {
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || (colon && byte == b':');
    text.len() <= MAX_NAME_BYTES
        && text.bytes().next().is_some_and(is_start)
        && text.bytes().all(|byte| is_start(byte) || byte.is_ascii_digit() || byte == b'.')
}

/// Whether a new series may be made for a sample: queries must be able to name it.
pub(crate) fn check_new_series(sample: &Delta) -> Result<(), Refusal> {
    if !is_name(&sample.metric, true) {
        return Err(Refusal::Name(shorten(&sample.metric)));
    }
    let refuse = |text: String| Err(Refusal::Labels(format!("{}: {text}", sample.metric)));
    let mut count = 0;
    for (name, value) in present(&sample.labels) {
        count += 1;
        if !is_name(name, false) {
            return refuse(format!(
                "`{}` is not the name of a label: write letters, digits, `_` and `.`, no digit first, at most 256 bytes",
                shorten(name)
            ));
        }
        let is_reserved = name == "__name__" || (name == "le" && sample.kind == Kind::Histogram);
        if is_reserved {
            return refuse(format!("the label `{name}` is reserved"));
        }
        if value.len() > MAX_VALUE_BYTES {
            return refuse(format!("the value of label `{name}` has {} bytes, at most 2048 may be", value.len()));
        }
    }
    if count > MAX_LABELS {
        return refuse(format!("{count} labels, at most {MAX_LABELS} may be"));
    }
    Ok(())
}

/// Whether a value and its time may be stored; `oldest` is the time before which nothing is kept.
pub(crate) fn check_sample(sample: &Delta, now: i64, oldest: i64) -> Result<(), Refusal> {
    if !sample.value.is_finite() {
        return Err(Refusal::NotFinite(shorten(&sample.metric)));
    }
    if sample.value < 0.0 && sample.kind.is_counter() {
        return Err(Refusal::Negative { metric: shorten(&sample.metric), value: sample.value });
    }
    if sample.timestamp_ms < oldest {
        return Err(Refusal::TooOld(sample.timestamp_ms));
    }
    if sample.timestamp_ms > now.saturating_add(MAX_AHEAD_MS) {
        return Err(Refusal::TooNew(sample.timestamp_ms));
    }
    Ok(())
}

/// Text for a message, so that a name of a megabyte does not make one of two.
fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn sample(metric: &str, labels: &[(&str, &str)]) -> Delta {
        let labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Delta { metric: metric.into(), kind: Kind::Histogram, labels: Arc::new(labels), timestamp_ms: 0, value: 1.0 }
    }

    #[rstest]
    #[case("", &[], "is not the name of a metric")]
    #[case("5xx", &[], "is not the name of a metric")]
    #[case("a b", &[], "is not the name of a metric")]
    #[case("m", &[("a-b", "x")], "`a-b` is not the name of a label")]
    #[case("m", &[("", "x")], "`` is not the name of a label")]
    #[case("m", &[("__name__", "x")], "the label `__name__` is reserved")]
    #[case("m", &[("le", "5")], "the label `le` is reserved")]
    fn what_a_query_could_not_name_is_refused(
        #[case] metric: &str,
        #[case] labels: &[(&str, &str)],
        #[case] message: &str,
    ) {
        let refusal = check_new_series(&sample(metric, labels)).expect_err("refused");
        assert!(refusal.to_string().contains(message), "{refusal}");
    }

    #[test]
    fn sizes_are_limited() {
        check_new_series(&sample("a.b:c_1", &[("service.name", "x y"), ("-", "")])).expect("valid");
        let long = "x".repeat(MAX_VALUE_BYTES + 1);
        check_new_series(&sample("m", &[("a", &long)])).expect_err("value");
        let refusal = check_new_series(&sample(&long, &[])).expect_err("name");
        assert!(refusal.to_string().len() < 300, "{refusal}");
        let names: Vec<_> = (0..=MAX_LABELS).map(|index| format!("l{index}")).collect();
        let labels: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        check_new_series(&sample("m", &labels)).expect_err("number of labels");
        check_new_series(&sample("m", &labels[1..])).expect("as many as may be");
    }
}
