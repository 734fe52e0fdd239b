//! What is measured of every log, so that classic rules find their metrics.
//!
//! `log_count` counts every log, `error_count` those of level error. `request_count` counts the logs that speak of a
//! request: those with `fields.duration_ms`, `fields.response_time` or `fields.status`; `response_time` is how long it
//! took. `cpu_usage` and `memory_usage` are the fields of those names that a host's agent may log.

use std::collections::BTreeMap;

use crate::{DerivedMetric, MatchExpression, MatchOperator, MetricType};

const DURATION: &str = "fields.duration_ms";
const RESPONSE_TIME: &str = "fields.response_time";
const STATUS: &str = "fields.status";

pub(super) fn derived() -> Vec<DerivedMetric> {
    let by_level = DerivedMetric { labels: labels(&["service", "host", "level"]), ..metric("log_count") };
    let errors =
        DerivedMetric { matches: BTreeMap::from([("level".to_owned(), "error".to_owned())]), ..metric("error_count") };
    // A log that has two of the fields still speaks of one request.
    let requests = [
        vec![exists(DURATION)],
        vec![exists(RESPONSE_TIME), missing(DURATION)],
        vec![exists(STATUS), missing(DURATION), missing(RESPONSE_TIME)],
    ];
    let requests =
        requests.map(|conditions| DerivedMetric { match_expressions: conditions, ..metric("request_count") });
    // Most logs have none of these fields, and must not count as logs whose value is missing.
    let times = [(DURATION, vec![exists(DURATION)]), (RESPONSE_TIME, vec![exists(RESPONSE_TIME), missing(DURATION)])];
    let times = times.map(|(key, conditions)| DerivedMetric {
        kind: MetricType::Histogram,
        value: Some(key.to_owned()),
        match_expressions: conditions,
        ..metric("response_time")
    });
    let usage = ["cpu_usage", "memory_usage"].map(|name| {
        let key = format!("fields.{name}");
        DerivedMetric {
            kind: MetricType::Gauge,
            match_expressions: vec![exists(&key)],
            value: Some(key),
            ..metric(name)
        }
    });
    [by_level, errors].into_iter().chain(requests).chain(times).chain(usage).collect()
}

fn metric(name: &str) -> DerivedMetric {
    DerivedMetric {
        name: name.to_owned(),
        kind: MetricType::Counter,
        matches: BTreeMap::new(),
        match_expressions: Vec::new(),
        value: None,
        labels: labels(&["service", "host"]),
        buckets: Vec::new(),
        max_series: 10_000,
    }
}

fn labels(keys: &[&str]) -> BTreeMap<String, String> {
    keys.iter().map(|key| ((*key).to_owned(), (*key).to_owned())).collect()
}

fn exists(key: &str) -> MatchExpression {
    MatchExpression { key: key.to_owned(), operator: MatchOperator::Exists, values: Vec::new() }
}

fn missing(key: &str) -> MatchExpression {
    MatchExpression { operator: MatchOperator::DoesNotExist, ..exists(key) }
}
