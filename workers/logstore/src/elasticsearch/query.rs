//! Queries in Elasticsearch's terms.
//!
//! What a user wrote becomes values of the query, never parts of a query language: there is nothing to inject into.

use serde_json::{Map, Value, json};

use super::dialect::Dialect;
use super::{index, template};
use crate::TimeSpan;
use crate::limits::{MAX_VALUE, within};
use crate::q::{Bound, Key, Query, term_number};

/// A query, and the fields that the server must read from the sources for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Translated {
    /// The clause.
    pub clause: Value,
    /// The key of a search's body for such fields, and the fields.
    pub from_source: Option<(&'static str, Map<String, Value>)>,
}

/// The logs of a span that a query finds.
pub(super) fn translate(query: &Query, span: TimeSpan, dialect: Dialect) -> Translated {
    let mut translation = Translation { dialect };
    let when = match span {
        TimeSpan { from: None, to: None } => exists("timestamp"),
        _ => {
            let (from, to) = index::clamped(span);
            json!({"range": {"timestamp": {"gte": from, "lt": to, "format": "epoch_millis"}}})
        }
    };
    let what = translation.clause(query);
    Translated { clause: json!({"bool": {"filter": [when, what]}}), from_source: None }
}

struct Translation {
    dialect: Dialect,
}

impl Translation {
    fn clause(&mut self, query: &Query) -> Value {
        match query {
            Query::All => all(),
            Query::And(queries) if queries.is_empty() => all(),
            Query::And(queries) => {
                let clauses: Vec<_> = queries.iter().map(|query| self.clause(query)).collect();
                json!({"bool": {"filter": clauses}})
            }
            Query::Or(queries) => either(queries.iter().map(|query| self.clause(query)).collect()),
            Query::Not(query) => json!({"bool": {"must_not": [self.clause(query)]}}),
            Query::Term(key, text) => self.term(key, text),
            Query::Phrase(words) if words.is_empty() => none(),
            Query::Phrase(words) => json!({"match_phrase": {"message": words.join(" ")}}),
            Query::Wildcard(key, pattern) => self.wildcard(key, pattern),
            Query::Exists(key) => self.exists(key),
            Query::Range(key, low, high) => self.range(key, *low, *high),
        }
    }

    fn term(&self, key: &Key, text: &str) -> Value {
        let Some(name) = name_of(key).filter(|_| within(text, MAX_VALUE)) else { return none() };
        match (key, term_number(text)) {
            (Key::Field(_), Some(number)) if self.dialect == Dialect::Mapped => {
                either(vec![equals(&name, text), equals(&number_of(&name), number)])
            }
            _ => equals(&name, text),
        }
    }

    fn wildcard(&mut self, key: &Key, pattern: &str) -> Value {
        let Some(name) = name_of(key) else { return none() };
        json!({"wildcard": {name: {"value": pattern}}})
    }

    fn exists(&self, key: &Key) -> Value {
        match key {
            Key::Timestamp => all(),
            // It is not enough that there is a message, it needs a word.
            Key::Message => json!({"prefix": {"message": {"value": ""}}}),
            Key::Level | Key::Service | Key::Host => {
                let name = name_of(key).unwrap_or_default();
                json!({"bool": {"filter": [there(&name)], "must_not": [equals(&name, "")]}})
            }
            Key::Tag(_) => there(&name_of(key).unwrap_or_default()),
            Key::Field(_) => {
                let name = name_of(key).unwrap_or_default();
                let below = format!("{name}.");
                either(vec![
                    exists(&name),
                    exists(&format!("{below}*")),
                    equals("_ignored", name),
                    json!({"prefix": {"_ignored": {"value": below}}}),
                ])
            }
        }
    }

    fn range(&mut self, key: &Key, low: Option<Bound>, high: Option<Bound>) -> Value {
        match key {
            Key::Timestamp => times(low, high),
            Key::Field(_) => {
                let name = number_of(&name_of(key).unwrap_or_default());
                if low.is_none() && high.is_none() {
                    return exists(&name);
                }
                let mut bounds = Map::new();
                if let Some(bound) = low {
                    bounds.insert(if bound.inclusive { "gte" } else { "gt" }.to_owned(), bound.value.into());
                }
                if let Some(bound) = high {
                    bounds.insert(if bound.inclusive { "lte" } else { "lt" }.to_owned(), bound.value.into());
                }
                json!({"range": {name: bounds}})
            }
            Key::Message | Key::Level | Key::Service | Key::Host | Key::Tag(_) => none(),
        }
    }
}

/// A range of whole milliseconds: those between bounds that may lie between two milliseconds.
fn times(low: Option<Bound>, high: Option<Bound>) -> Value {
    // As casts do, to the nearest that there is: far more than logs can have in either direction.
    #[allow(clippy::cast_possible_truncation)]
    let whole = |value: f64| value as i64;
    let from = low.map(|bound| match bound.inclusive {
        true => whole(bound.value.ceil()),
        false => whole(bound.value.floor()).saturating_add(1),
    });
    let to = high.map(|bound| match bound.inclusive {
        true => whole(bound.value.floor()).saturating_add(1),
        false => whole(bound.value.ceil()),
    });
    let (from, to) = index::clamped(TimeSpan { from, to });
    json!({"range": {"timestamp": {"gte": from, "lt": to, "format": "epoch_millis"}}})
}

/// The field in which the values of a key are; none for the timestamp, which has no text.
fn name_of(key: &Key) -> Option<String> {
    Some(match key {
        Key::Message => "message".to_owned(),
        Key::Level => "level".to_owned(),
        Key::Service => "service".to_owned(),
        Key::Host => "host".to_owned(),
        Key::Timestamp => return None,
        Key::Tag(name) => format!("tags.{name}"),
        Key::Field(path) => format!("fields.{path}"),
    })
}

fn number_of(name: &str) -> String {
    format!("{name}.{}", template::NUMBER)
}

fn all() -> Value {
    json!({"match_all": {}})
}

fn none() -> Value {
    json!({"match_none": {}})
}

fn either(mut clauses: Vec<Value>) -> Value {
    match clauses.len() {
        0 => none(),
        1 => clauses.swap_remove(0),
        _ => json!({"bool": {"should": clauses, "minimum_should_match": 1}}),
    }
}

fn equals(name: &str, value: impl Into<Value>) -> Value {
    json!({"term": {name: {"value": value.into()}}})
}

fn exists(name: &str) -> Value {
    json!({"exists": {"field": name}})
}

/// Whether a single value is there, be it one that was too long to index.
fn there(name: &str) -> Value {
    either(vec![exists(name), equals("_ignored", name)])
}
