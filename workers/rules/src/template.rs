//! The texts of alerts: minijinja templates over `labels`, `value`, `threshold` and `rule`.
//!
//! A template that fails never costs an alert: its text is taken as it stands, and what went wrong is said beside it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::value::ValueKind;
use minijinja::{Environment, ErrorKind, Value, context, escape_formatter};
use taffrail_query::Labels;

/// The variables that templates may use.
const VARIABLES: [&str; 4] = ["labels", "value", "threshold", "rule"];

/// Steps that a template may take.
const FUEL: u64 = 20_000;

/// Bytes of a rendered text, as of one that is written into a rule.
const LONGEST: usize = 16_384;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(50);
    // What filters make of numbers is to be as readable as the numbers are.
    environment.set_formatter(|output, state, value| match f64::try_from(value.clone()) {
        Ok(float) if value.kind() == ValueKind::Number && !value.is_integer() => {
            escape_formatter(output, state, &number(float))
        }
        _ => escape_formatter(output, state, value),
    });
    environment
});

/// What a template speaks of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) labels: &'a Labels,
    pub(crate) value: Option<f64>,
    pub(crate) threshold: f64,
    pub(crate) rule: &'a str,
}

/// Whether a template can be rendered at all.
///
/// # Errors
/// What is wrong with it, for people. Faults that depend on the data are not among it.
pub(crate) fn check(source: &str, sample: Subject<'_>) -> Result<(), String> {
    let template = ENVIRONMENT.template_from_str(source).map_err(|error| plain(&error))?;
    let known = |name: &str| VARIABLES.contains(&name) || ENVIRONMENT.globals().any(|(global, _)| global == name);
    let mut unknown: Vec<String> =
        template.undeclared_variables(false).into_iter().filter(|name| !known(name)).collect();
    unknown.sort();
    if let Some(name) = unknown.first() {
        return Err(format!("there is no `{name}`; use labels, value, threshold or rule"));
    }
    match template.render(values(sample)) {
        // The sample is not the data: what its values do not allow, those of the data may.
        Err(error) if !depends_on_data(error.kind()) => Err(plain(&error)),
        _ => Ok(()),
    }
}

fn depends_on_data(kind: ErrorKind) -> bool {
    use ErrorKind::{CannotUnpack, InvalidOperation, NonKey, NonPrimitive, UndefinedError};
    matches!(kind, InvalidOperation | UndefinedError | NonPrimitive | NonKey | CannotUnpack)
}

/// The texts for an alert.
pub(crate) fn render(templates: &BTreeMap<String, String>, subject: Subject<'_>) -> BTreeMap<String, String> {
    let text = |source: &String| {
        if !source.contains('{') {
            return source.clone();
        }
        match ENVIRONMENT.render_str(source, values(subject)) {
            Ok(mut text) => {
                text.truncate(text.floor_char_boundary(LONGEST));
                text
            }
            Err(error) => format!("{source} (this template failed: {})", plain(&error)),
        }
    };
    templates.iter().map(|(name, source)| (name.clone(), text(source))).collect()
}

fn values(subject: Subject<'_>) -> Value {
    context! {
        labels => subject.labels,
        value => subject.value.map_or_else(|| Value::from("no data"), number),
        threshold => number(subject.threshold),
        rule => subject.rule,
    }
}

/// An error without what is of no use to people: the name of the template, which has none.
fn plain(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    error.line().map_or_else(|| what.clone(), |line| format!("line {line}: {what}"))
}

/// A number as people want to read it: whole where it is whole, six digits otherwise.
fn number(value: f64) -> Value {
    let rounded = readable(value);
    #[allow(clippy::cast_possible_truncation, reason = "whole, and not larger than what a double counts exactly")]
    if rounded.fract() == 0.0 && rounded.abs() < 9_007_199_254_740_992.0 {
        return Value::from(rounded as i64);
    }
    Value::from(rounded)
}

