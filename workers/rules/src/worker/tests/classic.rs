//! The classic rules, converted, on the real metrics store: each fires and resolves at exactly the right evaluation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use taffrail_crds::{LogReceiver, Object, ObjectKey, Receiver};
use taffrail_metrics::{Delta, DeltaBatch, Kind, Options, Store};
use taffrail_runtime::{Board, Telemetry};

use crate::clock::Clock;
use crate::testing::{START, labels};
use crate::{RuleWorker, RuleWorkerConfig, TestClock, schedule};

const RULES: &str = include_str!("../../../../../examples/alert_rules.json");

const INTERVAL: i64 = 30_000;

/// What happens: in which second, to which metric, and how often.
fn story() -> Vec<(i64, Delta)> {
    let mut story = Vec::new();
    let mut add = |second: i64, metric: &str, kind: Kind, series: &str, values: &[f64]| {
        for value in values {
            let (labels, timestamp_ms) = (Arc::new(labels(series)), 0);
            story.push((second, Delta { metric: metric.into(), kind, labels, timestamp_ms, value: *value }));
        }
    };
    // 100 errors a second from second 60 to 119: more than 3,000 in five minutes from 90 on, and up to 389.
    for second in 60..120 {
        add(second, "error_count", Kind::Counter, "service=api,host=a", &[60.0, 40.0]);
        add(second, "error_count", Kind::Counter, "service=web", &[1_000.0]);
    }
    // One request in six is slow from second 120 on; they are out of the ten minutes at 720.
    add(10, "response_time", Kind::Histogram, "service=api", &[100.0; 100]);
    add(120, "response_time", Kind::Histogram, "service=api", &[1_000.0; 20]);
    add(300, "response_time", Kind::Histogram, "service=web", &[100.0; 100]);
    // Requests up to second 200: none in five minutes from 500 on, until there is one at 800.
    for second in (10..=200).step_by(10).chain([800]) {
        add(second, "request_count", Kind::Counter, "service=api", &[1.0]);
    }
    // A mean of 95 from second 60 on, and of 80 from 120 on.
    for (second, value) in [(5, 80.0), (60, 110.0), (120, 50.0)] {
        add(second, "cpu_usage", Kind::Gauge, "host=web01", &[value]);
    }
    story
}

#[tokio::test]
async fn classic_rules_fire_and_resolve_at_exactly_the_right_evaluation() {
    let directory = tempfile::tempdir().unwrap();
    let start = START.parse::<jiff::Timestamp>().unwrap();
    let clock = Arc::new(TestClock::new(start));
    let (telemetry, board) = (Telemetry::default(), Board::new());
    let now = {
        let clock = clock.clone();
        move || clock.now().as_millisecond()
    };
    let options = Options { clock: Arc::new(now), ..Options::default() };
    let store = Store::open(&directory.path().join("metrics"), options, &telemetry).unwrap();
    let worker = RuleWorker::start(RuleWorkerConfig {
        board: board.clone(),
        engine: Arc::new(store.clone()),
        data_dir: directory.path().join("rules"),
        default_receivers: vec![Receiver { log: Some(LogReceiver {}), ..Receiver::default() }],
        telemetry: &telemetry,
        clock: clock.clone(),
    });
    let worker = worker.unwrap();
    let converted = taffrail_crds::classic::rules(RULES, taffrail_crds::Duration::from_secs(30));
    assert!(converted.problems.is_empty());
    let keys: BTreeMap<String, ObjectKey> =
        converted.objects.iter().map(|object| (object.key().name, object.key())).collect();
    converted.objects.into_iter().for_each(|object: Object| board.apply(object));
    worker.settled().await;

    let story = story();
    let mut seen: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    for second in 1..=900 {
        clock.advance(Duration::from_secs(1));
        let at = clock.now().as_millisecond();
        let samples = story.iter().filter(|(when, _)| *when == second);
        let samples = samples.map(|(_, delta)| Delta { timestamp_ms: at, ..delta.clone() }).collect();
        assert_eq!(store.push(&DeltaBatch { origin: None, samples }).unwrap().refused, 0);
        worker.settled().await;
        for (name, key) in &keys {
            let status: taffrail_crds::AlertRuleStatus =
                serde_json::from_value(board.get(key).unwrap().status.unwrap()).unwrap();
            let states = seen.entry(name.as_str()).or_default();
            let state = format!("{:?}", status.state);
            if states.last().is_none_or(|(last, _)| *last != state) {
                states.push((state, status.last_evaluation.unwrap()));
            }
        }
    }

    // The evaluation that comes first after something holds, from the schedule.
    let first = |name: &str, second: i64| {
        let after = start.as_millisecond() + second * 1_000 - 1;
        crate::clock::timestamp(schedule::next(&keys[name], INTERVAL, after)).to_string()
    };
    let at_once = start.to_string();
    // Until there is the first sample, there is no data.
    for (name, exists, fires, resolves) in [
        ("high-error-rate", 60, 90, 389),
        ("slow-responses", 10, 120, 720),
        ("no-traffic", 10, 500, 800),
        ("hot-host", 5, 60, 120),
    ] {
        let times = [at_once.clone(), first(name, exists), first(name, fires), first(name, resolves)];
        let states = ["NoData", "Inactive", "Firing", "Inactive"].map(str::to_owned);
        assert_eq!(seen[name], states.into_iter().zip(times).collect::<Vec<_>>(), "{name}");
    }
    worker.stop().await;
}
