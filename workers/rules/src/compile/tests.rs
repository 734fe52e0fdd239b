#![allow(clippy::unwrap_used)]

use rstest::rstest;
use serde_json::{Value, json};
use taffrail_crds::LogReceiver;

use super::*;
use crate::testing::{labels, rule};

fn with(changes: Value) -> Value {
    let mut spec = json!({"query": "rate errors service=api by host", "operator": ">", "threshold": 10});
    for (name, value) in changes.as_object().unwrap() {
        spec[name] = value.clone();
    }
    spec
}

fn compiled(spec: &Value) -> Result<Compiled, Fault> {
    let log = Receiver { log: Some(LogReceiver {}), ..Receiver::default() };
    let secret = |name: &str| match name {
        "hook" => Some(SecretData::from([("token".to_owned(), b"t".to_vec())])),
        "empty" => Some(SecretData::new()),
        _ => None,
    };
    compile(&rule("high-error-rate", spec), &[log], secret)
}

#[rstest]
#[case(json!({"query": "rat errors"}), "InvalidQuery", "column 1: expected a function")]
#[case(json!({"query": "rate errors service"}), "InvalidQuery", "column 20: expected =, !=")]
#[case(json!({"query": null}), "InvalidQuery", "there is no `query`")]
#[case(json!({"query": null, "expr": "up == 0"}), "UnsupportedQuery", "write the query in the short form")]
#[case(json!({"query": null, "logs": {"q": "level:error"}}), "UnsupportedQuery", "count the logs as a metric")]
#[case(json!({"operator": null, "threshold": null}), "InvalidCondition", "`query` needs `operator`")]
#[case(
    json!({"annotations": {"summary": "{{ labels.host }}", "text": "{{ host }}"}}),
    "InvalidTemplate", "annotation `text`: there is no `host`"
)]
fn what_keeps_a_rule_from_running(#[case] changes: Value, #[case] reason: &str, #[case] message: &str) {
    let fault = compiled(&with(changes)).unwrap_err();
    assert_eq!(fault.reason, reason);
    assert!(fault.message.contains(message), "{}", fault.message);
}

#[test]
fn a_threshold_is_a_finite_number() {
    // JSON knows no other, but YAML does.
    for (threshold, resolve) in [(f64::INFINITY, None), (f64::NAN, None), (1.0, Some(f64::NEG_INFINITY))] {
        let mut rule = rule("rule", &with(json!({})));
        (rule.spec.threshold, rule.spec.resolve_threshold) = (Some(threshold), resolve);
        assert_eq!(compile(&rule, &[], |_| None).unwrap_err().reason, "InvalidCondition");
    }
}

#[rstest]
#[case(json!([{"webhook": {"url": "http://a", "secretName": "hook"}}]), 1, "")]
#[case(json!([{"webhook": {"url": "http://a", "secretName": "none"}}]), 1, "SecretNotFound: there is no secret `none`")]
#[case(json!([{"webhook": {"url": "http://a", "secretName": "empty"}}]), 1, "SecretNotFound: secret `empty` has no `key` or")]
#[case(json!([{"slack": {"secretName": "hook"}}]), 1, "SecretNotFound: secret `hook` has no `url`")]
#[case(json!([{"alertmanager": {"urls": ["http://a"], "secretName": "hook"}}]), 1, "")]
#[case(json!([{"pagerduty": {"secretName": "hook"}}, {"log": {}}]), 1, "UnsupportedReceiver: receivers of kind pagerduty")]
#[case(
    json!([{"email": {"to": ["a@b"], "from": "a@b", "smarthost": "a:25"}}]), 0, "UnsupportedReceiver: receivers of kind email"
)]
#[case(json!([{"log": {}}, {"log": {}}]), 1, "")]
#[case(json!([]), 1, "")]
fn a_receiver_at_fault_does_not_keep_a_rule_from_running(
    #[case] notify: Value,
    #[case] usable: usize,
    #[case] fault: &str,
) {
    let compiled = compiled(&with(json!({"notify": notify}))).unwrap();
    assert_eq!(compiled.receivers.len(), usable);
    let faults = compiled.faults.iter().map(|fault| format!("{}: {}", fault.reason, fault.message)).collect::<String>();
    assert!(faults.starts_with(fault) && faults.is_empty() == fault.is_empty(), "{faults}");
}

#[test]
fn labels_are_those_of_the_query_the_series_and_the_rule() {
    let spec = with(json!({"name": "HighErrorRate", "labels": {"team": "shop", "host": "any", "empty": ""}}));
    let labels_of = |series: &str| compiled(&spec).unwrap().labels_of(&labels(series));
    assert_eq!(labels_of("host=web1,zone=a"), labels("alertname=HighErrorRate,host=any,service=api,team=shop,zone=a"));
    let spec = with(json!({"labels": {"alertname": "Mine"}, "query": "rate errors a!=b c=~d e=\"\""}));
    assert_eq!(compiled(&spec).unwrap().labels_of(&labels("")), labels("alertname=Mine"));
}

#[rstest]
#[case(json!({"query": "rate  errors   service=\"api\" by (host)"}), true)]
#[case(json!({"labels": {"a": "b"}, "annotations": {"a": "b"}, "notify": [], "name": "x", "suspend": false}), true)]
#[case(json!({"interval": "1m", "evalDelay": "1m", "keepFiringFor": "1m", "resolveThreshold": 5, "noData": "keep"}), true)]
#[case(json!({"duration": "300s", "for": "0"}), true)]
#[case(json!({"query": "rate errors service=web by host"}), false)]
#[case(json!({"threshold": 10.5}), false)]
#[case(json!({"operator": ">="}), false)]
#[case(json!({"duration": "1m"}), false)]
#[case(json!({"for": "1m"}), false)]
fn what_makes_another_condition(#[case] changes: Value, #[case] same: bool) {
    let identity = |spec| compiled(&spec).unwrap().identity;
    assert_eq!(identity(with(json!({}))) == identity(with(changes)), same);
}

#[test]
fn silences_match_all_their_labels_until_they_expire() {
    let spec = with(json!({"silences": [
        {"match": {"service": "api", "host": "web1"}, "until": "2026-01-01T00:00:10Z"},
        {"match": {"host": "web2"}, "until": "2026-01-01T00:00:05Z"},
    ]}));
    let rule = compiled(&spec).unwrap();
    let start = crate::testing::START.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    for (host, second, silenced) in [
        ("web1", 0, true),
        ("web1", 9, true),
        ("web1", 10, false),
        ("web2", 4, true),
        ("web2", 5, false),
        ("x", 0, false),
    ] {
        let labels = rule.labels_of(&labels(&format!("host={host}")));
        assert_eq!(rule.is_silenced(&labels, start + second * 1_000), silenced, "{host} {second}");
    }
}
