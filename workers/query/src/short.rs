//! The short form: `<function> <metric> [label=value …] [by label,…]`.

use std::fmt;
use std::str::FromStr;

use crate::Matcher;

/// What is made of the samples in the window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// Total increase of a counter; sum of a gauge's samples; sum of a histogram's observed values.
    Sum,
    /// Number of increments, samples or observations.
    Count,
    /// Mean of increments, samples or observed values.
    Avg,
    /// Least increment, sample or observed value.
    Min,
    /// Greatest increment, sample or observed value.
    Max,
    /// Latest increment, sample or observed value.
    Last,
    /// Increase, samples or observations per second.
    Rate,
    /// Quantile of increments, samples or observations; from 0 to 1.
    Quantile(f64),
}

const FUNCTIONS: [(&str, Function); 7] = [
    ("sum", Function::Sum),
    ("count", Function::Count),
    ("avg", Function::Avg),
    ("min", Function::Min),
    ("max", Function::Max),
    ("last", Function::Last),
    ("rate", Function::Rate),
];

const EXPECTED_FUNCTION: &str =
    "a function: sum, count, avg, min, max, last, rate, or a percentile such as p50, p95 or p99.9";

impl FromStr for Function {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, function)) = FUNCTIONS.iter().find(|(name, _)| *name == text) {
            return Ok(*function);
        }
        let percentile = text
            .strip_prefix('p')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            .filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
            .and_then(|rest| rest.parse::<f64>().ok());
        match percentile {
            Some(percentile) if (0.0..=100.0).contains(&percentile) => Ok(Self::Quantile(percentile / 100.0)),
            Some(_) => Err(format!("expected a percentile from p0 to p100, found `{text}`")),
            None => Err(format!("expected {EXPECTED_FUNCTION}, found `{text}`")),
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Quantile(quantile) = self {
            // Rounded, so that 0.999 * 100 is written as p99.9.
            return write!(f, "p{}", (quantile * 1e9).round() / 1e7);
        }
        let name = FUNCTIONS.iter().find(|(_, function)| function == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// A query in the short form.
#[derive(Debug, Clone, PartialEq)]
pub struct ShortQuery {
    /// What is made of the samples.
    pub function: Function,
    /// The metric.
    pub metric: String,
    /// Which of its series.
    pub matchers: Vec<Matcher>,
    /// One number for each set of values of these labels; one number in all where there are none.
    pub by: Vec<String>,
}

/// Where a query is wrong, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct QueryError {
    /// Character, counted from 1.
    pub column: usize,
    /// What was expected, and what was found.
    pub message: String,
}

impl fmt::Display for ShortQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.function, self.metric)?;
        for matcher in &self.matchers {
            write!(f, " {matcher}")?;
        }
        if !self.by.is_empty() {
            write!(f, " by {}", self.by.join(","))?;
        }
        Ok(())
    }
}

impl FromStr for ShortQuery {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        let mut cursor = Cursor { text, at: 0 };
        cursor.skip_space();
        let start = cursor.at;
        let word = cursor.take_until_space();
        if word.is_empty() {
            return Err(cursor.error_at(start, format!("expected {EXPECTED_FUNCTION}, found the end")));
        }
        let function = word.parse().map_err(|message| cursor.error_at(start, message))?;
        cursor.skip_space();
        let metric = cursor.name("the name of a metric", true)?;
        cursor.end_of_word("the name of a metric")?;
        let mut query = Self { function, metric, matchers: Vec::new(), by: Vec::new() };
        loop {
            cursor.skip_space();
            if cursor.at_end() {
                return Ok(query);
            }
            if cursor.eat_by() {
                query.by = cursor.by_labels()?;
                return Ok(query);
            }
            query.matchers.push(cursor.matcher()?);
        }
    }
}

