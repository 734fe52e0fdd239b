//! Logs that other protocols bring, as entries in the shape in which they are stored.

use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};
use taffrail_logstore::{Level, LogEntry};

use super::body::{self, Room};
use super::refusal::Refusal;
use super::{MAX_BODY, MAX_RECORDS};
use crate::decode::{self, mapping};
use crate::digits;

/// What the logs of a request have in common, such as their sender.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Origin {
    pub(super) service: String,
    pub(super) host: String,
    /// As the sender writes it.
    pub(super) level: String,
    pub(super) tags: std::collections::BTreeMap<String, String>,
    pub(super) fields: Map<String, Value>,
}

/// Makes an entry of what a log says: a text, an object, or anything. A text that is itself an object in JSON is read
/// as that object; what the object says of itself counts, and what its sender says where it says nothing. `at` is
/// milliseconds since 1970, and in RFC 3339.
pub(super) fn entry(said: Value, at: (i64, String), origin: &Origin) -> LogEntry {
    let (millis, timestamp) = at;
    let said = match said {
        Value::String(text) if text.starts_with('{') && text.trim_end().ends_with('}') => {
            serde_json::from_str::<Map<_, _>>(&text).map_or(Value::String(text), Value::Object)
        }
        other => other,
    };
    let mut entry = match said {
        Value::Object(mut object) => {
            if !mapping::has_timestamp(&object) {
                object.insert("timestamp".to_owned(), Value::String(timestamp));
            }
            mapping::map(object, millis).entry
        }
        Value::String(message) => LogEntry { timestamp, message, ..LogEntry::default() },
        Value::Null => LogEntry { timestamp, ..LogEntry::default() },
        other => LogEntry { timestamp, message: other.to_string(), ..LogEntry::default() },
    };
    if entry.level.is_empty() && !origin.level.is_empty() {
        let level = Level::normalise(&origin.level).map_or("", Level::as_str);
        if level != origin.level {
            mapping::keep(&mut entry.fields, "original_level".to_owned(), origin.level.clone().into());
        }
        level.clone_into(&mut entry.level);
    }
    for (own, given) in [(&mut entry.service, &origin.service), (&mut entry.host, &origin.host)] {
        if own.is_empty() {
            own.clone_from(given);
        }
    }
    for (key, value) in &origin.tags {
        entry.tags.entry(key.clone()).or_insert_with(|| value.clone());
    }
    for (key, value) in &origin.fields {
        mapping::keep(&mut entry.fields, key.clone(), value.clone());
    }
    entry
}

/// Entries of one request, as bytes, within its room.
pub(super) struct Entries {
    room: Room,
    buffer: BytesMut,
    logs: Vec<Bytes>,
    /// Bytes of the request's body, which is held meanwhile, and of the entries.
    body: usize,
    bytes: usize,
}

impl Entries {
    pub(super) fn push(&mut self, entry: &LogEntry) -> Result<(), Refusal> {
        if self.logs.len() >= MAX_RECORDS {
            return Err(Refusal::TooMany);
        }
        let log = decode::write(&mut self.buffer, entry)?;
        self.bytes += log.len();
        // A few bytes that all records have in common become many.
        if self.bytes > MAX_BODY {
            return Err(Refusal::TooLarge);
        }
        self.room.grow(self.body + self.bytes)?;
        self.logs.push(log);
        Ok(())
    }
}

/// Reads the entries of a body.
fn read_within(
    room: Room,
    body: &[u8],
    read: impl FnOnce(&[u8], &mut Entries) -> Result<(), Refusal>,
) -> Result<Entries, Refusal> {
    let mut entries = Entries { room, buffer: BytesMut::new(), logs: Vec::new(), body: body.len(), bytes: 0 };
    read(body, &mut entries)?;
    Ok(entries)
}

/// The entries of a body, for checks.
#[cfg(any(test, fuzzing))]
pub(super) fn read_all(
    body: &[u8],
    room: Room,
    read: impl FnOnce(&[u8], &mut Entries) -> Result<(), Refusal>,
) -> Result<Vec<Bytes>, Refusal> {
    read_within(room, body, read).map(|entries| entries.logs)
}

