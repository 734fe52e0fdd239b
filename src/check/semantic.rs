//! What a schema can't say: whether queries, templates and transforms are programs that run.

use taffrail_crds::manifest::{Located, Problem};
use taffrail_crds::{AlertRule, DashboardSpec, LogPipelineSpec, Object};
use taffrail_logstore::q::Query;
use taffrail_query::ShortQuery;

/// What is found in an object whose form is right.
#[derive(Default)]
pub(crate) struct Found {
    /// What keeps it from working.
    pub(crate) problems: Vec<Fault>,
    /// What does not work of it for now.
    pub(crate) warnings: Vec<String>,
}

/// Something wrong in a field.
pub(crate) struct Fault {
    pub(crate) path: String,
    /// Counted from 1, as the column is, in the field's text.
    line: usize,
    column: usize,
    pub(crate) message: String,
}

/// What is found in an object whose form is right.
pub(crate) fn look_at(object: &Object) -> Found {
    let mut found = Found::default();
    match object {
        Object::LogPipeline(pipeline) => found.pipeline(&pipeline.spec),
        Object::AlertRule(rule) => found.rule(rule),
        Object::Dashboard(dashboard) => found.dashboard(&dashboard.spec),
        Object::Secret(_) => {}
    }
    found
}

/// What is wrong with an object of a file, and where.
pub(crate) fn problems(located: &Located<Object>) -> Vec<Problem> {
    let faults = look_at(&located.object).problems.into_iter();
    faults.map(|fault| located.problem_within(&fault.path, fault.line, fault.column, fault.message)).collect()
}

impl Found {
    fn fault(&mut self, path: &str, (line, column): (usize, usize), message: String) {
        self.problems.push(Fault { path: path.to_owned(), line, column, message });
    }

    fn pipeline(&mut self, spec: &LogPipelineSpec) {
        let Some(transform) = &spec.transform else { return };
        let Err(faults) = taffrail_ingestion::check_transform(transform) else { return };
        for fault in faults.lines() {
            self.fault("spec.transform", place(fault).unwrap_or((1, 1)), fault.to_owned());
        }
    }

    fn rule(&mut self, rule: &AlertRule) {
        if let Some(query) = &rule.spec.query {
            self.short("spec.query", query);
        }
        if let Some(logs) = &rule.spec.logs {
            self.logs("spec.logs.q", &logs.q);
        }
        for fault in taffrail_rules::check(rule) {
            match fault.reason {
                "InvalidTemplate" => self.fault("spec.annotations", (1, 1), fault.message),
                "UnsupportedQuery" | "UnsupportedReceiver" => self.warnings.push(fault.message),
                // Told above with its place, or by the schema.
                _ => {}
            }
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
            self.fault(path, (1, error.column), error.to_string());
        }
    }

    fn logs(&mut self, path: &str, query: &str) {
        if let Err(error) = Query::parse(query) {
            self.fault(path, (1, error.column), error.to_string());
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
                    self.fault(path, (1, column), message);
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