struct Cursor<'a> {
    text: &'a str,
    /// Byte offset, always at a character boundary.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c: char| !accept(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn take_until_space(&mut self) -> &'a str {
        self.take_while(|c| !c.is_whitespace())
    }

    fn error_at(&self, at: usize, message: String) -> QueryError {
        QueryError { column: self.text[..at].chars().count() + 1, message }
    }

    fn found(&self) -> String {
        self.rest().chars().next().map_or_else(|| "the end".to_owned(), |c| format!("`{c}`"))
    }

    fn expected(&self, what: &str) -> QueryError {
        self.error_at(self.at, format!("expected {what}, found {}", self.found()))
    }

    /// A name of letters, digits and `_` that does not begin with a digit; a metric's may hold `:` and, as
    /// OpenTelemetry's do, `.`.
    fn name(&mut self, what: &str, metric: bool) -> Result<String, QueryError> {
        let first = self.rest().chars().next();
        if !first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || (metric && c == ':')) {
            return Err(self.expected(what));
        }
        let accept = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || (metric && c == ':');
        Ok(self.take_while(accept).to_owned())
    }

    fn end_of_word(&self, what: &str) -> Result<(), QueryError> {
        let next = self.rest().chars().next();
        if next.is_none_or(char::is_whitespace) {
            return Ok(());
        }
        Err(self.error_at(self.at, format!("expected a space after {what}, found {}", self.found())))
    }

    fn eat_by(&mut self) -> bool {
        let rest = self.rest();
        let keyword = rest.strip_prefix("by").is_some_and(|after| {
            // `by=x` and `by = x` are matchers of a label named so.
            let after_space = after.trim_start();
            let operator = after_space.starts_with('=') || after_space.starts_with('!');
            !operator && after.chars().next().is_none_or(|c| c.is_whitespace() || c == '(')
        });
        if keyword {
            self.at += 2;
        }
        keyword
    }

    fn by_labels(&mut self) -> Result<Vec<String>, QueryError> {
        let mut labels = Vec::new();
        self.skip_space();
        let parenthesis = self.rest().starts_with('(');
        if parenthesis {
            self.at += 1;
        }
        loop {
            self.skip_space();
            let start = self.at;
            let label = self.name("the name of a label", false)?;
            if labels.contains(&label) {
                return Err(self.error_at(start, format!("expected each label once, found `{label}` again")));
            }
            labels.push(label);
            self.skip_space();
            if self.rest().starts_with(',') {
                self.at += 1;
                continue;
            }
            break;
        }
        if parenthesis {
            if !self.rest().starts_with(')') {
                return Err(self.expected("`,` or `)`"));
            }
            self.at += 1;
            self.skip_space();
        }
        if self.at_end() { Ok(labels) } else { Err(self.expected("`,` or the end")) }
    }

    fn matcher(&mut self) -> Result<Matcher, QueryError> {
        let label = self.name("a label matcher such as service=api, or `by`", false)?;
        self.skip_space();
        let op = ["=~", "!~", "!=", "="].into_iter().find(|op| self.rest().starts_with(op));
        let Some(op) = op else {
            return Err(self.expected(&format!("=, !=, =~ or !~ after label `{label}`")));
        };
        self.at += op.len();
        self.skip_space();
        let start = self.at;
        let value = match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            Some(_) => self.take_until_space().to_owned(),
            None => return Err(self.expected(&format!("a value for label `{label}`"))),
        };
        if !matches!(self.rest().chars().next(), None | Some(' ' | '\t' | '\n' | '\r')) {
            return Err(self.expected("a space after the value"));
        }
        Matcher::new(label, op, value).map_err(|error| {
            self.error_at(start, format!("expected a regular expression: {}", error.lines().last().unwrap_or_default()))
        })
    }

    fn quoted(&mut self, quote: char) -> Result<String, QueryError> {
        let start = self.at;
        let mut value = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = characters.next() {
            match c {
                '\\' => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, escaped @ ('\\' | '"' | '\''))) => value.push(escaped),
                    // Any other backslash stands for itself, so that regular expressions need no doubling.
                    Some((_, other)) => value.extend(['\\', other]),
                    None => break,
                },
                c if c == quote => {
                    self.at += offset + c.len_utf8();
                    return Ok(value);
                }
                c => value.push(c),
            }
        }
        Err(self.error_at(start, format!("expected a closing {quote}, found the end")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<ShortQuery, QueryError> {
        text.parse()
    }

    #[test]
    fn the_classic_rules_parse() {
        let query = parse("rate error_count service=api").expect("valid");
        assert_eq!(query.function, Function::Rate);
        assert_eq!(query.metric, "error_count");
        assert_eq!(query.matchers, [Matcher::equal("service", "api")]);
        assert_eq!(query.by, Vec::<String>::new());
        assert_eq!(parse("p95 response_time").expect("valid").function, Function::Quantile(0.95));
        assert_eq!(parse("p99.9 response_time").expect("valid").function.to_string(), "p99.9");
    }

    #[test]
    fn matchers_and_grouping_parse() {
        let query = parse(r#"sum m a="x y" b!=2 c=~"5\d\d|4.." d!~'it\'s' by service,host"#).expect("valid");
        assert_eq!(query.matchers[0].value, "x y");
        assert_eq!(query.matchers[1].to_string(), "b!=2");
        assert!(query.matchers[2].matches("503") && query.matchers[2].matches("40x"));
        assert!(!query.matchers[2].matches("5031"));
        assert!(!query.matchers[3].matches("it's"));
        assert_eq!(query.by, ["service", "host"]);
        assert_eq!(parse("sum m by (a, b)").expect("valid").by, ["a", "b"]);
        assert_eq!(parse("sum m by=x").expect("valid").matchers, [Matcher::equal("by", "x")]);
    }

    #[test]
    fn errors_name_the_column_and_what_was_expected() {
        for (text, column, expected) in [
            ("", 1, "a function"),
            ("   ", 4, "a function"),
            ("median m", 1, "a function"),
            ("p101 m", 1, "p0 to p100"),
            ("rate", 5, "the name of a metric"),
            ("rate 5xx", 6, "the name of a metric"),
            ("rate m{a=\"b\"}", 7, "a space after the name of a metric"),
            ("rate m service", 15, "=, !=, =~ or !~ after label `service`"),
            ("rate m service=", 16, "a value for label `service`"),
            ("rate m a=\"b", 10, "a closing \""),
            ("rate m a=\"b\"c", 13, "a space after the value"),
            ("rate m a=~(", 11, "a regular expression"),
            ("rate m by", 10, "the name of a label"),
            ("rate m by a,", 13, "the name of a label"),
            ("rate m by a b", 13, "`,` or the end"),
            ("rate m by (a", 13, "`,` or `)`"),
            ("rate m by a,a", 13, "each label once"),
            ("räte m", 1, "a function"),
            ("rate m ü=1", 8, "a label matcher"),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.message.contains(expected), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_within_it(text in ".{0,60}") {
            if let Err(error) = parse(&text) {
                prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
            }
        }

        #[test]
        fn a_query_survives_being_written_and_read(
            function in prop_oneof![Just("sum"), Just("rate"), Just("p99.9"), Just("p50")],
            metric in "[a-z_:][a-z0-9_:]{0,8}",
            values in proptest::collection::vec(("[a-z_][a-z0-9_]{0,5}", "=|!=|=~|!~", "[a-z0-9 .\"\\\\|]{0,8}"), 0..4),
            by in proptest::collection::btree_set("[a-z_]{1,5}", 0..3),
        ) {
            let matchers: Result<Vec<_>, _> = values
                .into_iter()
                .map(|(label, op, value)| Matcher::new(label, &op, value))
                .collect();
            if let Ok(matchers) = matchers {
                let function = function.parse().expect("function");
                let query = ShortQuery { function, metric, matchers, by: by.into_iter().collect() };
                prop_assert_eq!(&parse(&query.to_string()).expect("valid"), &query, "{}", query);
            }
        }
    }
}
