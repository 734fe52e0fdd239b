//! Queries in Elasticsearch's terms.
//!
//! What a user wrote becomes values of the query, never parts of a query language: there is nothing to inject into.

use serde_json::{Map, Value, json};

use super::dialect::Dialect;
use super::template;
use crate::TimeSpan;
use crate::day;
use crate::limits::{MAX_VALUE, within};
use crate::q::{Bound, Key, Query, term_number};

/// A query in the server's terms.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Translated {
    /// The clause.
    pub clause: Value,
    /// Fields that OpenSearch has to read from the sources for it; most queries need none.
    pub derived: Map<String, Value>,
}

impl Translated {
    /// A search's body with this query.
    pub(super) fn body(self) -> Value {
        let mut body = json!({"query": self.clause});
        if !self.derived.is_empty() {
            body["derived"] = self.derived.into();
        }
        body
    }
}

/// The logs of a span that a query finds.
pub(super) fn translate(query: &Query, span: TimeSpan, dialect: Dialect) -> Translated {
    let mut translation = Translation { dialect, derived: Map::new() };
    let when = match span {
        TimeSpan { from: None, to: None } => exists("timestamp"),
        _ => {
            let (from, to) = day::clamped(span);
            json!({"range": {"timestamp": {"gte": from, "lt": to, "format": "epoch_millis"}}})
        }
    };
    let what = translation.clause(query);
    Translated { clause: json!({"bool": {"filter": [when, what]}}), derived: translation.derived }
}

struct Translation {
    dialect: Dialect,
    derived: Map<String, Value>,
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
            (Key::Field(_), Some(number)) if self.dialect == Dialect::FlatObject => {
                let mut spellings = vec![text.to_owned(), Value::from(number).to_string(), number.to_string()];
                spellings.sort();
                spellings.dedup();
                either(spellings.into_iter().map(|text| equals(&name, text)).collect())
            }
            (Key::Field(_), Some(number)) => {
                let mut clauses = vec![equals(&name, text), equals(&number_of(&name), number)];
                if number == 0.0 {
                    clauses.push(equals(&number_of(&name), zero_or(number, true)));
                }
                either(clauses)
            }
            _ => equals(&name, text),
        }
    }

    fn wildcard(&self, key: &Key, pattern: &str) -> Value {
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
                // It may also be too long to be indexed.
                let there = either(vec![exists(&name), equals("_ignored", name.as_str())]);
                json!({"bool": {"filter": [there], "must_not": [equals(&name, "")]}})
            }
            Key::Tag(_) => {
                let name = name_of(key).unwrap_or_default();
                // To `exists`, a name that is not mapped is the start of longer ones.
                either(vec![json!({"prefix": {&name: {"value": ""}}}), equals("_ignored", name)])
            }
            Key::Field(_) if self.dialect == Dialect::FlatObject => exists(&name_of(key).unwrap_or_default()),
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
            Key::Field(path) => {
                let name = self.number(path);
                if low.is_none() && high.is_none() {
                    return exists(&name);
                }
                let mut bounds = Map::new();
                if let Some(bound) = low {
                    let value = zero_or(bound.value, bound.inclusive);
                    bounds.insert(if bound.inclusive { "gte" } else { "gt" }.to_owned(), value.into());
                }
                if let Some(bound) = high {
                    let value = zero_or(bound.value, !bound.inclusive);
                    bounds.insert(if bound.inclusive { "lte" } else { "lt" }.to_owned(), value.into());
                }
                let range = json!({"range": {name: bounds}});
                match self.dialect {
                    // The index knows which logs have the field; only of those the sources are read.
                    Dialect::FlatObject => {
                        json!({"bool": {"filter": [exists(&name_of(key).unwrap_or_default()), range]}})
                    }
                    Dialect::Mapped | Dialect::Limited => range,
                }
            }
            Key::Message | Key::Level | Key::Service | Key::Host | Key::Tag(_) => none(),
        }
    }
}

impl Translation {
    /// The field that has the numbers at a path.
    fn number(&mut self, path: &str) -> String {
        if self.dialect != Dialect::FlatObject {
            return number_of(&format!("fields.{path}"));
        }
        let name = format!("taffrail_number_{}", self.derived.len());
        // The path is a parameter, not a part of the program.
        let script = json!({"source": NUMBERS_AT, "params": {"path": path}});
        self.derived.insert(name.clone(), json!({"type": "double", "script": script}));
        name
    }
}

