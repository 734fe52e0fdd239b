//! Metrics derived from logs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use taffrail_crds::{DerivedMetric, MatchExpression, MatchOperator, MetricType};
use taffrail_logstore::Level;

use crate::decode::canonical::{Key, Picked, Scalar, Wanted};
use crate::{Delta, DeltaKind};

/// What labels of the series say that takes what is beyond `maxSeries`.
const OVERFLOW: &str = "__overflow__";

/// Longer label values are cut off, so that one odd log does not cost the metrics store much.
const MAX_LABEL_BYTES: usize = 1_024;

type Labels = Arc<BTreeMap<String, String>>;

/// The derived metrics of one pipeline.
pub(crate) struct Deriver {
    metrics: Vec<Metric>,
    /// Matching logs whose value was missing, no number, or negative in a counter.
    pub(crate) without_value: u64,
    /// Deltas that went into a series of overflow.
    pub(crate) overflowed: u64,
}

struct Metric {
    name: Arc<str>,
    kind: DeltaKind,
    tests: Vec<Test>,
    /// Index of what was picked.
    value: Option<usize>,
    labels: Vec<(String, usize)>,
    /// By the values of the labels, each behind its length.
    series: HashMap<String, Labels>,
    max_series: usize,
    overflow: Labels,
}

struct Test {
    /// Index of what was picked.
    of: usize,
    is: Is,
}

enum Is {
    In(Vec<String>),
    NotIn(Vec<String>),
    Present,
    Absent,
    Above(f64),
    AtLeast(f64),
    Below(f64),
    AtMost(f64),
}

impl Is {
    fn holds(&self, value: Option<&Scalar<'_>>) -> bool {
        let number = || value.and_then(Scalar::number);
        match self {
            Self::In(values) => value.is_some_and(|value| values.iter().any(|other| *other == value.text())),
            Self::NotIn(values) => !value.is_some_and(|value| values.iter().any(|other| *other == value.text())),
            Self::Present => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Above(limit) => number().is_some_and(|number| number > *limit),
            Self::AtLeast(limit) => number().is_some_and(|number| number >= *limit),
            Self::Below(limit) => number().is_some_and(|number| number < *limit),
            Self::AtMost(limit) => number().is_some_and(|number| number <= *limit),
        }
    }
}

impl Deriver {
    /// # Errors
    /// When a metric asks for what no log has, or compares with what is no number. What must be picked from logs is added
    /// to `wanted`.
    pub(crate) fn new(specs: &[DerivedMetric], wanted: &mut Wanted) -> Result<Self, String> {
        let metrics = specs.iter().map(|spec| Metric::new(spec, wanted)).collect::<Result<_, _>>()?;
        Ok(Self { metrics, without_value: 0, overflowed: 0 })
    }

    /// Adds what one log, of the record at an offset, means for the metrics.
    pub(crate) fn derive(&mut self, picked: Picked<'_>, millis: i64, offset: u64, deltas: &mut Vec<Delta>) {
        for metric in &mut self.metrics {
            if !metric.tests.iter().all(|test| test.is.holds(picked.get(test.of).as_ref())) {
                continue;
            }
            let value = match metric.value {
                None => Some(1.0),
                Some(index) => picked.get(index).and_then(|value| value.number()),
            };
            let Some(value) = value.filter(|value| *value >= 0.0 || metric.kind != DeltaKind::Counter) else {
                self.without_value += 1;
                continue;
            };
            let labels = metric.labels(picked);
            if Arc::ptr_eq(&labels, &metric.overflow) {
                self.overflowed += 1;
            }
            let (metric, kind) = (metric.name.clone(), metric.kind);
            deltas.push(Delta { metric, kind, labels, timestamp: millis, value, offset });
        }
    }
}

