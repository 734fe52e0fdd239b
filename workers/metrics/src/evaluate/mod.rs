//! The short query form on the store's series.
//!
//! A range is cut at all beginnings and ends of its windows. Each sample is put into the pane between two cuts that it
//! lies in, whichever series of the group it is from; then the windows, which are runs of panes, slide over them. So a
//! sample is touched once, however many windows it is in. One time is a range of one step: both give the same number.
//!
//! What the samples of a window are, by kind of the series:
//! - delta counter: its increments, each at the time of its event;
//! - cumulative counter: the differences between one sample and the next, each at the time of the later one, which must
//!   lie in the window, the earlier need not. A total that is less than the one before began anew from zero. The very
//!   first sample has nothing before it and is no increment: what it counts may have happened long ago. Of several samples
//!   at one time the last to come holds;
//! - gauge: its samples; histogram: its observations.

mod aggregate;
mod panes;
mod quantile;

use std::time::{Duration, Instant};

use taffrail_query::{EngineError, Function, Labels, MatchOp, Matcher, RangeSeries, ShortQuery, TimeRange};

use self::aggregate::Aggregate;
use self::panes::Panes;
use self::quantile::Quantiles;
use crate::index::Group;
use crate::model::Kind;
use crate::series::View;
use crate::state::shard_of;
use crate::store::Core;

/// What one query may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) steps: usize,
    pub(crate) series: usize,
    /// Samples that are decoded.
    pub(crate) samples: usize,
    /// Numbers in the answer.
    pub(crate) points: usize,
    pub(crate) time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 11_000, series: 1_000_000, samples: 50_000_000, points: 2_000_000, time: Duration::from_secs(30) }
    }
}

fn too_large(message: String) -> EngineError {
    EngineError::TooLarge(message)
}

/// Evaluates a query at each step of a range.
pub(crate) fn evaluate(
    core: &Core,
    query: &ShortQuery,
    window: Duration,
    range: TimeRange,
    limits: &Limits,
) -> Result<Vec<RangeSeries>, EngineError> {
    let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 4);
    let steps = steps(window_ms, range, limits)?;
    let deadline = Instant::now() + limits.time;
    let groups = {
        let index = core.index.read();
        let selected = index.select(&query.metric, &query.matchers);
        if selected.len() > limits.series {
            return Err(too_large(format!(
                "it reads {} series, at most {} may be: add a label matcher",
                selected.len(),
                limits.series
            )));
        }
        index.group(selected, &query.by)
    };
    if groups.len().saturating_mul(steps.len()) > limits.points {
        return Err(too_large(format!(
            "{} groups at {} times are more than {} numbers: use fewer labels in `by`, or a longer step",
            groups.len(),
            steps.len(),
            limits.points
        )));
    }
    let mut budget = Budget { samples: limits.samples, limits, deadline };
    let mut answer = Vec::new();
    for group in &groups {
        let values = group_values(core, query.function, group, window_ms, &steps, &mut budget)?;
        let points: Vec<_> = steps.iter().zip(values).filter_map(|(time, value)| Some((*time, value?))).collect();
        if !points.is_empty() {
            answer.push(RangeSeries { labels: group.labels.clone(), points });
        }
    }
    Ok(answer)
}

/// The times of evaluation.
fn steps(window_ms: i64, range: TimeRange, limits: &Limits) -> Result<Vec<i64>, EngineError> {
    let invalid = |message: &str| Err(EngineError::Invalid(message.to_owned()));
    if window_ms <= 0 {
        return invalid("the window must be longer than 0");
    }
    if range.step <= 0 {
        return invalid("the step must be longer than 0");
    }
    if range.from > range.to {
        return invalid("the range begins after its end");
    }
    if range.from.unsigned_abs().max(range.to.unsigned_abs()) > i64::MAX as u64 / 4 {
        return invalid("the time is too far away");
    }
    let count = (range.to - range.from) / range.step + 1;
    if count > limits.steps as i64 {
        return Err(too_large(format!(
            "it is evaluated at {count} times, at most {} may be: choose a longer step",
            limits.steps
        )));
    }
    Ok((0..count).map(|index| range.from + index * range.step).collect())
}

/// What is left of the limits.
struct Budget<'a> {
    samples: usize,
    limits: &'a Limits,
    deadline: Instant,
}