/// A number rounded to six digits; never before the point.
fn readable(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    #[allow(clippy::cast_possible_truncation, reason = "a double has at most 308 digits before the point")]
    let digits_before = value.abs().log10().floor() as i32 + 1;
    let decimals = usize::try_from(6 - digits_before).unwrap_or(0);
    format!("{value:.decimals$}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn subject(labels: &Labels, value: Option<f64>) -> Subject<'_> {
        Subject { labels, value, threshold: 10.0, rule: "HighErrorRate" }
    }

    fn rendered(source: &str, value: Option<f64>) -> String {
        let labels = Labels::from([("service".to_owned(), "api".to_owned())]);
        let templates = BTreeMap::from([("summary".to_owned(), source.to_owned())]);
        render(&templates, subject(&labels, value)).remove("summary").unwrap_or_default()
    }

    #[rstest]
    #[case("{{ labels.service }} errors at {{ value }}/s", Some(12.500_000_001), "api errors at 12.5/s")]
    #[case("{{ value }} of {{ threshold }}", Some(11.0), "11 of 10")]
    #[case("{{ value }}", Some(1_234_567.89), "1234568")]
    #[case("{{ value }}", Some(0.000_012_345_678), "0.0000123457")]
    #[case("{{ value }}", Some(-0.1), "-0.1")]
    #[case("{{ value }}", Some(f64::INFINITY), "inf")]
    #[case("{{ value | round(1) }}", Some(2.345), "2.3")]
    #[case("{{ value | round }} {{ value / 3 }} {{ value ~ '' }}", Some(2.6), "3 0.866667 2.6")]
    #[case("{{ value }}", None, "no data")]
    #[case("{{ rule }}: {{ labels.nothing }}.", None, "HighErrorRate: .")]
    #[case("{% if value > threshold %}above{% endif %}", Some(11.0), "above")]
    #[case("<b>{{ labels.service }}</b>", None, "<b>api</b>")]
    #[case("no braces", None, "no braces")]
    fn texts(#[case] source: &str, #[case] value: Option<f64>, #[case] expected: &str) {
        assert_eq!(rendered(source, value), expected);
    }

    #[test]
    fn a_failing_template_is_shown_as_it_stands() {
        let text = rendered("{{ value | round(1) }} a second", None);
        assert!(text.starts_with("{{ value | round(1) }} a second (this template failed: line 1:"), "{text}");
        let text = rendered("{% for i in range(90000) %}{% for j in range(90000) %}x{% endfor %}{% endfor %}", None);
        assert!(text.ends_with("(this template failed: line 1: engine ran out of fuel)"), "{text}");
    }

    #[rstest]
    #[case("{{ value", "line 1: syntax error: unexpected end of input, expected end of variable block")]
    #[case("{{ valeu }}", "there is no `valeu`; use labels, value, threshold or rule")]
    #[case("ok\n{{ value | rond }}", "line 2: unknown filter: filter rond is unknown")]
    #[case("{{ $value }}", "line 1: syntax error: unexpected character")]
    #[case("{% for i in range(90000) %}{{ i }}{% endfor %}", "line 1: engine ran out of fuel")]
    fn faults_are_found_before_there_is_data(#[case] source: &str, #[case] expected: &str) {
        let error = check(source, subject(&Labels::new(), Some(1.0))).expect_err(source);
        assert!(error.starts_with(expected), "{error}");
    }

    #[rstest]
    #[case("{{ labels.port | int + 1 }}")]
    #[case("{% for name, text in labels | items %}{{ name }}={{ text }} {% endfor %}{{ range(3) | length }}")]
    #[case("{% set rounded = value | round(2) %}{{ rounded }}")]
    fn what_depends_on_the_data_is_not_at_fault(#[case] source: &str) {
        assert_eq!(check(source, subject(&Labels::new(), Some(1.0))), Ok(()));
    }
}
