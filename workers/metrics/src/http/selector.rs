//! Selectors in `match[]`: `name{label="value",…}`, as PromQL has them.

use taffrail_query::Matcher;

use super::params::ApiError;

/// A metric, if it is named, and conditions on labels, `__name__` among them.
#[derive(Debug, PartialEq)]
pub(super) struct Selector {
    pub(super) metric: Option<String>,
    pub(super) matchers: Vec<Matcher>,
}

/// Parses `match[]`.
pub(super) fn parse(text: &str) -> Result<Selector, ApiError> {
    let mut parser = Parser { text, rest: text };
    parser.selector().map_err(|problem| {
        let column = text.len() - parser.rest.len();
        let column = text[..column].chars().count() + 1;
        ApiError::parameter("match[]", format!("column {column}: {problem}"))
    })
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn selector(&mut self) -> Result<Selector, String> {
        self.skip_space();
        let metric = self.name(true);
        self.skip_space();
        let mut matchers = Vec::new();
        if self.eat("{") {
            self.matchers(&mut matchers)?;
        }
        self.skip_space();
        if !self.rest.is_empty() {
            return Err(self.expected(if matchers.is_empty() { "`{` or the end" } else { "the end" }));
        }
        if metric.is_empty() && matchers.is_empty() {
            return Err(self.expected("the name of a metric, or a label matcher in braces"));
        }
        Ok(Selector { metric: (!metric.is_empty()).then(|| metric.to_owned()), matchers })
    }

    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<(), String> {
        loop {
            self.skip_space();
            if self.eat("}") {
                return Ok(());
            }
            let label = self.name(false);
            if label.is_empty() {
                return Err(self.expected("the name of a label, or `}`"));
            }
            self.skip_space();
            let op = ["=~", "!~", "!=", "="].into_iter().find(|op| self.rest.starts_with(op));
            let op = op.ok_or_else(|| self.expected("=, !=, =~ or !~"))?;
            self.rest = &self.rest[op.len()..];
            self.skip_space();
            let value = self.quoted()?;
            matchers.push(Matcher::new(label.to_owned(), op, value).map_err(|error| {
                format!("expected a regular expression before this: {}", error.lines().last().unwrap_or_default())
            })?);
            self.skip_space();
            if !self.eat(",") && !self.rest.starts_with('}') {
                return Err(self.expected("`,` or `}`"));
            }
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, text: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(text) else { return false };
        self.rest = rest;
        true
    }

    fn name(&mut self, metric: bool) -> &'a str {
        let accept = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || (metric && c == ':');
        let length = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        name
    }

    fn quoted(&mut self) -> Result<String, String> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let quote = quote.ok_or_else(|| self.expected("a quoted value"))?;
        let mut value = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' => match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    Some(escaped) => value.push(escaped),
                    None => break,
                },
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(value);
                }
                c => value.push(c),
            }
        }
        Err(format!("expected a closing {quote} for this"))
    }

    fn expected(&self, what: &str) -> String {
        let found = self.rest.chars().next().map_or_else(|| "the end".to_owned(), |c| format!("`{c}`"));
        let text = if self.text.chars().count() > 80 { "" } else { self.text };
        if text.is_empty() {
            format!("expected {what}, found {found}")
        } else {
            format!("expected {what}, found {found} in `{text}`")
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn selectors_parse() {
        let selector = parse(r#" up{ job="a\"b", x=~'y|z' ,} "#).expect("valid");
        assert_eq!(selector.metric.as_deref(), Some("up"));
        assert_eq!(selector.matchers[0], Matcher::equal("job", "a\"b"));
        assert!(selector.matchers[1].matches("z"));
        assert_eq!(parse("up").expect("valid").matchers, []);
        assert_eq!(parse(r#"{__name__="up"}"#).expect("valid").metric, None);
    }

    #[rstest]
    #[case("", "column 1: expected the name of a metric")]
    #[case("{}", "column 3: expected the name of a metric")]
    #[case("up[5m]", "column 3: expected `{` or the end, found `[`")]
    #[case("up{", "column 4: expected the name of a label, or `}`")]
    #[case("up{a}", "column 5: expected =, !=, =~ or !~")]
    #[case("up{a=b}", "column 6: expected a quoted value")]
    #[case("up{a=\"b}", "column 6: expected a closing \"")]
    #[case("up{a=\"b\" c=\"d\"}", "column 10: expected `,` or `}`")]
    #[case("up{a=\"b\"} x", "column 11: expected the end")]
    #[case("up{a=~\"(\"}", "column 10: expected a regular expression")]
    fn errors_name_the_column(#[case] text: &str, #[case] expected: &str) {
        let error = format!("{:?}", parse(text).expect_err("wrong"));
        assert!(error.replace("\\\"", "\"").contains(expected), "{error}");
    }
}
