//! Prometheus' rule files, and `PrometheusRule` objects, turned into [`AlertRule`]s with `expr`.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use crate::classic::{Converted, Names};
use crate::manifest::scalar::Meaning;
use crate::manifest::tree::{Content, Entry, Node, Scalar};
use crate::manifest::{self, Finding, Problem, documents, join};
use crate::{AlertRule, AlertRuleSpec, DEFAULT_NAMESPACE, Duration, Object};

mod template;

/// The AlertRules that do what alerting rules of Prometheus do.
///
/// Recording rules, and what else has no counterpart, are named among the notes. A rule that is wrong is named among the
/// problems and does not keep the others from being converted.
#[must_use]
pub fn convert(text: &str) -> Converted {
    let mut conversion = Conversion::default();
    let broken = documents(text, |node, found| {
        conversion.problems.extend(found.into_iter().map(|finding| finding.of(None)));
        conversion.document(&node, "", 0);
    });
    let Conversion { objects, mut problems, mut notes, .. } = conversion;
    problems.extend(broken.into_iter().map(|finding| finding.of(None)));
    problems.sort_by_key(|problem| (problem.line, problem.column));
    notes.sort_by_key(|note| (note.line, note.column));
    Converted { objects, problems, notes }
}

#[derive(Default)]
struct Conversion {
    objects: Vec<Object>,
    problems: Vec<Problem>,
    notes: Vec<Problem>,
    names: Names,
}

/// What the rules of a group share.
struct Group {
    namespace: String,
    interval: Option<Duration>,
    delay: Option<Duration>,
    labels: BTreeMap<String, String>,
}

impl Conversion {
    fn document(&mut self, node: &Node, path: &str, depth: usize) {
        const DEEPEST_LIST: usize = 4;
        if let Some(items) = node.get("items").filter(|_| depth < DEEPEST_LIST) {
            for (index, item) in list(items).iter().enumerate() {
                self.document(item, &join(path, &format!("items[{index}]")), depth + 1);
            }
            return;
        }
        let (groups, path) = match node.get("spec") {
            Some(spec) => (spec.get("groups"), join(path, "spec.groups")),
            None => (node.get("groups"), join(path, "groups")),
        };
        let Some(groups) = groups else {
            if !node.is_null() {
                self.problem(node, path, "expected `groups` of rules".to_owned());
            }
            return;
        };
        let namespace = node.get("metadata").and_then(|metadata| metadata.get("namespace")).and_then(Node::text);
        for (index, group) in list(groups).iter().enumerate() {
            self.group(group, namespace.unwrap_or(DEFAULT_NAMESPACE), &join(&path, &format!("[{index}]")));
        }
    }

    fn group(&mut self, node: &Node, namespace: &str, path: &str) {
        let mut group = Group { namespace: namespace.to_owned(), interval: None, delay: None, labels: BTreeMap::new() };
        for Entry { key, value, .. } in entries(node) {
            let path = join(path, key);
            match key.as_str() {
                "interval" => group.interval = self.duration(value, path),
                "query_offset" => group.delay = self.duration(value, path),
                "labels" => group.labels = self.texts(value, &path),
                "name" | "rules" => {}
                _ => self.note(value, path, format!("`{key}` of a group has no counterpart and was left out")),
            }
        }
        let Some(rules) = node.get("rules") else { return };
        for (index, rule) in list(rules).iter().enumerate() {
            self.rule(rule, &group, &join(path, &format!("rules[{index}]")));
        }
    }