impl Budget<'_> {
    fn spend(&mut self, samples: usize) -> Result<(), EngineError> {
        self.samples = self.samples.checked_sub(samples).ok_or_else(|| {
            too_large(format!(
                "it reads more than {} samples: add a label matcher, or choose a shorter window or range",
                self.limits.samples
            ))
        })?;
        if Instant::now() > self.deadline {
            return Err(too_large(format!(
                "it took longer than {} s: add a label matcher, or choose a shorter window or range",
                self.limits.time.as_secs()
            )));
        }
        Ok(())
    }
}

/// What collects the samples of a group.
trait Collect {
    fn sample(&mut self, time: i64, value: f64, series: u32);
    fn dense(&mut self, time: i64, sketch: &crate::sketch::Sketch, series: u32);
}

fn group_values(
    core: &Core,
    function: Function,
    group: &Group,
    window_ms: i64,
    steps: &[i64],
    budget: &mut Budget<'_>,
) -> Result<Vec<Option<f64>>, EngineError> {
    let panes = Panes::new(steps, window_ms);
    if let Function::Quantile(quantile) = function {
        let mut quantiles = Quantiles::new(&panes);
        read(core, group, &panes, budget, &mut quantiles)?;
        return Ok(quantiles.evaluate(quantile));
    }
    let mut aggregates = aggregate::Collected::new(&panes);
    let has_counter = read(core, group, &panes, budget, &mut aggregates)?;
    let seconds = window_ms as f64 / 1000.0;
    let value = |aggregate: Aggregate| aggregate.finish(function, has_counter, seconds);
    Ok(aggregates.evaluate().into_iter().map(value).collect())
}

/// Hands all samples of a group to a collector. Whether there is a counter among its series.
fn read(
    core: &Core,
    group: &Group,
    panes: &Panes,
    budget: &mut Budget<'_>,
    into: &mut impl Collect,
) -> Result<bool, EngineError> {
    let (from, to) = panes.span();
    let mut has_counter = false;
    for selected in &group.series {
        let (shard, slot) = shard_of(selected.id);
        let (kind, view) = {
            let shard = core.shards[shard].read();
            // Dropped since, and the number perhaps given to another.
            let Some(Some(series)) = shard.get(slot) else { continue };
            if series.identity != selected.identity {
                continue;
            }
            (series.kind(), series.view(from, to))
        };
        has_counter |= kind.is_counter();
        budget.spend(view.len())?;
        hand_over(kind, &view, from, to, selected.id, into);
    }
    Ok(has_counter)
}

fn hand_over(kind: Kind, view: &View, from: i64, to: i64, id: u32, into: &mut impl Collect) {
    if kind == Kind::CumulativeCounter {
        let samples = view.sorted(to);
        for pair in samples.windows(2) {
            let ((_, before), (time, after)) = (pair[0], pair[1]);
            if time > from {
                into.sample(time, if after < before { after } else { after - before }, id);
            }
        }
        return;
    }
    for (time, value) in view.samples(from, to) {
        into.sample(time, value, id);
    }
    for (time, sketch) in view.dense() {
        into.dense(*time, sketch, id);
    }
}

/// Labels and metric of the series that fit matchers, with or without a metric's name.
pub(crate) fn matching_series(
    core: &Core,
    metric: Option<&str>,
    matchers: &[Matcher],
    limit: usize,
) -> Result<Vec<(String, Labels)>, EngineError> {
    let index = core.index.read();
    let (names, matchers): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|matcher| matcher.label == "__name__");
    let matchers: Vec<Matcher> = matchers.into_iter().cloned().collect();
    let mut metrics = match metric {
        Some(metric) => vec![metric.to_owned()],
        None => match names.iter().find(|matcher| matches!(matcher.op, MatchOp::Equal)) {
            Some(exact) => vec![exact.value.clone()],
            None => index.metric_names(),
        },
    };
    metrics.retain(|metric| names.iter().all(|matcher| matcher.matches(metric)));
    let mut found = Vec::new();
    for metric in metrics {
        for series in index.select(&metric, &matchers) {
            if found.len() == limit {
                return Err(too_large(format!("it finds more than {limit} series: add a label matcher")));
            }
            if let Some((_, labels)) = index.describe(series.id) {
                let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                found.push((metric.clone(), labels));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests;
