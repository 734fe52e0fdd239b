//! The transform: a VRL program that is run on every log.
//!
//! The program sees a log entry, `{timestamp, level, message, service, host, tags, fields}`, with the timestamp as a
//! VRL timestamp. What it leaves in `.` is mapped onto a log entry again, as if it had come from the source: so it may
//! replace `.` by what it parsed from the message. `abort`, and `.` left null or empty, drop the log on purpose.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use taffrail_logstore::LogEntry;
use vrl::compiler::runtime::{Runtime, Terminate};
use vrl::compiler::state::ExternalEnv;
use vrl::compiler::{CompileConfig, Program, TargetValue, TimeZone};
use vrl::diagnostic::DiagnosticList;
use vrl::value::kind::Collection;
use vrl::value::{KeyString, Kind, ObjectMap, Secrets, Value};

use crate::decode::{Mapped, mapping};

/// Steps that a program may take for one log. A loop over the longest record stays far below.
const MAX_STEPS: u32 = 10_000_000;

/// Compiles a transform to see whether it does.
///
/// # Errors
/// With the line, the column and what is wrong, one line per fault.
pub fn check_transform(source: &str) -> Result<(), String> {
    compile(source).map(drop)
}

fn compile(source: &str) -> Result<Program, String> {
    // `.tags` and `.fields` are known to be objects, so that they can be merged into. The rest is left open, so that
    // programs written for Vector, which does not know either, compile unchanged.
    let object = || Kind::object(Collection::any());
    let known = BTreeMap::from([("tags".into(), object()), ("fields".into(), object())]);
    let entry = Kind::object(Collection::from_parts(known, Kind::any()));
    let environment = ExternalEnv::new_with_kind(entry, object());
    let compiled =
        vrl::compiler::compile_with_external(source, &vrl::stdlib::all(), &environment, CompileConfig::default());
    match compiled {
        Ok(compiled) => Ok(compiled.program),
        Err(faults) => Err(describe(source, &faults)),
    }
}

fn describe(source: &str, faults: &DiagnosticList) -> String {
    let lines: Vec<String> = faults
        .iter()
        .filter(|fault| fault.severity().is_error())
        .map(|fault| {
            let label = fault.labels().iter().find(|label| label.primary);
            let (line, column) = position(source, label.map_or(0, |label| label.span.start()));
            let detail = label.filter(|label| !label.message.is_empty()).map(|label| format!(" ({})", label.message));
            format!("line {line}, column {column}: {}{}", fault.message(), detail.unwrap_or_default())
        })
        .collect();
    lines.join("\n")
}

/// The line and column, both from 1, of a byte of a text.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A program that is ready to run.
pub(crate) struct Transform {
    program: Program,
    runtime: Runtime,
    /// Of times that name none. UTC on every machine.
    zone: TimeZone,
}

impl Transform {
    /// # Errors
    /// As [`check_transform`].
    pub(crate) fn new(source: &str) -> Result<Self, String> {
        let zone = TimeZone::parse("UTC").unwrap_or_default();
        Ok(Self { program: compile(source)?, runtime: Runtime::default(), zone })
    }

    /// Runs the program on a log. None where it drops the log.
    ///
    /// # Errors
    /// With the reason why the log can't be transformed.
    pub(crate) fn run(&mut self, log: Mapped) -> Result<Option<Mapped>, String> {
        let millis = log.millis;
        let text = log.entry.timestamp.clone();
        let instant = DateTime::parse_from_rfc3339(&text).map(|time| time.with_timezone(&Utc)).ok();
        let mut target = TargetValue {
            value: to_value(log.entry, instant),
            metadata: Value::Object(ObjectMap::new()),
            secrets: Secrets::new(),
        };
        let mut steps = 0;
        let mut control = || {
            steps += 1;
            if steps > MAX_STEPS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let Self { program, runtime, zone } = self;
        runtime.clear();
        // A log must not be able to stop the pipeline, whatever functions of the library make of it.
        let run = AssertUnwindSafe(|| runtime.resolve_with_control(&mut target, program, zone, &mut control));
        match catch_unwind(run) {
            Ok(Ok(_)) => {}
            Ok(Err(Terminate::Abort(_))) => return Ok(None),
            Ok(Err(Terminate::Interrupted)) => return Err(format!("the transform took more than {MAX_STEPS} steps")),
            Ok(Err(Terminate::Error(error))) => return Err(format!("the transform failed: {error}")),
            Err(_) => return Err("the transform failed: a function of VRL panicked".to_owned()),
        }
        match target.value {
            Value::Null => Ok(None),
            Value::Object(object) if object.is_empty() => Ok(None),
            Value::Object(mut object) => {
                // The original text, where the program left the time alone.
                if let (Some(Value::Timestamp(after)), Some(before)) = (object.get("timestamp"), instant)
                    && *after == before
                {
                    object.insert("timestamp".into(), Value::from(text));
                }
                match serde_json::to_value(Value::Object(object)) {
                    Ok(serde_json::Value::Object(object)) => Ok(Some(mapping::map(object, millis))),
                    _ => Err("the transform left something that has no JSON".to_owned()),
                }
            }
            Value::Array(_) => Err("the transform left an array, but one log can't become several".to_owned()),
            other => Err(format!("the transform left {} instead of an object", other.kind_str())),
        }
    }
}

fn to_value(entry: LogEntry, instant: Option<DateTime<Utc>>) -> Value {
    let timestamp = instant.map_or_else(|| Value::from(entry.timestamp), Value::Timestamp);
    let tags: ObjectMap = entry.tags.into_iter().map(|(key, value)| (key.into(), Value::from(value))).collect();
    let fields: ObjectMap = entry.fields.into_iter().map(|(key, value)| (key.into(), Value::from(value))).collect();
    let parts: [(KeyString, Value); 7] = [
        ("timestamp".into(), timestamp),
        ("level".into(), Value::from(entry.level)),
        ("message".into(), Value::from(entry.message)),
        ("service".into(), Value::from(entry.service)),
        ("host".into(), Value::from(entry.host)),
        ("tags".into(), Value::Object(tags)),
        ("fields".into(), Value::Object(fields)),
    ];
    Value::Object(parts.into_iter().collect())
}

#[cfg(test)]
mod tests;
