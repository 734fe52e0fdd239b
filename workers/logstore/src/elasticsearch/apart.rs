//! Logs with what Elasticsearch can't index at all: a field without a name, a timestamp of `12:00:60`.
//!
//! The log is not to be lost for it. It is written once more with such things put apart, where they are kept and shown but
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
    /// The timestamp as it was; in its place is the record's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
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

/// The document for a record of this time (milliseconds since 1970), with what is odd put apart or, if nothing is, all
/// fields and tags. None if there is nothing to put apart.
pub(super) fn put_apart(source: &[u8], time: i64) -> Option<Vec<u8>> {
    let mut entry: LogEntry = serde_json::from_slice(source).ok()?;
    let mut apart = Apart::default();
    if !is_plain_time(&entry.timestamp) {
        let plain = jiff::Timestamp::from_millisecond(time).ok()?.to_string();
        apart.timestamp = Some(std::mem::replace(&mut entry.timestamp, plain));
    }
    let (odd_fields, fields) =
        std::mem::take(&mut entry.fields).into_iter().partition::<Map<_, _>, _>(|(key, value)| is_odd(key, value));
    let (odd_tags, tags) = std::mem::take(&mut entry.tags)
        .into_iter()
        .partition::<BTreeMap<_, _>, _>(|(key, value)| is_odd(key, &Value::from(value.as_str())));
    if apart.timestamp.is_some() || !odd_fields.is_empty() || !odd_tags.is_empty() {
        (apart.fields, apart.tags) = (odd_fields, odd_tags);
        (entry.fields, entry.tags) = (fields, tags);
    } else if fields.is_empty() && tags.is_empty() {
        return None;
    } else {
        (apart.fields, apart.tags) = (fields, tags);
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
        if let Some(timestamp) = unindexed.timestamp {
            entry.timestamp = timestamp;
        }
    }
}

/// Whether Elasticsearch is known to read a timestamp: RFC 3339 allows more (small letters, a space, leap seconds).
fn is_plain_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = bytes.get(10) == Some(&b'T') && text.is_ascii() && !text.ends_with('z');
    let fraction = text.split_once('.').map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
    shape && fraction <= 9 && bytes.get(17..19) != Some(b"60") && text.parse::<jiff::Timestamp>().is_ok()
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
        let document: Value = serde_json::from_slice(&put_apart(log.to_string().as_bytes(), 0).unwrap()).unwrap();
        assert_eq!(json!({"tags": document["tags"], "fields": document["fields"]}), *indexed);
        let text = document.to_string();
        let mut entry: LogEntry = serde_json::from_str(&text).unwrap();
        put_back(&text, &mut entry);
        assert_eq!(entry, serde_json::from_value(log.clone()).unwrap());
    }

    #[test]
    fn odd_fields_are_put_apart_and_back() {
        check(
            &json!({"timestamp": "2024-08-16T12:00:00Z", "message": "m", "tags": {"": "1", "a": "2"}, "fields": {"x": [{" ": 1}], "y": 2, "z": {"as_number": 3}, "l": "x".repeat(LARGEST + 1)}}),
            &json!({"tags": {"a": "2"}, "fields": {"y": 2}}),
        );
    }

    #[test]
    fn all_are_when_none_is_odd() {
        check(
            &json!({"timestamp": "2024-08-16T12:00:00Z", "tags": {"a": "2"}, "fields": {"y": 2}}),
            &json!({"tags": {}, "fields": {}}),
        );
    }

    #[test]
    fn odd_times_give_way_to_the_record_s_own() {
        for odd in ["yesterday", "2024-08-16t12:00:00z", "2024-08-16 12:00:00Z", "2016-12-31T23:59:60Z", ""] {
            let log = json!({"timestamp": odd, "fields": {"y": 2}});
            check(&log, &json!({"tags": {}, "fields": {"y": 2}}));
            let document: Value = serde_json::from_slice(&put_apart(log.to_string().as_bytes(), 1).unwrap()).unwrap();
            assert_eq!(document["timestamp"], "1970-01-01T00:00:00.001Z");
        }
        for plain in ["2024-08-16T12:00:00Z", "2024-08-16T12:00:00.123456789+02:00"] {
            assert!(is_plain_time(plain), "{plain}");
        }
    }

    #[test]
    fn where_there_is_nothing_to_put_apart_nothing_is() {
        assert!(put_apart(br#"{"timestamp":"2024-08-16T12:00:00Z","message":"m"}"#, 0).is_none());
        assert!(put_apart(b"[1]", 0).is_none());
    }
}
