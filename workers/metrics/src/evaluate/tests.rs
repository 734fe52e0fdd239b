#![allow(clippy::unwrap_used)]
//! The engine against a reference that looks at all samples for each window and does nothing cleverly.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use taffrail_runtime::Telemetry;

use super::*;
use crate::{Delta, DeltaBatch, Options, SKETCH_RELATIVE_ERROR, Store};

const NOW: i64 = 1_700_000_000_000;

fn options() -> Options {
    Options { clock: Arc::new(|| NOW), ..Options::default() }
}

#[derive(Debug, Clone)]
struct Scenario {
    kind: Kind,
    /// Label set, milliseconds after the start, value; in order of arrival.
    samples: Vec<(usize, i64, f64)>,
    /// The store is closed and opened again, and a checkpoint written, after as many samples.
    restart: usize,
    checkpoint: usize,
}

#[derive(Debug, Clone)]
struct Question {
    query: ShortQuery,
    window: i64,
    range: TimeRange,
}

const START: i64 = NOW - 3_600_000;

/// The third has no label `host`.
fn labels(set: usize) -> Labels {
    let sets: [&[(&str, &str)]; 4] = [
        &[("service", "api"), ("host", "a")],
        &[("service", "api"), ("host", "b")],
        &[("service", "web"), ("host", "")],
        &[("service", "web"), ("host", "a")],
    ];
    sets[set].iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn values(kind: Kind) -> BoxedStrategy<f64> {
    let positive = prop_oneof![Just(1.0), (0..500_i32).prop_map(f64::from), 0.0..1e6_f64, Just(0.0)];
    if kind.is_counter() {
        positive.boxed()
    } else {
        (positive, any::<bool>()).prop_map(|(value, negative)| if negative { -value } else { value }).boxed()
    }
}

/// Samples within two minutes, not dense; with many of the same time.
fn scenarios() -> impl Strategy<Value = Scenario> {
    let kinds =
        prop_oneof![Just(Kind::Counter), Just(Kind::CumulativeCounter), Just(Kind::Gauge), Just(Kind::Histogram)];
    kinds.prop_flat_map(|kind| {
        let grain = prop_oneof![Just(1_i64), Just(500), Just(10_000)];
        let time = (0..120_000_i64, grain).prop_map(|(time, grain)| time / grain * grain);
        let samples = proptest::collection::vec((0..4_usize, time, values(kind)), 0..120);
        (samples, any::<bool>(), 0..150_usize, 0..150_usize).prop_map(
            move |(mut samples, sort, restart, checkpoint)| {
                if sort {
                    samples.sort_by_key(|sample| sample.1);
                }
                Scenario { kind, samples, restart, checkpoint }
            },
        )
    })
}

fn queries() -> impl Strategy<Value = ShortQuery> {
    let functions = prop::sample::select(vec![
        "sum", "count", "avg", "min", "max", "last", "rate", "p0", "p50", "p95", "p99.9", "p100",
    ]);
    let matchers = prop::sample::select(vec![
        "",
        "service=api",
        "service!=api",
        "host=\"\"",
        "host=~a|b",
        "service!~web host=b",
        "service=none",
    ]);
    let by = prop::sample::select(vec!["", "by service", "by host", "by host,service", "by nothing"]);
    (functions, matchers, by)
        .prop_map(|(function, matchers, by)| format!("{function} m {matchers} {by}").parse().expect("a query"))
}

fn questions(grain: i64) -> impl Strategy<Value = Question> {
    let window = prop_oneof![1..100_i64, 100..130_000_i64];
    (queries(), window, -20_000..140_000_i64, 1..20_000_i64, 0..30_i64).prop_map(
        move |(query, window, from, step, count)| {
            let round = |time: i64| time / grain * grain;
            let (window, step) = (round(window).max(grain), round(step).max(grain));
            let from = START + round(from);
            Question { query, window, range: TimeRange { from, to: from + count * step, step } }
        },
    )
}

fn stored(directory: &std::path::Path, scenario: &Scenario) -> Store {
    let mut store = Store::open(directory, options(), &Telemetry::default()).unwrap();
    for (index, part) in scenario.samples.chunks(7).enumerate() {
        let passes = |after: usize| (index * 7..index * 7 + 7).contains(&after);
        if passes(scenario.checkpoint) {
            store.core().checkpoint().unwrap();
        }
        if passes(scenario.restart) {
            drop(store);
            store = Store::open(directory, options(), &Telemetry::default()).unwrap();
        }
        let samples = part.iter().map(|(set, time, value)| Delta {
            metric: "m".into(),
            kind: scenario.kind,
            labels: Arc::new(labels(*set)),
            timestamp_ms: START + time,
            value: *value,
        });
        let batch = DeltaBatch { origin: None, samples: samples.collect() };
        assert_eq!(store.push(&batch).unwrap().accepted, part.len());
    }
    store
}

/// Time, rank of the series, order, value.
type Event = (i64, usize, usize, f64);

/// What happened in a series, whenever it was.
fn events(scenario: &Scenario, set: usize, rank: usize) -> Vec<Event> {
    let mine = scenario.samples.iter().enumerate().filter(|(_, sample)| sample.0 == set);
    let mut events: Vec<Event> = mine.map(|(order, sample)| (START + sample.1, rank, order, sample.2)).collect();
    events.sort_by_key(|event| (event.0, event.2));
    if scenario.kind != Kind::CumulativeCounter {
        return events;
    }
    let last_of_each_time: BTreeMap<i64, Event> = events.into_iter().map(|event| (event.0, event)).collect();
    let totals: Vec<Event> = last_of_each_time.into_values().collect();
    let increase = |before: f64, after: f64| if after >= before { after - before } else { after };
    (1..totals.len()).map(|at| (totals[at].0, rank, totals[at].2, increase(totals[at - 1].3, totals[at].3))).collect()
}

fn apply(function: Function, kind: Kind, window: i64, events: &[Event]) -> Option<f64> {
    let values: Vec<f64> = events.iter().map(|event| event.3).collect();
    let (sum, count) = (values.iter().sum::<f64>(), values.len() as f64);
    let seconds = window as f64 / 1000.0;
    match function {
        Function::Sum if kind.is_counter() => return Some(sum),
        Function::Count if kind.is_counter() => return Some(count),
        Function::Rate if kind.is_counter() => return Some(sum / seconds),
        _ if values.is_empty() => return None,
        _ => {}
    }
    Some(match function {
        Function::Sum => sum,
        Function::Count => count,
        Function::Rate => count / seconds,
        Function::Avg => sum / count,
        Function::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Function::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Function::Last => events.iter().max_by_key(|event| (event.0, event.1, event.2)).unwrap().3,
        Function::Quantile(quantile) => {
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            let rank = quantile * (sorted.len() - 1) as f64;
            let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
            low + (high - low) * (rank - rank.floor())
        }
    })
}

fn reference(
    scenario: &Scenario,
    question: &Question,
    events_of: impl Fn(usize, usize) -> Vec<Event>,
) -> BTreeMap<Labels, Vec<(i64, f64)>> {
    let mut seen: Vec<usize> = Vec::new();
    for (set, _, _) in &scenario.samples {
        if !seen.contains(set) {
            seen.push(*set);
        }
    }
    let mut groups: BTreeMap<Labels, Vec<Event>> = BTreeMap::new();
    for (rank, set) in seen.iter().enumerate() {
        let labels = labels(*set);
        let value = |name: &str| labels.get(name).map_or("", String::as_str);
        if question.query.matchers.iter().all(|matcher| matcher.matches(value(&matcher.label))) {
            let by = question.query.by.iter().filter(|name| !value(name).is_empty());
            let key = by.map(|name| (name.clone(), value(name).to_owned())).collect();
            groups.entry(key).or_default().extend(events_of(*set, rank));
        }
    }
    let mut answer = BTreeMap::new();
    for (key, events) in groups {
        let mut points = Vec::new();
        let mut at = question.range.from;
        while at <= question.range.to {
            let inside = |event: &&Event| event.0 > at - question.window && event.0 <= at;
            let window: Vec<Event> = events.iter().filter(inside).copied().collect();
            points.extend(
                apply(question.query.function, scenario.kind, question.window, &window).map(|value| (at, value)),
            );
            at += question.range.step;
        }
        if !points.is_empty() {
            answer.insert(key, points);
        }
    }
    answer
}

fn asked(store: &Store, question: &Question) -> Vec<RangeSeries> {
    let window = Duration::from_millis(question.window as u64);
    evaluate(store.core(), &question.query, window, question.range, &Limits::default()).unwrap()
}

fn compare(
    found: &[RangeSeries],
    expected: &BTreeMap<Labels, Vec<(i64, f64)>>,
    tolerance: f64,
) -> Result<(), TestCaseError> {
    prop_assert!(found.is_sorted_by(|a, b| a.labels < b.labels));
    prop_assert_eq!(found.iter().map(|series| &series.labels).collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (series, points) in found.iter().zip(expected.values()) {
        prop_assert_eq!(series.points.len(), points.len(), "{:?} {:?}", series.points, points);
        for (found, expected) in series.points.iter().zip(points) {
            let close = (found.1 - expected.1).abs() <= tolerance * expected.1.abs().max(1e-3);
            prop_assert!(found.0 == expected.0 && close, "{:?} instead of {:?}", found, expected);
        }
    }
    Ok(())
}

/// Samples that share few seconds, so that most are summed up.
fn dense_scenarios() -> impl Strategy<Value = Scenario> {
    prop_oneof![Just(Kind::Counter), Just(Kind::Gauge), Just(Kind::Histogram)].prop_flat_map(|kind| {
        let samples = proptest::collection::vec((0..2_usize, 0..6_000_i64, values(kind)), 100..900);
        (samples, any::<bool>()).prop_map(move |(mut samples, sort)| {
            if sort {
                samples.sort_by_key(|sample| second(sample.1));
            }
            Scenario { kind, samples, restart: usize::MAX, checkpoint: usize::MAX }
        })
    })
}

fn second(time: i64) -> i64 {
    (START + time + 999) / 1000
}

/// The events of a series, with the values after the 32nd of a second as the buckets of a sketch say them.
fn bucketed_events(scenario: &Scenario, set: usize, rank: usize) -> Vec<Event> {
    let mut by_second: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
    for (order, (_, time, value)) in scenario.samples.iter().enumerate().filter(|(_, sample)| sample.0 == set) {
        by_second.entry(second(*time)).or_default().push((START + time, rank, order, *value));
    }
    let gamma = (1.0 + SKETCH_RELATIVE_ERROR) / (1.0 - SKETCH_RELATIVE_ERROR);
    for events in by_second.values_mut() {
        let rest = events.get_mut(32..).unwrap_or_default();
        let least = rest.iter().map(|event| event.3).fold(f64::INFINITY, f64::min);
        let greatest = rest.iter().map(|event| event.3).fold(f64::NEG_INFINITY, f64::max);
        for event in rest.iter_mut().filter(|event| event.3 != 0.0) {
            let bucket = (event.3.abs().ln() / gamma.ln()).ceil();
            let middle = 2.0 * gamma.powf(bucket) / (gamma + 1.0);
            event.3 = middle.copysign(event.3).clamp(least, greatest);
        }
    }
    by_second.into_values().flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_engine_agrees_with_the_reference(
        scenario in scenarios(),
        questions in proptest::collection::vec(questions(1), 12),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let store = stored(directory.path(), &scenario);
        for question in &questions {
            let expected = reference(&scenario, question, |set, rank| events(&scenario, set, rank));
            let found = asked(&store, question);
            compare(&found, &expected, 1e-9)?;
            // One number everywhere: each time by itself gives the same as the range, to the last bit.
            for series in &found {
                let (at, value) = series.points[series.points.len() / 2];
                let single = TimeRange { from: at, to: at, step: 1 };
                let alone = asked(&store, &Question { range: single, ..question.clone() });
                let alone = alone.iter().find(|other| other.labels == series.labels).map(|other| other.points[0]);
                let (_, alone) = alone.expect("the same group");
                prop_assert!((alone - value).abs() <= 1e-14 * value.abs(), "{alone} alone, {value} in the range");
            }
        }
    }

    #[test]
    fn dense_seconds_stay_within_their_promise(
        scenario in dense_scenarios(),
        questions in proptest::collection::vec(questions(1000), 12),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let store = stored(directory.path(), &scenario);
        let in_order = scenario.samples.is_sorted_by_key(|sample| second(sample.1));
        for question in &questions {
            let exact = reference(&scenario, question, |set, rank| events(&scenario, set, rank));
            let found = asked(&store, question);
            if let Function::Quantile(_) = question.query.function {
                if in_order {
                    let bucketed = |set, rank| bucketed_events(&scenario, set, rank);
                    compare(&found, &reference(&scenario, question, bucketed), 1e-9)?;
                }
                // Between a negative and a positive value the error is relative to these, not to what lies between.
                if scenario.kind == Kind::Counter {
                    compare(&found, &exact, SKETCH_RELATIVE_ERROR + 1e-9)?;
                }
            } else {
                compare(&found, &exact, 1e-9)?;
            }
        }
    }
}

fn simple(kind: Kind, samples: &[(i64, f64)]) -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let samples = samples.iter().map(|(time, value)| (0, *time, *value)).collect();
    let scenario = Scenario { kind, samples, restart: usize::MAX, checkpoint: usize::MAX };
    let store = stored(directory.path(), &scenario);
    (directory, store)
}

fn one(store: &Store, query: &str, window: i64, at: i64) -> Option<f64> {
    let range = TimeRange { from: START + at, to: START + at, step: 1 };
    let question = Question { query: query.parse().unwrap(), window, range };
    asked(store, &question).first().map(|series| series.points[0].1)
}

#[test]
fn the_first_increment_ever_counts() {
    let (_directory, store) = simple(Kind::Counter, &[(60_000, 1.0)]);
    assert_eq!(one(&store, "sum m", 30_000, 59_999), Some(0.0));
    assert_eq!(one(&store, "sum m", 30_000, 60_000), Some(1.0));
    assert_eq!(one(&store, "sum m", 30_000, 90_000), Some(0.0));
    assert_eq!(one(&store, "count m", 30_000, 90_000), Some(0.0));
    assert_eq!(one(&store, "rate m", 30_000, 90_000), Some(0.0));
    for function in ["avg", "min", "max", "last", "p50"] {
        assert_eq!(one(&store, &format!("{function} m"), 30_000, 90_000), None, "{function}");
    }
    assert_eq!(one(&store, "sum unknown", 30_000, 60_000), None);
    assert_eq!(one(&store, "sum m service=none", 30_000, 60_000), None);
}

#[test]
fn increments_of_the_same_millisecond_all_count() {
    let (_directory, store) = simple(Kind::Counter, &[(5, 2.0), (5, 2.0), (5, 3.0), (5, 2.0)]);
    assert_eq!(one(&store, "sum m", 10, 10), Some(9.0));
    assert_eq!(one(&store, "count m", 10, 10), Some(4.0));
    assert_eq!(one(&store, "avg m", 10, 10), Some(2.25));
    assert_eq!(one(&store, "last m", 10, 10), Some(2.0));
    assert_eq!(one(&store, "max m", 10, 10), Some(3.0));
}

#[test]
fn a_cumulative_counter_survives_its_reset_and_starts_with_its_second_sample() {
    let samples = [(0, 100.0), (15_000, 110.0), (30_000, 5.0), (45_000, 6.0)];
    let (_directory, store) = simple(Kind::CumulativeCounter, &samples);
    assert_eq!(one(&store, "sum m", 60_000, 0), Some(0.0));
    assert_eq!(one(&store, "sum m", 60_000, 15_000), Some(10.0));
    assert_eq!(one(&store, "sum m", 60_000, 45_000), Some(16.0));
    // The sample before the window is what the first one in it is compared with.
    assert_eq!(one(&store, "sum m", 15_000, 45_000), Some(1.0));
    assert_eq!(one(&store, "count m", 60_000, 45_000), Some(3.0));
}

#[test]
fn what_is_too_much_is_refused_with_advice() {
    let (_directory, store) = simple(Kind::Gauge, &[(1, 1.0), (2, 1.0), (3, 1.0)]);
    let ask = |window: u64, from: i64, to: i64, step: i64, limits: Limits| {
        let query = "sum m by service".parse().unwrap();
        let range = TimeRange { from, to, step };
        evaluate(store.core(), &query, Duration::from_millis(window), range, &limits).unwrap_err().to_string()
    };
    let limits = Limits::default();
    assert!(ask(1, 0, 11_000, 1, limits).contains("11001 times, at most 11000"));
    assert!(ask(0, 0, 10, 1, limits).contains("the window must be longer than 0"));
    assert!(ask(1, 0, 10, 0, limits).contains("the step must be longer than 0"));
    assert!(ask(1, 10, 0, 1, limits).contains("the range begins after its end"));
    assert!(ask(1, i64::MIN, i64::MIN, 1, limits).contains("too far away"));
    assert!(ask(1, 0, 0, 1, Limits { series: 0, ..limits }).contains("1 series, at most 0"));
    assert!(ask(1, 0, 1, 1, Limits { points: 1, ..limits }).contains("1 groups at 2 times"));
    let near = Limits { samples: 2, ..limits };
    assert!(ask(10, START + 5, START + 5, 1, near).contains("more than 2 samples"));
    let slow = Limits { time: Duration::ZERO, ..limits };
    assert!(ask(10, START + 5, START + 5, 1, slow).contains("longer than 0 s"));
}
