//! `ExportLogsServiceRequest` in Protocol Buffers: the numbers of fields are those of opentelemetry-proto 1.x.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::record::{self, LogRecord, Object, Scope};
use crate::digits;
use crate::source::http::entries::{Entries, Origin};
use crate::source::http::refusal::Refusal;
use crate::source::http::wire::{Field, Fields};
use crate::source::local::now_nanos;

/// How deep values may be inside each other: JSON is read to a depth of 128.
const MAX_DEPTH: usize = 64;

pub(in crate::source::http) fn read(body: &[u8], entries: &mut Entries) -> Result<(), Refusal> {
    let arrived = now_nanos();
    let mut request = Fields::new(body);
    while let Some((number, field)) = request.next()? {
        if number == 1 {
            resource_logs(field.bytes(), entries, arrived)?;
        }
    }
    Ok(())
}

fn resource_logs(message: &[u8], entries: &mut Entries, arrived: u64) -> Result<(), Refusal> {
    // Fields come in any order, but the resource is needed first.
    let mut attributes = Object::new();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            let mut resource = Fields::new(field.bytes());
            while let Some((number, field)) = resource.next()? {
                if number == 1 {
                    key_value(field.bytes(), &mut attributes, 0)?;
                }
            }
        }
    }
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        if number == 2 {
            let scope = scope(field.bytes())?;
            let mut origin = record::origin(attributes.clone(), &scope);
            let mut scope_logs = Fields::new(field.bytes());
            while let Some((number, field)) = scope_logs.next()? {
                if number == 2 {
                    log_record(field.bytes(), &mut origin, entries, arrived)?;
                }
            }
        }
    }
    Ok(())
}

fn scope(scope_logs: &[u8]) -> Result<Scope, Refusal> {
    let mut scope = Scope::default();
    let mut fields = Fields::new(scope_logs);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            let mut fields = Fields::new(field.bytes());
            while let Some((number, field)) = fields.next()? {
                match number {
                    1 => scope.name = field.text().into_owned(),
                    2 => scope.version = field.text().into_owned(),
                    3 => key_value(field.bytes(), &mut scope.attributes, 0)?,
                    _ => {}
                }
            }
        }
    }
    Ok(scope)
}

fn log_record(message: &[u8], origin: &mut Origin, entries: &mut Entries, arrived: u64) -> Result<(), Refusal> {
    let mut record = LogRecord::default();
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => record.time = field.number(),
            2 => record.severity = field.number(),
            3 => record.severity_text = field.text().into_owned(),
            5 => record.body = any_value(field.bytes(), 0)?,
            6 => key_value(field.bytes(), &mut record.attributes, 0)?,
            7 => record.dropped_attributes = field.number(),
            8 => record.flags = field.number(),
            9 => record.trace_id = id(field),
            10 => record.span_id = id(field),
            11 => record.observed = field.number(),
            12 => record.event_name = field.text().into_owned(),
            _ => {}
        }
    }
    entries.push(&record::entry(record, origin, arrived))
}

fn key_value(message: &[u8], object: &mut Object, depth: usize) -> Result<(), Refusal> {
    let (mut key, mut value) = (String::new(), Value::Null);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => key = field.text().into_owned(),
            2 => value = any_value(field.bytes(), depth)?,
            _ => {}
        }
    }
    object.insert(key, value);
    Ok(())
}

fn any_value(message: &[u8], depth: usize) -> Result<Value, Refusal> {
    if depth > MAX_DEPTH {
        return Err(Refusal::Broken("values are too deep inside each other".to_owned()));
    }
    let mut value = Value::Null;
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => value = field.text().into_owned().into(),
            2 => value = (field.number() != 0).into(),
            3 => value = field.number().cast_signed().into(),
            4 => value = record::double(f64::from_bits(field.number())),
            5 => {
                let mut items = Vec::new();
                let mut array = Fields::new(field.bytes());
                while let Some((number, field)) = array.next()? {
                    if number == 1 {
                        items.push(any_value(field.bytes(), depth + 1)?);
                    }
                }
                value = Value::Array(items);
            }
            6 => {
                let mut object = Object::new();
                let mut list = Fields::new(field.bytes());
                while let Some((number, field)) = list.next()? {
                    if number == 1 {
                        key_value(field.bytes(), &mut object, depth + 1)?;
                    }
                }
                value = Value::Object(object);
            }
            7 => value = BASE64_STANDARD.encode(field.bytes()).into(),
            _ => {}
        }
    }
    Ok(value)
}

/// Of an id. One that is all zeros is none.
fn id(field: Field<'_>) -> String {
    let bytes = field.bytes();
    if bytes.iter().all(|byte| *byte == 0) { String::new() } else { digits::hex(bytes) }
}
