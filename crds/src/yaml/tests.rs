#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{AlertRule, AlertRuleSpec, Comparison, manifest};

fn rule(text: &str, threshold: f64) -> Object {
    let spec = AlertRuleSpec {
        query: Some("sum a".to_owned()),
        operator: Some(Comparison::Less),
        threshold: Some(threshold),
        annotations: BTreeMap::from([("a".to_owned(), text.to_owned())]),
        ..AlertRuleSpec::default()
    };
    let mut rule = AlertRule::new("a", spec);
    rule.metadata.namespace = Some(DEFAULT_NAMESPACE.to_owned());
    Object::AlertRule(Arc::new(rule))
}

fn round_trip(object: &Object) {
    let text = object_to_yaml(object).unwrap();
    let parsed = manifest::parse(&text);
    assert_eq!(parsed.problems, [], "{text}");
    assert_eq!(parsed.objects[0].object, *object, "{text}");
    // What kubectl's reader makes of it, or one much like it.
    let other: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let Object::AlertRule(rule) = object else { panic!() };
    assert_eq!(other["spec"]["annotations"]["a"], rule.spec.annotations["a"].as_str(), "{text}");
}

#[test]
fn texts_that_look_like_something_else_are_quoted() {
    for text in [
        "no",
        "On",
        "5",
        "0x1f",
        "1e3",
        "null",
        "",
        " a",
        "a ",
        "a: b",
        "a #b",
        "a:",
        "- a",
        "{{ value }}",
        "'a'",
        "|",
        "==",
        "a\nb",
        "a\nb\n",
        "a\n\nb",
        "a\n\n",
        "\na",
        " a\nb",
        "a\n b",
        "a\n \nb",
        "a\tb",
        "\u{85}",
        "é",
        "😀",
        "a\r\nb",
        "---",
        "2026-12-01",
        "~",
        "\u{2028}",
        "key: {a",
        "a, b",
        "%a",
        "@a",
        "`a`",
        "012",
        "1_0",
        "a\\nb\"c",
    ] {
        round_trip(&rule(text, 1.0));
    }
}

proptest! {
    #[test]
    fn every_text_and_number_comes_back(text in r#"([a-z]|[-:?,{}\[\]&*#|>@`'"%!~\\\t\n 0-9]|\PC){0,30}"#, threshold: f64) {
        prop_assume!(threshold.is_finite());
        round_trip(&rule(&text, threshold));
    }
}
