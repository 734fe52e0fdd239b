//! Metrics derived from logs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use taffrail_crds::{DerivedMetric, MatchExpression, MatchOperator, MetricType};
use taffrail_logstore::Level;

use crate::decode::canonical::{Key, Picked, Scalar, Wanted};
use crate::{Delta, DeltaBatch, DeltaKind, Origin, Series};

/// What labels of the series say that takes what is beyond `maxSeries`.
const OVERFLOW: &str = "__overflow__";

/// Longer label values are cut off, so that one odd log does not cost the metrics store much.
const MAX_LABEL_BYTES: usize = 1_024;

/// The derived metrics of one pipeline.
pub(crate) struct Deriver {
    metrics: Vec<Metric>,
    /// All series that there have been. Deltas name them by their place here until they are made a batch.
    series: Vec<Series>,
    /// For each of them its place in the batch that is made; none of them has one in between.
    places: Vec<Option<u32>>,
    /// Matching logs whose value was missing, no number, or negative in a counter.
    pub(crate) without_value: u64,
    /// Deltas that went into a series of overflow.
    pub(crate) overflowed: u64,
    /// What there is to say of the metric that overflowed last, until somebody takes it.
    pub(crate) overflow: Option<String>,
}

struct Metric {
    name: Arc<str>,
    kind: DeltaKind,
    tests: Vec<Test>,
    /// Index of what was picked.
    value: Option<usize>,
    labels: Vec<(String, usize)>,
    /// Places of series by the values of their labels, each behind its length.
    known: FxHashMap<Box<[u8]>, u32>,
    /// Of labels that are looked up.
    key: Vec<u8>,
    max_series: usize,
    /// The place of the series that takes what is beyond, once there is something.
    overflow: Option<u32>,
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
        Ok(Self { metrics, series: Vec::new(), places: Vec::new(), without_value: 0, overflowed: 0, overflow: None })
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
            let had_overflow = metric.overflow.is_some();
            let series = metric.series(picked, &mut self.series);
            if metric.overflow.is_some() && !had_overflow {
                self.overflow = Some(metric.why_it_overflows(&self.series));
            }
            if metric.overflow == Some(series) {
                self.overflowed += 1;
            }
            deltas.push(Delta { series, timestamp: millis, value, offset });
        }
    }

    /// Deltas that [`Self::derive`] made, with the series that they are of.
    pub(crate) fn batch(&mut self, mut deltas: Vec<Delta>, origin: Option<Origin>) -> DeltaBatch {
        self.places.resize(self.series.len(), None);
        let mut used = Vec::new();
        for delta in &mut deltas {
            let known = delta.series as usize;
            delta.series = *self.places[known].get_or_insert_with(|| {
                used.push(known);
                // A batch has far fewer records than that.
                u32::try_from(used.len() - 1).unwrap_or(u32::MAX)
            });
        }
        used.iter().for_each(|known| self.places[*known] = None);
        let series = used.iter().map(|known| self.series[*known].clone()).collect();
        DeltaBatch { origin, series, deltas }
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
            known: FxHashMap::default(),
            key: Vec::new(),
            max_series: usize::try_from(spec.max_series).unwrap_or(usize::MAX),
            overflow: None,
        })
    }

    /// The place of the series that a log belongs to.
    fn series(&mut self, picked: Picked<'_>, all: &mut Vec<Series>) -> u32 {
        self.key.clear();
        for (_, index) in &self.labels {
            let value = picked.get(*index);
            let value = value.as_ref().map(Scalar::text).unwrap_or_default();
            let value = shortened(&value);
            self.key.extend_from_slice(&value.len().to_ne_bytes());
            self.key.extend_from_slice(value.as_bytes());
        }
        if let Some(place) = self.known.get(self.key.as_slice()) {
            return *place;
        }
        let mut add = |labels: BTreeMap<String, String>| {
            all.push(Series { metric: self.name.clone(), kind: self.kind, labels: Arc::new(labels) });
            // Metrics have a million series at most.
            u32::try_from(all.len() - 1).unwrap_or(u32::MAX)
        };
        if self.known.len() >= self.max_series {
            let labels = self.labels.iter().map(|(label, _)| (label.clone(), OVERFLOW.to_owned()));
            return *self.overflow.get_or_insert_with(|| add(labels.collect()));
        }
        let value = |index: usize| text(picked.get(index).as_ref());
        let place = add(self.labels.iter().map(|(name, index)| (name.clone(), value(*index))).collect());
        self.known.insert(self.key.as_slice().into(), place);
        place
    }

    /// The label with the most values is at fault.
    fn why_it_overflows(&self, all: &[Series]) -> String {
        let own = || all.iter().filter(|series| series.metric == self.name).map(|series| &series.labels);
        let is_own = |value: &&String| *value != OVERFLOW;
        let values = |label: &str| own().filter_map(|labels| labels.get(label)).filter(is_own).collect::<BTreeSet<_>>();
        let worst = self.labels.iter().map(|(label, _)| (label, values(label))).max_by_key(|(_, values)| values.len());
        let Self { name, max_series, .. } = self;
        let (label, values) = worst.map(|(label, values)| (label.as_str(), values)).unwrap_or_default();
        let example = values.first().map(|value| value.as_str()).unwrap_or_default();
        format!(
            "the derived metric `{name}` has its maxSeries of {max_series}, and what is beyond is counted with the label \
             value `{OVERFLOW}`; its label `{label}` has {} values, such as `{example}`: leave it out, or raise maxSeries",
            values.len()
        )
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