/// Gives the numbers at a path of the fields, as [`crate::q`] has them: arrays are passed through, and a key with dots is
/// the same as nested objects.
const NUMBERS_AT: &str = r#"
List numbers(def node, String path) {
    List found = new ArrayList();
    if (node instanceof List) {
        for (def element : node) { found.addAll(numbers(element, path)); }
    } else if (path == null) {
        if (node instanceof Number) { found.add(node.doubleValue()); }
    } else if (node instanceof Map) {
        for (def member : node.entrySet()) {
            String key = member.getKey();
            if (path.equals(key)) { found.addAll(numbers(member.getValue(), null)); }
            else if (path.startsWith(key + '.')) { found.addAll(numbers(member.getValue(), path.substring(key.length() + 1))); }
        }
    }
    return found;
}
for (def number : numbers(params._source.fields, params.path)) { emit(number); }
"#;

/// The value or, if it is zero, the negative or positive one: to Lucene, which compares bits, there are two, and a range
/// must have both or none.
fn zero_or(value: f64, negative: bool) -> f64 {
    match value {
        0.0 if negative => -0.0,
        0.0 => 0.0,
        other => other,
    }
}

fn times(low: Option<Bound>, high: Option<Bound>) -> Value {
    let (from, to) = day::clamped(day::between(low, high));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn what(query: &str, dialect: Dialect) -> Value {
        let translated = translate(&Query::parse(query).unwrap(), TimeSpan::default(), dialect);
        translated.clause["bool"]["filter"][1].clone()
    }

    #[track_caller]
    fn check(query: &str, clause: Value) {
        assert_eq!(what(query, Dialect::Mapped), clause, "{query}");
    }

    #[test]
    fn conditions_become_clauses() {
        check("*", json!({"match_all": {}}));
        check("timeout", json!({"term": {"message": {"value": "timeout"}}}));
        check("\"Connection reset\"", json!({"match_phrase": {"message": "connection reset"}}));
        check("service:api", json!({"term": {"service": {"value": "api"}}}));
        check("tags.env:pr*d", json!({"wildcard": {"tags.env": {"value": "pr*d"}}}));
        check(
            "fields.status:503",
            either(vec![
                json!({"term": {"fields.status": {"value": "503"}}}),
                json!({"term": {"fields.status.as_number": {"value": 503.0}}}),
            ]),
        );
        check("fields.id:9007199254740995", json!({"term": {"fields.id": {"value": "9007199254740995"}}}));
        check("fields.n:[1 TO 5}", json!({"range": {"fields.n.as_number": {"gte": 1.0, "lt": 5.0}}}));
        check("NOT a", json!({"bool": {"must_not": [{"term": {"message": {"value": "a"}}}]}}));
        let (a, b) = (json!({"term": {"message": {"value": "a"}}}), json!({"term": {"message": {"value": "b"}}}));
        check("a b", json!({"bool": {"filter": [a, b]}}));
        check("a OR b", json!({"bool": {"should": [a, b], "minimum_should_match": 1}}));
    }

    #[test]
    fn what_a_user_writes_is_a_value() {
        let evil = r#""}},{"match_all":{"#;
        let clause = Query::Term(Key::Service, evil.to_owned());
        let clause = translate(&clause, TimeSpan::default(), Dialect::Mapped).clause["bool"]["filter"][1].clone();
        assert_eq!(clause, json!({"term": {"service": {"value": evil}}}));
        let path =
            Query::Range(Key::Field("'); Runtime.exit('".into()), Some(Bound { value: 1.0, inclusive: true }), None);
        let translated = translate(&path, TimeSpan::default(), Dialect::FlatObject);
        let script = &translated.derived["taffrail_number_0"]["script"];
        assert_eq!(script["source"], NUMBERS_AT);
        assert_eq!(script["params"]["path"], "'); Runtime.exit('");
    }

    #[test]
    fn queries_about_nothing_find_nothing() {
        let find = |query| translate(&query, TimeSpan::default(), Dialect::Mapped).clause["bool"]["filter"][1].clone();
        assert_eq!(find(Query::Or(vec![])), none());
        assert_eq!(find(Query::Phrase(vec![])), none());
        assert_eq!(find(Query::Range(Key::Level, None, None)), none());
        assert_eq!(find(Query::Term(Key::Timestamp, "x".into())), none());
        assert_eq!(find(Query::Term(Key::Host, "x".repeat(1025))), none());
        assert_eq!(find(Query::And(vec![])), all());
    }

    #[test]
    fn opensearch_reads_numbers_from_the_sources() {
        let clause = what("fields.n:>5 fields.m:<2", Dialect::FlatObject);
        let range = |field: &str, number: &str, bounds: Value| json!({"bool": {"filter": [{"exists": {"field": field}}, {"range": {number: bounds}}]}});
        let both = [
            range("fields.n", "taffrail_number_0", json!({"gt": 5.0})),
            range("fields.m", "taffrail_number_1", json!({"lt": 2.0})),
        ];
        assert_eq!(clause, json!({"bool": {"filter": both}}));
        let clause = what("fields.status:503", Dialect::FlatObject);
        assert_eq!(clause["bool"]["should"].as_array().unwrap().len(), 2);
    }
}
