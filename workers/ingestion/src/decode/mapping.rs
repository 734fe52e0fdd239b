//! Mapping an object onto a log entry.
//!
//! - The timestamp, level, message, service and host are looked for under the spellings below, in that order. The first
//!   that is there wins; the others go to `fields` like every key that has no place of its own. Spellings with a dot
//!   are also looked for as nested objects.
//! - A level is normalised. Where that changes it, the original is kept in `fields.original_level`.
//! - A timestamp that can't be read is kept in `fields.original_timestamp`, and the source's takes its place.
//! - A container runtime's line (`log`, `stream`, `time`) whose `log` is itself an object in JSON is read as that
//!   object; the runtime's time counts where it has none.
//! - Nothing is lost: a key that `fields` has already gets underscores behind it.

use serde_json::{Map, Value};
use taffrail_logstore::{Level, LogEntry};

use super::{Mapped, journald, timestamp};

type Object = Map<String, Value>;

const TIMESTAMP: [&str; 4] = ["timestamp", "@timestamp", "ts", "time"];
/// A timestamp only where it can be read as one.
const DATE: [&str; 1] = ["date"];
const LEVEL: [&str; 4] = ["level", "severity", "lvl", "log.level"];
const MESSAGE: [&str; 2] = ["message", "msg"];
/// A message only where it is a text: it may hold `log.level`, too.
const LOG: [&str; 1] = ["log"];
const SERVICE: [&str; 3] = ["service", "service.name", "app"];
const HOST: [&str; 3] = ["host", "hostname", "host.name"];

/// Maps an object. `arrived` is the source's timestamp, for logs that have none.
pub(crate) fn map(mut object: Object, arrived: i64) -> Mapped {
    if journald::is_entry(&object) {
        journald::rename(&mut object);
    }
    unwrap_container_line(&mut object);

    let mut fields = Object::new();
    let (timestamp, millis) = take_timestamp(&mut object, arrived, &mut fields);
    let level = take_level(&mut object, &mut fields);
    let message = take_text(&mut object, &MESSAGE, |value| Some(to_text(value)));
    let message = message.or_else(|| take_text(&mut object, &LOG, scalar)).unwrap_or_default();
    let service = take_text(&mut object, &SERVICE, scalar).unwrap_or_default();
    let host = take_text(&mut object, &HOST, scalar).unwrap_or_default();
    let mut tags = std::collections::BTreeMap::new();
    if let Some(Value::Object(given)) = object.get_mut("tags") {
        for (key, value) in std::mem::take(given) {
            match scalar(&value) {
                Some(text) => {
                    tags.insert(key, text);
                }
                None => {
                    given.insert(key, value);
                }
            }
        }
        if given.is_empty() {
            object.remove("tags");
        }
    }
    match object.remove("fields") {
        Some(Value::Object(given)) => given.into_iter().for_each(|(key, value)| keep(&mut fields, key, value)),
        Some(Value::Null) | None => {}
        Some(other) => keep(&mut fields, "fields".to_owned(), other),
    }
    for (key, value) in object {
        // Null under a key of the entry itself says that there is none.
        let is_own = ["timestamp", "level", "message", "service", "host", "tags"].contains(&key.as_str());
        if !(is_own && value.is_null()) {
            keep(&mut fields, key, value);
        }
    }
    Mapped { entry: LogEntry { timestamp, level, message, service, host, tags, fields }, millis }
}

/// Whether an object says when it happened.
pub(crate) fn has_timestamp(object: &Object) -> bool {
    TIMESTAMP.iter().any(|key| object.get(*key).is_some_and(|value| !value.is_null()))
}

/// Adds a field. A key that is there already gets underscores behind it.
pub(crate) fn keep(fields: &mut Object, mut key: String, value: Value) {
    while fields.get(&key).is_some_and(|other| *other != value) {
        key.push('_');
    }
    fields.insert(key, value);
}

/// Docker's `json-file` lines, and what others make of CRI's.
fn unwrap_container_line(object: &mut Object) {
    let is_line = object.get("stream").is_some_and(|stream| stream == "stdout" || stream == "stderr");
    let Some(Value::String(log)) = object.get_mut("log").filter(|_| is_line) else { return };
    while log.ends_with(['\n', '\r']) {
        log.pop();
    }
    if !log.trim_start().starts_with('{') {
        return;
    }
    let Ok(Value::Object(inner)) = serde_json::from_str(log) else { return };
    let mut outer = std::mem::replace(object, inner);
    outer.remove("log");
    if let Some(time) = outer.remove("time")
        && !has_timestamp(object)
    {
        object.insert("time".to_owned(), time);
    }
    for (key, value) in outer {
        keep(object, key, value);
    }
}

fn take_timestamp(object: &mut Object, arrived: i64, fields: &mut Object) -> (String, i64) {
    let value = take(object, &TIMESTAMP, |value| !value.is_null());
    let value = value.or_else(|| take(object, &DATE, |value| timestamp::from_value(value).is_some()));
    if let Some(value) = value {
        match (timestamp::from_value(&value), value) {
            (Some(timestamp::Timestamp { millis, text: Some(text) }), _) => return (text, millis),
            (Some(timestamp::Timestamp { millis, text: None }), Value::String(text)) => {
                return (text.trim().to_owned(), millis);
            }
            (_, value) => keep(fields, "original_timestamp".to_owned(), value),
        }
    }
    (timestamp::format_millis(arrived), arrived)
}

fn take_level(object: &mut Object, fields: &mut Object) -> String {
    let Some(value) = take(object, &LEVEL, |value| scalar(value).is_some()) else { return String::new() };
    let text = to_text(&value);
    let level = Level::normalise(&text).map_or("", Level::as_str);
    if level != text {
        keep(fields, "original_level".to_owned(), value);
    }
    level.to_owned()
}

fn take_text(object: &mut Object, spellings: &[&str], read: impl Fn(&Value) -> Option<String>) -> Option<String> {
    let value = take(object, spellings, |value| !value.is_null() && read(value).is_some())?;
    read(&value)
}

/// Takes the value of the first spelling that is there and fits.
fn take(object: &mut Object, spellings: &[&str], fits: impl Fn(&Value) -> bool) -> Option<Value> {
    spellings.iter().find_map(|spelling| {
        if object.get(*spelling).is_some_and(&fits) {
            return object.remove(*spelling);
        }
        let (outer, inner) = spelling.split_once('.')?;
        let nested = object.get_mut(outer)?.as_object_mut()?;
        nested.get(inner).filter(|value| fits(value))?;
        let value = nested.remove(inner);
        if nested.is_empty() {
            object.remove(outer);
        }
        value
    })
}

/// The text of a value that is no array or object, nor null.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn to_text(value: &Value) -> String {
    scalar(value).unwrap_or_else(|| value.to_string())
}
