//! Label matchers, as in PromQL.

use std::fmt;

use regex::Regex;

/// How a label's value is matched. A label that is not there has the empty value.
#[derive(Debug, Clone)]
pub enum MatchOp {
    /// Is the value.
    Equal,
    /// Is not the value.
    NotEqual,
    /// Fits the whole regular expression.
    Regex(Regex),
    /// Does not fit the whole regular expression.
    NotRegex(Regex),
}

impl MatchOp {
    /// As it is written in a query.
    #[must_use]
    pub const fn symbol(&self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex(_) => "=~",
            Self::NotRegex(_) => "!~",
        }
    }
}

/// A condition on one label.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label.
    pub label: String,
    /// How it is compared.
    pub op: MatchOp,
    /// The value, or the regular expression as written.
    pub value: String,
}

impl Matcher {
    /// A label that has exactly this value.
    #[must_use]
    pub fn equal(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), op: MatchOp::Equal, value: value.into() }
    }

    /// A matcher from its operator as written (`=`, `!=`, `=~`, `!~`).
    ///
    /// # Errors
    /// What is wrong with the regular expression.
    pub fn new(label: String, op: &str, value: String) -> Result<Self, String> {
        // Anchored at both ends, as Prometheus does it.
        let regex = || Regex::new(&format!("^(?s:{value})$")).map_err(|error| error.to_string());
        let op = match op {
            "!=" => MatchOp::NotEqual,
            "=~" => MatchOp::Regex(regex()?),
            "!~" => MatchOp::NotRegex(regex()?),
            _ => MatchOp::Equal,
        };
        Ok(Self { label, op, value })
    }

    /// Whether a label's value fits; an absent label is the empty value.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match &self.op {
            MatchOp::Equal => value == self.value,
            MatchOp::NotEqual => value != self.value,
            MatchOp::Regex(regex) => regex.is_match(value),
            MatchOp::NotRegex(regex) => !regex.is_match(value),
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.label == other.label && self.op.symbol() == other.op.symbol() && self.value == other.value
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.label, self.op.symbol())?;
        let bare = !self.value.is_empty()
            && self.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:".contains(&byte));
        if bare { f.write_str(&self.value) } else { write!(f, "{:?}", self.value) }
    }
}
