//! From a record's bytes to a log entry.
//!
//! A record that is a log entry already, in exactly the shape in which it is stored ([`canonical`]), passes as the
//! bytes it came in. Anything else is an object whose keys are mapped onto a log entry ([`mapping`]), or, in a pipeline
//! of format `text`, a line that becomes the message. What can't be read is an error whose text goes to the dead
//! letters.

pub(crate) mod canonical;
mod journald;
pub(crate) mod mapping;
pub(crate) mod timestamp;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::Value;
use taffrail_logstore::LogEntry;

/// A log, and when it happened in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mapped {
    pub(crate) entry: LogEntry,
    pub(crate) millis: i64,
}

/// Larger records are dead letters. Kafka's default for the largest message is about as much.
pub(crate) const MAX_RECORD: usize = 1 << 20;

/// The record as text, if it is one and of a size that can be.
///
/// # Errors
/// With the reason why it can't be read.
pub(crate) fn text(payload: &[u8]) -> Result<&str, String> {
    if payload.len() > MAX_RECORD {
        return Err(format!("the record has {} bytes, and the most is {MAX_RECORD}", payload.len()));
    }
    if let Ok(text) = simdutf8::basic::from_utf8(payload) {
        return Ok(text);
    }
    std::str::from_utf8(payload).map_err(|error| format!("not UTF-8 from byte {} on", error.valid_up_to() + 1))
}

/// Reads an object and maps it. `arrived` is the source's timestamp, for logs that have none.
///
/// # Errors
/// With the reason why it can't be read.
pub(crate) fn json(text: &str, arrived: i64) -> Result<Mapped, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(mapping::map(object, arrived)),
        Ok(other) => Err(format!("not a JSON object but {}", kind(&other))),
        Err(_) if text.trim().is_empty() => Err("the record is empty".to_owned()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

/// Makes a line the message of a log.
pub(crate) fn line(text: &str, arrived: i64) -> Mapped {
    let message = text.strip_suffix('\n').unwrap_or(text);
    let message = message.strip_suffix('\r').unwrap_or(message).to_owned();
    let timestamp = timestamp::format_millis(arrived);
    Mapped { entry: LogEntry { timestamp, message, ..LogEntry::default() }, millis: arrived }
}

/// Writes an entry as it is stored, behind what was written before, so that many are few allocations.
///
/// # Errors
/// When it has no JSON.
pub(crate) fn write(buffer: &mut BytesMut, entry: &LogEntry) -> serde_json::Result<Bytes> {
    const CHUNK: usize = 64 << 10;
    if buffer.capacity() < 2_048 {
        buffer.reserve(CHUNK);
    }
    serde_json::to_writer(buffer.writer(), entry)?;
    Ok(buffer.split().freeze())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