impl Metric {
    fn new(spec: &DerivedMetric, wanted: &mut Wanted) -> Result<Self, String> {
        let mut slot = |text: &str| {
            let key = Key::read(text).ok_or_else(|| {
                format!(
                    "metric {}: `{text}` is no part of a log: write level, service, host, message, tags.<key> or fields.<key>",
                    spec.name
                )
            })?;
            Ok::<usize, String>(wanted.iter().position(|other| *other == key).unwrap_or_else(|| {
                wanted.push(key);
                wanted.len() - 1
            }))
        };
        let mut tests = Vec::new();
        for (key, value) in &spec.matches {
            tests.push(Test { of: slot(key)?, is: Is::In(vec![normalised(key, value)]) });
        }
        for expression in &spec.match_expressions {
            let is = read_expression(expression).map_err(|error| format!("metric {}: {error}", spec.name))?;
            tests.push(Test { of: slot(&expression.key)?, is });
        }
        let value = spec.value.as_deref().map(&mut slot).transpose()?;
        let mut labels = Vec::new();
        for (label, key) in &spec.labels {
            labels.push((label.clone(), slot(key)?));
        }
        let overflow = labels.iter().map(|(label, _)| (label.clone(), OVERFLOW.to_owned())).collect();
        Ok(Self {
            name: spec.name.as_str().into(),
            kind: match spec.kind {
                MetricType::Counter => DeltaKind::Counter,
                MetricType::Gauge => DeltaKind::Gauge,
                MetricType::Histogram => DeltaKind::Histogram,
            },
            tests,
            value,
            labels,
            series: HashMap::new(),
            max_series: usize::try_from(spec.max_series).unwrap_or(usize::MAX),
            overflow: Arc::new(overflow),
        })
    }

    fn labels(&mut self, picked: Picked<'_>) -> Labels {
        let values = self.labels.iter().map(|(_, index)| picked.get(*index));
        let mut key = String::new();
        for value in values.clone() {
            let value = value.as_ref().map(Scalar::text).unwrap_or_default();
            let value = shortened(&value);
            key.push_str(&value.len().to_string());
            key.push(':');
            key.push_str(value);
        }
        if let Some(labels) = self.series.get(&key) {
            return labels.clone();
        }
        if self.series.len() >= self.max_series {
            return self.overflow.clone();
        }
        let names = self.labels.iter().map(|(name, _)| name.clone());
        let labels: Labels = Arc::new(names.zip(values.map(|value| text(value.as_ref()))).collect());
        self.series.insert(key, labels.clone());
        labels
    }
}

fn text(value: Option<&Scalar<'_>>) -> String {
    shortened(&value.map(Scalar::text).unwrap_or_default()).to_owned()
}

fn shortened(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_LABEL_BYTES)]
}

/// Levels are compared in their normal form, however the pipeline spells them.
fn normalised(key: &str, value: &str) -> String {
    let level = (key == "level").then(|| Level::normalise(value)).flatten();
    level.map_or_else(|| value.to_owned(), |level| level.as_str().to_owned())
}

fn read_expression(expression: &MatchExpression) -> Result<Is, String> {
    let MatchExpression { key, operator, values } = expression;
    let number = || match values.as_slice() {
        [one] => one
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .ok_or_else(|| format!("`{key}` is compared with `{one}`, which is no number")),
        _ => Err(format!("`{key}` must be compared with exactly one number, not {}", values.len())),
    };
    let all = || values.iter().map(|value| normalised(key, value)).collect();
    Ok(match operator {
        MatchOperator::In => Is::In(all()),
        MatchOperator::NotIn => Is::NotIn(all()),
        MatchOperator::Exists => Is::Present,
        MatchOperator::DoesNotExist => Is::Absent,
        MatchOperator::Gt => Is::Above(number()?),
        MatchOperator::Gte => Is::AtLeast(number()?),
        MatchOperator::Lt => Is::Below(number()?),
        MatchOperator::Lte => Is::AtMost(number()?),
    })
}

#[cfg(test)]
mod tests;
