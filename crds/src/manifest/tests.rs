#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// The problems of a file, one a line.
fn problems(text: &str) -> Vec<String> {
    let problems = parse(text).problems.into_iter();
    problems.map(|Problem { line, column, path, message, .. }| format!("{line}:{column}: {path}: {message}")).collect()
}

fn names(text: &str) -> Vec<String> {
    parse(text).objects.iter().map(|located| located.object.key().to_string()).collect()
}

const RULE: &str = "\
apiVersion: taffrail.dev/v1alpha1
kind: AlertRule
metadata:
  name: errors
spec:
  query: rate error_count service=api
  operator: \">\"
  threshold: 10
";

#[test]
fn a_file_holds_many_documents_lists_and_json() {
    let json = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "es", "namespace": "shop"},
                   "data": {"a": "YQ=="}, "stringData": {"a": "b\ud83d\ude00"}}"#;
    let list = r#"
apiVersion: v1
kind: List
items:
- apiVersion: taffrail.dev/v1alpha1
  kind: Dashboard
  metadata: {name: shop}
  spec: {panels: []}
  status: {anything: [1]}
- kind: AlertRuleList
  apiVersion: taffrail.dev/v1alpha1
  items: []
"#;
    let text = format!("# a comment\n---\n{RULE}---\n\n---\n{json}\n---{list}");
    assert_eq!(problems(&text), [""; 0]);
    assert_eq!(names(&text), ["AlertRule default/errors", "Secret shop/es", "Dashboard default/shop"]);
    let parsed = parse(&text);
    let lines: Vec<_> = parsed.objects.iter().map(|located| (located.line, located.column)).collect();
    assert_eq!(lines, [(3, 1), (14, 1), (20, 3)]);
    let Object::Secret(secret) = &parsed.objects[1].object else { panic!() };
    assert_eq!(crate::secret_data(secret)["a"], "b😀".as_bytes());
}

#[test]
fn all_problems_of_a_file_are_found_at_once() {
    let text = "\
apiVersion: taffrail.dev/v1alpha1
kind: LogPipeline
metadata:
  name: Logs
  namespace: my.shop!
spec:
  source:
    kafka:
      broker: [kafka:9092]
      topic: 5
      startFrom: latests
      tls: yes
  batch: {size: 0, timeout: 5 s}
  metrics:
  - {name: 5xx, type: counter}
  - {name: latency, type: histogram}
  - name: a
    type: counter
    matchExpressions: [{key: fields.status, operator: Gte, values: [500]}]
  sink: {}
  replicas: \"3\"
  template: {spec: {x: [~, on]}}
---
kind: AlertRule
apiVersion: taffrail.dev/v1
metadata: {name: x}
---
apiVersion: taffrail.dev/v1alpha1
kind: AlertRules
---
- a list
---
just a text
---
apiVersion: taffrail.dev/v1alpha1
kind: Dashboard
spec:
  refresh: 99999999999999w
";
    insta::assert_snapshot!(problems(text).join("\n"));
    assert!(parse(text).objects.is_empty());
}

#[test]
fn one_bad_object_leaves_the_others() {
    let bad = RULE.replace("threshold: 10", "treshold: 10").replace("errors", "bad");
    let text = format!("{RULE}---\n{bad}---\n\tbroken: [\n---\n{}", RULE.replace("errors", "good"));
    assert_eq!(names(&text), ["AlertRule default/errors", "AlertRule default/good"]);
    insta::assert_snapshot!(problems(&text).join("\n"));
    let parsed = parse(&text);
    assert_eq!(parsed.problems[0].object.as_ref().unwrap().to_string(), "AlertRule default/bad");
    let list: String = [RULE, &bad].map(|text| format!("- {}\n", text.trim_end().replace('\n', "\n  "))).concat();
    let text = format!("kind: List\nitems:\n{list}");
    assert_eq!(names(&text), ["AlertRule default/errors"]);
    assert_eq!(problems(&text).len(), 1, "{:?}", problems(&text));
    assert!(problems(&text)[0].starts_with("18:5: items[1].spec.treshold: unknown field; did you mean `threshold`?"));
}