    fn rule(&mut self, node: &Node, group: &Group, path: &str) {
        let before = self.problems.len();
        if let Some(record) = node.get("record") {
            let name = scalar(record).unwrap_or_default();
            let message = format!("the recording rule `{name}` was left out: query its expression where it is needed");
            self.note(record, join(path, "record"), message);
            return;
        }
        let mut spec = AlertRuleSpec { labels: group.labels.clone(), ..AlertRuleSpec::default() };
        spec.interval = group.interval.unwrap_or(spec.interval);
        spec.eval_delay = group.delay.unwrap_or_default();
        for Entry { key, at, value } in entries(node) {
            let path = join(path, key);
            match key.as_str() {
                "alert" => spec.name = scalar(value),
                "expr" => spec.expr = scalar(value).map(|expr| expr.trim().to_owned()),
                "for" => spec.hold = self.duration(value, path).unwrap_or_default(),
                "keep_firing_for" => spec.keep_firing_for = self.duration(value, path).unwrap_or_default(),
                "labels" => {
                    spec.labels.extend(self.texts(value, &path));
                    if spec.labels.values().any(|text| text.contains("{{")) {
                        self.note(value, path, "labels are no templates here; they were taken as they are".to_owned());
                    }
                }
                "annotations" => {
                    for (name, text) in self.texts(value, &path) {
                        let (text, whole) = template::convert(&text);
                        if !whole {
                            let message = "not a template that could be converted; it was taken as it is".to_owned();
                            self.note(value, join(&path, &name), message);
                        }
                        spec.annotations.insert(name, text);
                    }
                }
                _ => {
                    let message = "unknown field of an alerting rule".to_owned();
                    self.problems.push(Finding { at: *at, path, message }.of(None));
                }
            }
        }
        for (name, given) in [("alert", spec.name.is_some()), ("expr", spec.expr.is_some())] {
            if !given {
                self.problem(node, join(path, name), "this field is required".to_owned());
            }
        }
        if self.problems.len() == before {
            self.object(node, spec, group, path);
        }
    }

    /// Keeps an object that passes its own check; Prometheus allows a little that Taffrail does not.
    fn object(&mut self, node: &Node, spec: AlertRuleSpec, group: &Group, path: &str) {
        let name = self.names.unique(spec.name.as_deref().unwrap_or_default());
        let mut rule = AlertRule::new(&name, spec);
        rule.metadata.namespace = Some(group.namespace.clone());
        let object = Object::AlertRule(Arc::new(rule));
        let checked = crate::object_to_yaml(&object).map(|text| manifest::parse(&text).problems);
        match checked {
            Ok(problems) if problems.is_empty() => self.objects.push(object),
            Ok(problems) => {
                for problem in problems {
                    self.problem(node, path.to_owned(), format!("{}: {}", problem.path, problem.message));
                }
            }
            Err(error) => self.problem(node, path.to_owned(), format!("can't be written as YAML: {error}")),
        }
    }

    fn duration(&mut self, node: &Node, path: String) -> Option<Duration> {
        let text = scalar(node)?;
        Duration::from_str(&text).map_err(|error| self.problem(node, path, error.to_string())).ok()
    }

    fn texts(&mut self, node: &Node, path: &str) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for Entry { key, value, .. } in entries(node) {
            match scalar(value) {
                Some(text) => {
                    texts.insert(key.clone(), text);
                }
                None => self.problem(value, join(path, key), "expected a text".to_owned()),
            }
        }
        texts
    }

    fn problem(&mut self, node: &Node, path: impl Into<String>, message: String) {
        self.problems.push(Finding { at: node.at, path: path.into(), message }.of(None));
    }

    fn note(&mut self, node: &Node, path: String, message: String) {
        self.notes.push(Finding { at: node.at, path, message }.of(None));
    }
}

fn list(node: &Node) -> &[Node] {
    match &node.content {
        Content::Sequence(items) => items,
        _ => &[],
    }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.content {
        Content::Mapping(entries) => entries,
        _ => &[],
    }
}

/// The text of a value, whatever YAML takes it for: `expr: 1` and `severity: no` are texts to Prometheus.
fn scalar(node: &Node) -> Option<String> {
    match &node.content {
        Content::Scalar(Scalar { meaning: Meaning::Null, .. }) => None,
        Content::Scalar(Scalar { text, .. }) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
