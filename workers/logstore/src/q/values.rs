//! The values that a log has for a key.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The largest magnitude up to which floats can tell integers apart.
pub(super) const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value of a field that is neither an object nor an array nor null.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf<'a> {
    /// The string, or the number or boolean as JSON has it.
    pub text: Cow<'a, str>,
    /// What the number is, if it is one.
    pub number: Option<f64>,
}

impl<'a> Leaf<'a> {
    fn of(value: &'a Value) -> Option<Self> {
        Some(match value {
            Value::Null | Value::Object(_) | Value::Array(_) => return None,
            Value::String(text) => Self { text: Cow::Borrowed(text), number: None },
            Value::Bool(true) => Self { text: Cow::Borrowed("true"), number: None },
            Value::Bool(false) => Self { text: Cow::Borrowed("false"), number: None },
            Value::Number(number) => Self { text: Cow::Owned(number.to_string()), number: number.as_f64() },
        })
    }
}

/// Calls `visit` with the path and value of every leaf, in the order of the document.
pub fn leaves<'a>(fields: &'a Map<String, Value>, visit: &mut impl FnMut(&str, Leaf<'a>)) {
    fn members<'a>(
        path: &mut String,
        is_inner: bool,
        fields: &'a Map<String, Value>,
        visit: &mut impl FnMut(&str, Leaf<'a>),
    ) {
        let length = path.len();
        for (key, value) in fields {
            // An empty path is one, too: that of an empty key.
            if is_inner {
                path.push('.');
            }
            path.push_str(key);
            walk(path, value, visit);
            path.truncate(length);
        }
    }
    fn walk<'a>(path: &mut String, value: &'a Value, visit: &mut impl FnMut(&str, Leaf<'a>)) {
        match value {
            Value::Object(fields) => members(path, true, fields, visit),
            Value::Array(elements) => elements.iter().for_each(|element| walk(path, element, visit)),
            _ => {
                if let Some(leaf) = Leaf::of(value) {
                    visit(path, leaf);
                }
            }
        }
    }
    members(&mut String::new(), false, fields, visit);
}

/// Whether any of the leaves at a path passes a test.
pub(super) fn any_leaf_at(fields: &Map<String, Value>, path: &str, test: &impl Fn(&Leaf<'_>) -> bool) -> bool {
    fields.iter().any(|(key, value)| match path.strip_prefix(key.as_str()) {
        Some("") => any_element(value, &|element| Leaf::of(element).is_some_and(|leaf| test(&leaf))),
        Some(rest) => rest.strip_prefix('.').is_some_and(|rest| {
            any_element(value, &|element| element.as_object().is_some_and(|fields| any_leaf_at(fields, rest, test)))
        }),
        None => false,
    })
}

/// Whether there is a leaf at a path or below it.
pub(super) fn any_leaf_from(fields: &Map<String, Value>, path: &str) -> bool {
    fields.iter().any(|(key, value)| match path.strip_prefix(key.as_str()) {
        Some("") => has_leaf(value),
        Some(rest) => rest.strip_prefix('.').is_some_and(|rest| {
            any_element(value, &|element| element.as_object().is_some_and(|fields| any_leaf_from(fields, rest)))
        }),
        None => key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')) && has_leaf(value),
    })
}

fn any_element(value: &Value, test: &impl Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(|element| any_element(element, test)),
        other => test(other),
    }
}

fn has_leaf(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(elements) => elements.iter().any(has_leaf),
        Value::Object(fields) => fields.values().any(has_leaf),
        _ => true,
    }
}

/// The number that a text is: digits, with a sign, fraction and exponent if need be; finite.
#[must_use]
pub fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let written = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !written || !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The number that a term stands for, if numbers equal to it are to be found: none for text that is no number, and for
/// integers that floats can't tell from their neighbours (those are compared as text).
#[must_use]
pub fn term_number(text: &str) -> Option<f64> {
    let value = number(text)?;
    let integer = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    // Zero has two forms as a float; stores that compare bits need one.
    (!integer || value.abs() <= EXACT).then_some(value + 0.0)
}