#[test]
fn slips_of_yaml_get_a_hint() {
    for (from, to, expected) in [
        (
            "\">\"",
            ">",
            "7:13: spec.operator: `` is not one of >, >=, <, <=, ==, !=; without quotes `>` begins a text of several lines: write \">\"",
        ),
        ("\">\"", "!=", "7:13: spec.operator: "),
        ("\">\"", ">=", "7:13: : this is not YAML: "),
        (
            "errors",
            "No",
            "4:9: metadata.name: `No` without quotes is false to kubectl and a text to others: write \"No\" for the text, or false",
        ),
        ("errors", "5", "4:9: metadata.name: expected a text, found the number 5: put it in quotes, \"5\""),
        ("10", "\"10\"", "8:14: spec.threshold: expected a number, found the text \"10\": write it without quotes"),
        ("10", "010", "8:14: spec.threshold: `010` without quotes is a different number to different readers"),
        ("10", "10\n  suspend: yes", "9:12: spec.suspend: `yes` without quotes is true to kubectl"),
        ("10", "10\n  annotations: {a: {{ value }}}", "9:20: spec.annotations.a: "),
        ("10", "10\n  annotations:\n    a: {{ value }} is bad", "10:20: : this is not YAML: "),
        ("10", "10\n\tsuspend: true", "9:1: : indent with spaces: YAML allows no tabs here"),
        ("10", "10\n  threshold: 11", "9:3: spec.threshold: `threshold` is set twice; the first time in line 8"),
        ("10", "10\n  labels: {1st: a}", "9:11: spec.labels: names of labels are letters"),
    ] {
        let found = problems(&RULE.replace(from, to));
        assert!(found.iter().any(|found| found.starts_with(expected)), "{to}: {found:#?}");
    }
}

#[test]
fn anchors_are_followed_and_bombs_refused() {
    let text = RULE.replace("spec:", "spec: &spec") + "---\n";
    assert_eq!(problems(&text), [""; 0]);
    let merged = "
x: &x {operator: \">\", threshold: 1}
";
    let list = format!(
        "kind: List\nbase: &base{}items:\n- {{apiVersion: taffrail.dev/v1alpha1, kind: AlertRule, metadata: {{name: a}}, spec: {{<<: *x, query: rate a, threshold: 2}}}}\n",
        merged.replace('\n', "\n  ").trim_end_matches(' ')
    );
    assert_eq!(problems(&list), [""; 0]);
    let Object::AlertRule(rule) = &parse(&list).objects[0].object else { panic!() };
    assert_eq!(rule.spec.threshold, Some(2.0));
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (previous, next) in ('a'..='y').zip('b'..='z') {
        let aliases = vec![format!("*{previous}"); 10].join(", ");
        bomb.push_str(&format!("{next}: &{next} [{aliases}]\n"));
    }
    assert!(problems(&bomb)[0].contains("holds more than 200000 values"), "{:?}", problems(&bomb));
    assert!(problems("a: &a [*a]")[0].contains("an alias can't be part of what it names"));
    assert!(problems(&"[".repeat(10_000))[0].contains("recursion limit exceeded"));
    assert!(problems(&"- ".repeat(10_000))[0].contains("nested deeper than"));
    assert!(problems(&" ".repeat(MAX_BYTES + 1))[0].contains("split it"));
}

#[test]
fn a_later_check_finds_the_place_of_a_text() {
    let at = |text: &str| {
        let located = parse(text).objects.remove(0);
        let problem = located.problem_within("spec.query", 1, 6, "x".to_owned());
        (problem.line, problem.column)
    };
    assert_eq!(at(RULE), (6, 15));
    assert_eq!(at(&RULE.replace("rate error_count service=api", "\"rate a b\"")), (6, 16));
    assert_eq!(at(&RULE.replace("rate error_count service=api", "\"rate\\ta b\"")), (6, 10));
    assert_eq!(at(&RULE.replace("rate error_count service=api", ">\n    rate a b")), (6, 10));
    let located = parse(&RULE.replace("rate error_count service=api", "|\n    rate\n      a b")).objects.remove(0);
    let problem = located.problem_within("spec.query", 2, 5, "x".to_owned());
    assert_eq!((problem.line, problem.column, problem.path.as_str()), (8, 9, "spec.query"));
}

#[test]
fn secrets_are_checked_too() {
    let text = "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {password: changeme!, x: 5}, stringDate: {}}";
    assert_eq!(
        problems(text),
        [
            "1:70: data.password: not base64: put a plain text under `stringData` instead",
            "1:84: data.x: expected a text, found the number 5: put it in quotes, \"5\"",
            "1:88: stringDate: unknown field; did you mean `stringData`?"
        ]
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in r#"([a-z]|[-:?,{}\[\]&*#|>@`'"%!~\\\t\n 0-9]|\PC){0,60}"#) {
        let _ = parse(&text);
    }

    #[test]
    fn no_change_of_a_good_file_makes_it_panic(
        at in 0..RULE.len(), length in 0..8usize, put in r#"([-:?,{}\[\]&*#|>@`'"%!~\\\t\n ]|---\n|\PC){0,4}"#
    ) {
        let end = (at + length).min(RULE.len());
        let _ = parse(&format!("{}{put}{}", &RULE[..at], &RULE[end..]));
    }
}
