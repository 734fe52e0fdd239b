//! What a file is that somebody wants converted.

use crate::GROUP;
use crate::manifest::documents;
use crate::manifest::tree::{Content, Node};

/// The forms that can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The classic `config.yaml`.
    ClassicConfig,
    /// The classic `alert_rules.json`.
    ClassicRules,
    /// Prometheus rules, or `PrometheusRule` objects.
    Prometheus,
    /// Objects of Taffrail.
    Taffrail,
}

/// What a file is, by its first document.
#[must_use]
pub fn recognise(text: &str) -> Option<Form> {
    let mut first = None;
    documents(text, |node, _| {
        if first.is_none() && !node.is_null() {
            first = Some(node);
        }
    });
    let node = first?;
    if let Content::Sequence(_) = node.content {
        return Some(Form::ClassicRules);
    }
    let of_taffrail =
        |node: &Node| node.get("apiVersion").and_then(Node::text).is_some_and(|text| text.starts_with(GROUP));
    let item = match node.get("items").map(|items| &items.content) {
        Some(Content::Sequence(items)) => items.first(),
        _ => None,
    };
    let kind = item.unwrap_or(&node).get("kind").and_then(Node::text);
    let sections = ["kafka", "elasticsearch", "metrics", "alerting", "dashboard"];
    if of_taffrail(item.unwrap_or(&node)) {
        Some(Form::Taffrail)
    } else if node.get("groups").is_some() || kind == Some("PrometheusRule") {
        Some(Form::Prometheus)
    } else {
        sections.iter().any(|section| node.get(section).is_some()).then_some(Form::ClassicConfig)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart() {
        for (text, expected) in [
            (include_str!("../../examples/config.yaml"), Some(Form::ClassicConfig)),
            (include_str!("../../examples/alert_rules.json"), Some(Form::ClassicRules)),
            ("groups: []", Some(Form::Prometheus)),
            ("---\n# nothing\n---\nkind: PrometheusRule", Some(Form::Prometheus)),
            ("kind: List\nitems: [{kind: PrometheusRule}]", Some(Form::Prometheus)),
            ("apiVersion: taffrail.dev/v1alpha1\nkind: AlertRule", Some(Form::Taffrail)),
            ("a: 1", None),
            ("", None),
            ("[", None),
        ] {
            assert_eq!(recognise(text), expected, "{text}");
        }
    }
}
