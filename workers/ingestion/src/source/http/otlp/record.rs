//! What an OTLP record becomes.
//!
//! | of the record | in the entry |
//! | --- | --- |
//! | `time_unix_nano`, else `observed_time_unix_nano`, else when it came | `timestamp` |
//! | `severity_text`, else the name of `severity_number` | `level`, the original in `fields.original_level` |
//! | `body`: a text; a text that is an object in JSON, or a map | `message`; an object like any other |
//! | `service.name`, `host.name` of the resource | `service`, `host` |
//! | other attributes of the resource: texts; anything else | `tags`; `fields` |
//! | attributes | `fields` |
//! | `trace_id`, `span_id`, `flags`, `event_name` | `fields.trace_id`, `span_id`, `trace_flags`, `event_name` |
//! | name, version, attributes of the scope | `fields.otel.scope.name`, `.version`, `.<key>` |
//!
//! Numbers stay numbers, bytes become base64, and what is no number in JSON (such as NaN) a text.

use serde_json::{Map, Value};
use taffrail_logstore::LogEntry;

use crate::decode::timestamp;
use crate::source::http::entries::{self, Origin};

pub(super) type Object = Map<String, Value>;

/// A log record, whatever it was encoded as.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct LogRecord {
    pub(super) time: u64,
    pub(super) observed: u64,
    pub(super) severity: u64,
    pub(super) severity_text: String,
    pub(super) body: Value,
    pub(super) attributes: Object,
    pub(super) dropped_attributes: u64,
    pub(super) flags: u64,
    /// Hexadecimal.
    pub(super) trace_id: String,
    pub(super) span_id: String,
    pub(super) event_name: String,
}

/// What made a record.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Scope {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) attributes: Object,
}

/// What the records of a resource and a scope have in common.
pub(super) fn origin(mut resource: Object, scope: &Scope) -> Origin {
    let mut origin = Origin::default();
    let mut take = |key: &str, to: &mut String| {
        if let Some(Value::String(text)) = resource.get_mut(key) {
            *to = std::mem::take(text);
            resource.remove(key);
        }
    };
    take("service.name", &mut origin.service);
    take("host.name", &mut origin.host);
    for (key, value) in resource {
        match value {
            Value::String(text) => {
                origin.tags.insert(key, text);
            }
            other => {
                origin.fields.insert(key, other);
            }
        }
    }
    for (key, text) in [("otel.scope.name", &scope.name), ("otel.scope.version", &scope.version)] {
        if !text.is_empty() {
            origin.fields.insert(key.to_owned(), text.clone().into());
        }
    }
    for (key, value) in &scope.attributes {
        origin.fields.insert(format!("otel.scope.{key}"), value.clone());
    }
    origin
}

/// Makes an entry. `arrived` is in nanoseconds since 1970. Leaves of the origin only what is the same for the next one.
pub(super) fn entry(record: LogRecord, origin: &mut Origin, arrived: u64) -> LogEntry {
    let nanos = [record.time, record.observed].into_iter().find(|time| *time > 0).unwrap_or(arrived);
    origin.level = if record.severity_text.is_empty() { severity(record.severity) } else { record.severity_text };
    let mut entry = entries::entry(record.body, timestamp::from_nanos(nanos), origin);
    let fields = &mut entry.fields;
    let mut put = |key: &str, value: Value| crate::decode::mapping::keep(fields, key.to_owned(), value);
    for (key, value) in record.attributes {
        put(&key, value);
    }
    for (key, text) in
        [("trace_id", record.trace_id), ("span_id", record.span_id), ("event_name", record.event_name.clone())]
    {
        if !text.is_empty() {
            put(key, text.into());
        }
    }
    if record.flags > 0 {
        put("trace_flags", format!("{:02x}", record.flags & 0xff).into());
    }
    if record.dropped_attributes > 0 {
        put("otel.dropped_attributes_count", record.dropped_attributes.into());
    }
    if entry.message.is_empty() {
        entry.message = record.event_name;
    }
    entry
}

/// The short name of a severity.
fn severity(number: u64) -> String {
    let name = match number {
        1..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARN",
        17..=20 => "ERROR",
        21..=24 => "FATAL",
        _ => return String::new(),
    };
    name.to_owned()
}

/// A number of 64 bits that may not be finite.
pub(super) fn double(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}