/// Translates a body. Each entry gets an id from the body and its place in it, so that a request that is sent again,
/// because its answer got lost, is stored once. The protocols here carry each log's own time to the nanosecond: who
/// sends the same bytes again means the same logs.
pub(super) async fn translate(
    pipeline: String,
    body: Bytes,
    room: Room,
    read: impl FnOnce(&[u8], &mut Entries) -> Result<(), Refusal> + Send + 'static,
) -> Result<(Vec<(Option<String>, Bytes)>, Room), Refusal> {
    body::apart(move || {
        let entries = read_within(room, &body, read)?;
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        digest.update(pipeline.as_bytes());
        digest.update(&[0]);
        digest.update(&body);
        let digest = digits::hex(&digest.finish().as_ref()[..16]);
        let logs = entries.logs.into_iter().enumerate();
        let logs = logs.map(|(index, log)| (Some(format!("{digest}-{index}")), log)).collect();
        Ok((logs, entries.room))
    })
    .await
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use taffrail_logstore::Records;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::decode::canonical::Reader;

    /// The entries of a body, each checked to be one that is stored as it is.
    pub(crate) fn entries(
        body: &[u8],
        read: impl FnOnce(&[u8], &mut Entries) -> Result<(), Refusal>,
    ) -> Result<Vec<Value>, Refusal> {
        let room = Room::new(&Arc::new(Semaphore::new(3 * MAX_BODY)), 1)?;
        let logs = read_all(body, room, read)?;
        let logs = logs.iter().map(|log| {
            let text = std::str::from_utf8(log).expect("text");
            let is_canonical = Reader::new(Vec::new()).read(text, &mut Records::default()).is_some();
            assert!(is_canonical, "{text}");
            serde_json::from_str(text).expect("JSON")
        });
        Ok(logs.collect())
    }

    fn at() -> (i64, String) {
        (1_000, "1970-01-01T00:00:01Z".to_owned())
    }

    #[test]
    fn what_the_log_itself_says_counts_first() {
        let origin = Origin {
            service: "pod".to_owned(),
            host: "node".to_owned(),
            level: "INFO".to_owned(),
            tags: [("env".to_owned(), "prod".to_owned())].into(),
            fields: Map::from_iter([("a".to_owned(), json!(1))]),
        };
        let text = r#"{"ts":"2026-11-23T10:00:00.123456789Z","lvl":"ERROR","msg":"no","app":"api","a":2,"n":7}"#;
        let log = entry(json!(text), at(), &origin);
        assert_eq!(log.timestamp, "2026-11-23T10:00:00.123456789Z");
        assert_eq!((&*log.level, &*log.message, &*log.service, &*log.host), ("error", "no", "api", "node"));
        assert_eq!(Value::Object(log.fields), json!({"original_level": "ERROR", "a": 2, "a_": 1, "n": 7}));
        assert_eq!(log.tags["env"], "prod");

        let log = entry(json!("{not JSON}"), at(), &origin);
        assert_eq!((&*log.message, &*log.level, &*log.service), ("{not JSON}", "info", "pod"));
        assert_eq!(log.timestamp, "1970-01-01T00:00:01Z");
        assert_eq!(entry(json!([1, "a"]), at(), &origin).message, "[1,\"a\"]");
        assert_eq!(entry(json!({"message": 5}), at(), &origin).message, "5");
        assert_eq!(entry(Value::Null, at(), &origin).message, "");
    }

    #[test]
    fn what_all_records_have_in_common_can_not_become_endless() {
        let origin = Origin { service: "x".repeat(1 << 20), ..Origin::default() };
        let read = |_: &[u8], entries: &mut Entries| loop {
            entries.push(&entry(Value::Null, at(), &origin))?;
        };
        assert!(matches!(entries(b"", read), Err(Refusal::TooLarge)));
    }
}
