#![allow(clippy::unwrap_used)]

use super::*;

const RULES: &str = r#"
groups:
- name: example
  interval: 1m
  query_offset: 30s
  limit: 10
  labels: {team: backend}
  rules:
  - record: job:errors:rate5m
    expr: sum by (job) (rate(errors_total[5m]))
  - alert: HighErrorRate
    expr: |
      job:errors:rate5m > 0.5
    for: 10m
    keep_firing_for: 5m
    labels: {severity: page, job: "{{ $labels.job }}"}
    annotations:
      summary: "{{ $labels.job }} fails: {{ $value }}"
      description: "{{ $value | humanizePercentage }}"
  - alert: HighErrorRate
    expr: vector(1)
  - alert: NoExpression
    fro: 5m
  - alert: Years
    expr: 1
    for: 1y
  - {alert: BadLabel, expr: up == 0, labels: {"a-b": c}}
"#;

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("{}:{}: {}: {}\n", p.line, p.column, p.path, p.message)).collect()
}

#[test]
fn alerting_rules_become_alert_rules_and_the_rest_is_named() {
    let converted = convert(RULES);
    let documents: Vec<_> = converted.objects.iter().map(|object| crate::object_to_yaml(object).unwrap()).collect();
    let text = documents.join("---\n");
    insta::assert_snapshot!(format!(
        "{text}\nproblems:\n{}\nnotes:\n{}",
        lines(&converted.problems),
        lines(&converted.notes)
    ));
    let parsed = manifest::parse(&text);
    assert_eq!(lines(&parsed.problems), "");
    assert_eq!(parsed.objects.len(), 2);
}

#[test]
fn prometheus_rule_objects_keep_their_namespace() {
    let rule = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: x, namespace: shop}\n\
                spec: {groups: [{name: g, rules: [{alert: Down, expr: up == 0}]}]}\n";
    let list = format!("kind: List\nitems:\n- {}", rule.trim_end().replace('\n', "\n  "));
    for text in [rule.to_owned(), list, format!("---\n{rule}---\n")] {
        let converted = convert(&text);
        let keys: Vec<_> = converted.objects.iter().map(|object| object.key().to_string()).collect();
        assert_eq!((keys, converted.problems.len()), (vec!["AlertRule shop/down".to_owned()], 0), "{text}");
    }
    assert_eq!(convert("a: 1").problems[0].message, "expected `groups` of rules");
}
