#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};
use taffrail_logstore::{LogEntry, Records};

use super::*;
use crate::decode::canonical::Reader;

/// A deriver, and who picks for it.
struct Rig {
    deriver: Deriver,
    reader: Reader,
}

fn deriver(metrics: Value) -> Rig {
    let specs: Vec<DerivedMetric> = serde_json::from_value(metrics).unwrap();
    let mut wanted = Wanted::new();
    Rig { deriver: Deriver::new(&specs, &mut wanted).unwrap(), reader: Reader::new(wanted) }
}

fn log(level: &str, service: &str, fields: Value) -> LogEntry {
    LogEntry {
        level: level.into(),
        service: service.into(),
        fields: fields.as_object().unwrap().clone(),
        ..LogEntry::default()
    }
}

fn derive(Rig { deriver, reader }: &mut Rig, log: &LogEntry) -> Vec<(Series, Delta)> {
    let mut deltas = Vec::new();
    let record = serde_json::to_string(log).unwrap();
    reader.read(&record, &mut Records::default());
    deriver.derive(reader.picked(&record), 42, 7, &mut deltas);
    let DeltaBatch { series, deltas, .. } = deriver.batch(deltas, None);
    deltas.into_iter().map(|delta| (series[delta.series as usize].clone(), delta)).collect()
}

/// Name, labels and value of deltas.
fn shown(deltas: &[(Series, Delta)]) -> Vec<(String, String, f64)> {
    let labels = |series: &Series| {
        series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    };
    deltas.iter().map(|(series, delta)| (series.metric.to_string(), labels(series), delta.value)).collect()
}

#[test]
fn what_overflows_names_the_label_at_fault_once() {
    let labels = json!({"level": "level", "user": "fields.user"});
    let mut metric = deriver(json!([{"name": "n", "type": "counter", "labels": labels, "maxSeries": 3}]));
    for user in 0..3 {
        derive(&mut metric, &log("info", "", json!({"user": format!("u{user}")})));
        assert_eq!(metric.deriver.overflow, None);
    }
    derive(&mut metric, &log("warn", "", json!({"user": "u3"})));
    let said = metric.deriver.overflow.take().unwrap();
    assert!(
        said.contains("`n` has its maxSeries of 3") && said.contains("`user` has 3 values, such as `u0`"),
        "{said}"
    );
    derive(&mut metric, &log("warn", "", json!({"user": "u4"})));
    assert_eq!((metric.deriver.overflow.take(), metric.deriver.overflowed), (None, 2));
}

#[test]
fn counters_count_what_matches() {
    let mut errors = deriver(json!([
        {"name": "error_count", "type": "counter", "match": {"level": "ERROR"}, "labels": {"service": "service"}},
        {"name": "bytes", "type": "counter", "value": "fields.bytes"},
    ]));
    let deltas = derive(&mut errors, &log("error", "api", json!({"bytes": "12.5"})));
    assert_eq!(
        shown(&deltas),
        [("error_count".into(), "service=api".into(), 1.0), ("bytes".into(), String::new(), 12.5)]
    );
    assert_eq!((deltas[0].1.timestamp, deltas[0].1.offset, deltas[0].0.kind), (42, 7, DeltaKind::Counter));
    assert!(derive(&mut errors, &log("info", "api", json!({"bytes": -1}))).is_empty());
    assert!(derive(&mut errors, &log("info", "api", json!({"bytes": "many"}))).is_empty());
    assert_eq!(errors.deriver.without_value, 2);
}

#[test]
fn gauges_and_histograms_take_any_number() {
    let mut metrics = deriver(json!([
        {"name": "temperature", "type": "gauge", "value": "fields.t"},
        {"name": "duration", "type": "histogram", "value": "fields.http.duration"},
    ]));
    let deltas = derive(&mut metrics, &log("info", "", json!({"t": -3, "http": {"duration": 1.5}})));
    assert_eq!(
        deltas.iter().map(|(series, delta)| (series.kind, delta.value)).collect::<Vec<_>>(),
        [(DeltaKind::Gauge, -3.0), (DeltaKind::Histogram, 1.5)]
    );
}

