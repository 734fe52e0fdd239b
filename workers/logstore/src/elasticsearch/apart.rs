//! Logs with fields that Elasticsearch can't index at all, such as one without a name.
//!
//! The log is not to be lost for it. It is written once more with such fields put apart, where they are kept and shown but
//! not indexed. Only then the document is not the source byte for byte.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::template;
use crate::LogEntry;

/// A term can have 32,766 bytes in Lucene, and OpenSearch makes one of a path and its value.
const LARGEST: usize = 16 << 10;

/// What is put apart, below the key [`template::UNINDEXED`].
#[derive(Serialize, Deserialize, Default)]
struct Apart {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

#[derive(Deserialize)]
struct Document {
    // The name is that of template::UNINDEXED.
    #[serde(default)]
    unindexed: Apart,
}

/// The document with those fields put apart that are odd or, if none is, all. None if there is nothing to put apart.
pub(super) fn put_apart(source: &[u8]) -> Option<Vec<u8>> {
    let mut entry: LogEntry = serde_json::from_slice(source).ok()?;
    let (odd_fields, fields) =
        std::mem::take(&mut entry.fields).into_iter().partition(|(key, value)| is_odd(key, value));
    let (odd_tags, tags) = std::mem::take(&mut entry.tags).into_iter().partition(|(key, _)| is_odd(key, &Value::Null));
    let mut apart = Apart { tags: odd_tags, fields: odd_fields };
    if apart.tags.is_empty() && apart.fields.is_empty() {
        apart = Apart { tags, fields };
    } else {
        (entry.tags, entry.fields) = (tags, fields);
    }
    if apart.tags.is_empty() && apart.fields.is_empty() {
        return None;
    }
    let mut document = serde_json::to_value(entry).ok()?;
    document.as_object_mut()?.insert(template::UNINDEXED.to_owned(), serde_json::to_value(apart).ok()?);
    serde_json::to_vec(&document).ok()
}

/// Puts back what was put apart in a document.
pub(super) fn put_back(source: &str, entry: &mut LogEntry) {
    if source.contains(template::UNINDEXED)
        && let Ok(Document { unindexed }) = serde_json::from_str(source)
    {
        entry.tags.extend(unindexed.tags);
        entry.fields.extend(unindexed.fields);
    }
}

fn is_odd(key: &str, value: &Value) -> bool {
    key.trim().is_empty()
        || key.len() > LARGEST
        || key.split('.').any(|part| part == template::NUMBER)
        || match value {
            Value::Object(members) => members.iter().any(|(key, value)| is_odd(key, value)),
            Value::String(text) => text.len() > LARGEST,
            Value::Array(elements) => elements.iter().any(|element| is_odd("element", element)),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(log: &Value, indexed: &Value) {
        let document: Value = serde_json::from_slice(&put_apart(log.to_string().as_bytes()).unwrap()).unwrap();
        assert_eq!(json!({"tags": document["tags"], "fields": document["fields"]}), *indexed);
        let text = document.to_string();
        let mut entry: LogEntry = serde_json::from_str(&text).unwrap();
        put_back(&text, &mut entry);
        assert_eq!(entry, serde_json::from_value(log.clone()).unwrap());
    }

    #[test]
    fn odd_fields_are_put_apart_and_back() {
        check(
            &json!({"timestamp": "t", "message": "m", "tags": {"": "1", "a": "2"}, "fields": {"x": [{" ": 1}], "y": 2, "z": {"as_number": 3}, "l": "x".repeat(LARGEST + 1)}}),
            &json!({"tags": {"a": "2"}, "fields": {"y": 2}}),
        );
    }

    #[test]
    fn all_are_when_none_is_odd() {
        check(&json!({"timestamp": "t", "tags": {"a": "2"}, "fields": {"y": 2}}), &json!({"tags": {}, "fields": {}}));
    }

    #[test]
    fn a_log_without_fields_stays_refused() {
        assert!(put_apart(br#"{"timestamp":"yesterday","message":"m"}"#).is_none());
        assert!(put_apart(b"[1]").is_none());
    }
}
