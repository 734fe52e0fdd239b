//! What a schema can't say: whether queries, templates and transforms are programs that run.

use taffrail_crds::manifest::{Located, Problem};
use taffrail_crds::{AlertRuleSpec, DashboardSpec, LogPipelineSpec, Object};
use taffrail_logstore::q::Query;
use taffrail_query::ShortQuery;

/// What is wrong with an object whose form is right.
pub(crate) fn problems(located: &Located<Object>) -> Vec<Problem> {
    let mut found = Found { located, problems: Vec::new() };
    match &located.object {
        Object::LogPipeline(pipeline) => found.pipeline(&pipeline.spec),
        Object::AlertRule(rule) => found.rule(&rule.spec),
        Object::Dashboard(dashboard) => found.dashboard(&dashboard.spec),
        Object::Secret(_) => {}
    }
    found.problems
}

struct Found<'a> {
    located: &'a Located<Object>,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn pipeline(&mut self, spec: &LogPipelineSpec) {
        let Some(transform) = &spec.transform else { return };
        let Err(faults) = taffrail_ingestion::check_transform(transform) else { return };
        for fault in faults.lines() {
            let (line, column) = place(fault).unwrap_or((1, 1));
            self.problems.push(self.located.problem_within("spec.transform", line, column, fault.to_owned()));
        }
    }

    fn rule(&mut self, spec: &AlertRuleSpec) {
        if let Some(query) = &spec.query {
            self.short("spec.query", query);
        }
        if let Some(logs) = &spec.logs {
            self.logs("spec.logs.q", &logs.q);
        }
    }

    fn dashboard(&mut self, spec: &DashboardSpec) {
        for (index, panel) in spec.panels.iter().enumerate() {
            for (number, query) in panel.queries.iter().enumerate() {
                if let Some(query) = &query.query {
                    let path = format!("spec.panels[{index}].queries[{number}].query");
                    let query = self.with_variables(&path, query, spec);
                    self.short(&path, &query);
                }
            }
            if let Some(logs) = &panel.logs {
                let path = format!("spec.panels[{index}].logs.query");
                let query = self.with_variables(&path, &logs.query, spec);
                self.logs(&path, &query);
            }
        }
    }

    fn short(&mut self, path: &str, query: &str) {
        if let Err(error) = query.parse::<ShortQuery>() {
            self.problems.push(self.located.problem_within(path, 1, error.column, error.to_string()));
        }
    }

    fn logs(&mut self, path: &str, query: &str) {
        if let Err(error) = Query::parse(query) {
            self.problems.push(self.located.problem_within(path, 1, error.column, error.to_string()));
        }
    }

    /// A query as it is when a value is chosen for each variable; every character stays in its place.
    fn with_variables(&mut self, path: &str, query: &str, spec: &DashboardSpec) -> String {
        let mut filled = String::with_capacity(query.len());
        let mut rest = query;
        while let Some(at) = rest.find('$') {
            let after = &rest[at + 1..];
            let length = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
            let name = &after[..length];
            filled.push_str(&rest[..at]);
            if spec.variables.iter().any(|variable| variable.name == name) {
                filled.push_str(&"v".repeat(length + 1));
            } else {
                filled.push_str(&rest[at..at + 1 + length]);
                // A lone `$` is a character like any other, at the end of a regular expression for one.
                if name.starts_with(|c: char| !c.is_ascii_digit()) {
                    let column = query[..query.len() - rest.len() + at].chars().count() + 1;
                    let message = format!("there is no variable `{name}`; add it to spec.variables");
                    self.problems.push(self.located.problem_within(path, 1, column, message));
                }
            }
            rest = &after[length..];
        }
        filled + rest
    }
}

/// The line and column that a fault of a transform names.
fn place(fault: &str) -> Option<(usize, usize)> {
    let (line, rest) = fault.strip_prefix("line ")?.split_once(", column ")?;
    let (column, _) = rest.split_once(':')?;
    Some((line.parse().ok()?, column.parse().ok()?))
}