#[test]
fn expressions_compare() {
    for (operator, values, status, expected) in [
        ("In", json!(["500", "502"]), json!(502), true),
        ("In", json!(["500"]), json!(502), false),
        ("NotIn", json!(["500"]), json!(502), true),
        ("NotIn", json!(["500"]), Value::Null, true),
        ("NotIn", json!(["500"]), json!("500"), false),
        ("Exists", json!([]), json!(false), true),
        ("Exists", json!([]), Value::Null, false),
        ("DoesNotExist", json!([]), Value::Null, true),
        ("DoesNotExist", json!([]), json!(0), false),
        ("Gt", json!(["500"]), json!(500), false),
        ("Gte", json!(["500"]), json!("500"), true),
        ("Lt", json!(["500"]), json!(499.9), true),
        ("Lte", json!(["-1"]), json!(-1), true),
        ("Lte", json!(["5"]), Value::Null, false),
        ("Gt", json!(["5"]), json!("many"), false),
    ] {
        let mut metric = deriver(json!([{
            "name": "n", "type": "counter",
            "matchExpressions": [{"key": "fields.status", "operator": operator, "values": values}],
        }]));
        let deltas = derive(&mut metric, &log("", "", json!({"status": status})));
        assert_eq!(!deltas.is_empty(), expected, "{status} {operator} {values}");
    }
}

#[test]
fn what_can_not_be_derived_is_refused() {
    for (metric, expected) in [
        (json!({"name": "n", "type": "counter", "labels": {"a": "nonsense"}}), "`nonsense` is no part of a log"),
        (
            json!({"name": "n", "type": "counter", "matchExpressions": [{"key": "fields.a", "operator": "Gt", "values": ["x"]}]}),
            "`x`, which is no number",
        ),
        (
            json!({"name": "n", "type": "counter", "matchExpressions": [{"key": "fields.a", "operator": "Gt"}]}),
            "exactly one number, not 0",
        ),
    ] {
        let specs: Vec<DerivedMetric> = serde_json::from_value(json!([metric])).unwrap();
        let error = Deriver::new(&specs, &mut Wanted::new()).err().unwrap();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn labels_of_a_length_that_nobody_reads_are_cut_off_between_characters() {
    let mut metric = deriver(json!([{"name": "n", "type": "counter", "labels": {"s": "service"}}]));
    let long = "ä".repeat(2_000);
    let deltas = derive(&mut metric, &log("", &long, json!({})));
    assert_eq!(deltas[0].0.labels["s"], "ä".repeat(512));
}

proptest! {
    /// However many services there are, a metric has its series and one of overflow, and nothing goes uncounted.
    #[test]
    fn series_are_bounded_and_counts_are_kept(services in prop::collection::vec("[a-h]", 0..60), max in 1_u32..5) {
        let mut metric = deriver(json!([
            {"name": "n", "type": "counter", "labels": {"service": "service"}, "maxSeries": max},
        ]));
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        for service in &services {
            for (series, delta) in derive(&mut metric, &log("", service, json!({}))) {
                *counts.entry(series.labels["service"].clone()).or_default() += delta.value;
            }
        }
        let mut expected: BTreeMap<String, f64> = BTreeMap::new();
        let mut seen: Vec<&String> = Vec::new();
        for service in &services {
            if !seen.contains(&service) && seen.len() < max as usize {
                seen.push(service);
            }
            let name = if seen.contains(&service) { service.as_str() } else { OVERFLOW };
            *expected.entry(name.to_owned()).or_default() += 1.0;
        }
        prop_assert_eq!(metric.deriver.overflowed as f64, expected.get(OVERFLOW).copied().unwrap_or(0.0));
        prop_assert_eq!(counts, expected);
    }
}
