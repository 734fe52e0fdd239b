//! The classic `alert_rules.json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::manifest::schema::Schema;
use crate::manifest::tree::{Content, Node};
use crate::manifest::{Finding, Problem, documents, join};
use crate::patterns::{annotations, labels};
use crate::{Comparison, Duration};

/// A rule as the classic services read it.
#[derive(JsonSchema, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// What people see.
    #[schemars(length(min = 1, max = 253))]
    pub(super) name: String,
    /// `<function> <metric> [label=value …]`.
    #[schemars(length(min = 1, max = 4096))]
    pub(super) query: String,
    /// What the value is compared with.
    pub(super) threshold: f64,
    /// How it is compared.
    pub(super) operator: Comparison,
    /// The window.
    #[serde(default = "default_window")]
    pub(super) duration: Duration,
    /// Labels of its alerts.
    #[serde(default)]
    #[schemars(schema_with = "labels")]
    pub(super) labels: BTreeMap<String, String>,
    /// Texts of its alerts.
    #[serde(default)]
    #[schemars(schema_with = "annotations")]
    pub(super) annotations: BTreeMap<String, String>,
}

fn default_window() -> Duration {
    Duration::from_secs(300)
}

/// The rules that are right. JSON is read as the YAML that it is, for the sake of lines and columns.
pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Vec<Rule> {
    let Some(schema) = Schema::of::<Rule>() else { return Vec::new() };
    let mut rules = Vec::new();
    let mut findings = Vec::new();
    let broken = documents(text, |node, found| {
        let wrong = |index: usize| {
            let path = format!("[{index}]");
            found.iter().any(|finding| finding.path == path || finding.path.starts_with(&format!("{path}.")))
        };
        match &node.content {
            Content::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    let rule = schema.read::<Rule>(item, &join("", &format!("[{index}]")), &mut findings);
                    rules.extend(rule.filter(|rule| !wrong(index) && checked(rule, item, index, &mut findings)));
                }
            }
            _ if node.is_null() => {}
            _ => {
                let message = "expected a list of rules, in square brackets".to_owned();
                findings.push(Finding { at: node.at, path: String::new(), message });
            }
        }
        findings.extend(found);
    });
    findings.extend(broken);
    problems.extend(findings.into_iter().map(|finding| finding.of(None)));
    problems.sort_by_key(|problem| (problem.line, problem.column));
    rules
}

fn checked(rule: &Rule, node: &Node, index: usize, findings: &mut Vec<Finding>) -> bool {
    let right = rule.duration > Duration::default();
    if !right {
        let at = node.nearest("duration").at;
        let message = "must be longer than 0s".to_owned();
        findings.push(Finding { at, path: format!("[{index}].duration"), message });
    }
    right
}
