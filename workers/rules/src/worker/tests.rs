#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use taffrail_crds::AlertState;

use crate::testing::{Bench, Hook};

mod classic;
mod delivery;
mod reload;
mod restart;

fn spec(hook: &Hook) -> Value {
    json!({
        "query": "rate errors service=api", "operator": ">", "threshold": 10, "interval": "30s",
        "labels": {"severity": "critical"},
        "annotations": {"summary": "{{ labels.service }} at {{ value }}"},
        "notify": [hook.receiver()],
    })
}

/// The same with changes.
fn with(hook: &Hook, changes: Value) -> Value {
    let mut spec = spec(hook);
    for (name, value) in changes.as_object().unwrap() {
        spec[name] = value.clone();
    }
    spec
}

const QUERY: &str = "rate errors service=api";

#[tokio::test]
async fn a_rule_is_loaded_evaluated_and_told_of() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 5.0);
    bench.apply("errors", spec(&hook)).await;
    assert_eq!(bench.state("errors"), "Inactive Loaded");
    assert_eq!(bench.status("errors").value, Some(5.0));
    assert_eq!(bench.engine.times(QUERY), [bench.now().as_millisecond()]);

    bench.engine.say(QUERY, 12.5);
    bench.pass(30).await;
    let status = bench.status("errors");
    assert_eq!((status.state, status.value, status.observed_generation), (AlertState::Firing, Some(12.5), Some(1)));
    assert_eq!(status.alerts[0].annotations["summary"], "api at 12.5");
    assert_eq!(status.alerts[0].labels["severity"], "critical");
    assert_eq!(status.active_at, status.last_evaluation);
    let told = hook.take();
    assert_eq!(told.len(), 1);
    let told = told[0].json();
    assert_eq!((&told["status"], &told["value"]), (&json!("firing"), &json!(12.5)));
    assert_eq!(told["labels"], json!({"alertname": "errors", "service": "api", "severity": "critical"}));
    assert_eq!(told["startsAt"].as_str(), status.active_at.as_deref());

    bench.engine.say(QUERY, 1.0);
    bench.pass(30).await;
    assert_eq!(bench.status("errors").alerts[0].state, AlertState::Inactive);
    assert_eq!(hook.words(), ["resolved ConditionCeased"]);
    bench.pass(30).await;
    assert!(hook.take().is_empty());
    // Shown for a quarter of an hour.
    bench.pass(16 * 60).await;
    assert!(bench.status("errors").alerts.is_empty());
}

/// Ten thousand rules at thirty seconds: each is evaluated at once, then every thirty seconds, and never all together.
#[tokio::test]
async fn many_rules_are_spread_over_their_interval() {
    const RULES: usize = 10_000;
    let bench = Bench::new().await;
    let names: Vec<String> = (0..RULES).map(|number| format!("rule-{number}")).collect();
    for name in &names {
        let query = format!("sum x rule={name}");
        bench.engine.say(&query, 1.0);
        let rule = crate::testing::rule(name, &json!({"query": query, "operator": ">", "threshold": 10}));
        bench.board.apply(taffrail_crds::Object::AlertRule(std::sync::Arc::new(rule)));
    }
    bench.settled().await;
    assert!(names.iter().all(|name| bench.state(name) == "Inactive Loaded"));
    let mut asked = bench.engine.asked.lock().len();
    assert_eq!(asked, RULES);
    for _ in 0..60 {
        bench.pass(1).await;
        let now = bench.engine.asked.lock().len();
        assert!((RULES / 60..RULES / 15).contains(&(now - asked)), "{}", now - asked);
        asked = now;
    }
    assert_eq!(asked, 3 * RULES);
}
