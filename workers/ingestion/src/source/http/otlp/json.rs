//! `ExportLogsServiceRequest` in OTLP's JSON: keys in lower camel case, ids in hexadecimal, numbers of 64 bits as texts
//! or numbers.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::record::{self, LogRecord, Object, Scope};
use crate::source::http::bodies::each;
use crate::source::http::entries::Entries;
use crate::source::http::refusal::Refusal;
use crate::source::local::now_nanos;

pub(in crate::source::http) fn read(body: &[u8], entries: &mut Entries) -> Result<(), Refusal> {
    let arrived = now_nanos();
    let request: Request<'_> = serde_json::from_slice(body)?;
    let Some(resources) = request.resource_logs else { return Ok(()) };
    each(resources.get(), |resource: ResourceLogs<'_>| {
        let attributes = object(resource.resource.unwrap_or_default().attributes);
        let Some(scopes) = resource.scope_logs else { return Ok(()) };
        each(scopes.get(), |scope: ScopeLogs<'_>| {
            let Some(records) = scope.log_records else { return Ok(()) };
            let JsonScope { name, version, attributes: own } = scope.scope.unwrap_or_default();
            let mut origin = record::origin(attributes.clone(), &Scope { name, version, attributes: object(own) });
            each(records.get(), |record: JsonRecord| entries.push(&record::entry(record.into(), &mut origin, arrived)))
        })
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    resource_logs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    resource: Option<JsonResource>,
    #[serde(borrow)]
    scope_logs: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct JsonResource {
    attributes: Vec<KeyValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    scope: Option<JsonScope>,
    #[serde(borrow)]
    log_records: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct JsonScope {
    name: String,
    version: String,
    attributes: Vec<KeyValue>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct JsonRecord {
    #[serde(deserialize_with = "unsigned")]
    time_unix_nano: u64,
    #[serde(deserialize_with = "unsigned")]
    observed_time_unix_nano: u64,
    #[serde(deserialize_with = "unsigned")]
    severity_number: u64,
    severity_text: String,
    body: Option<AnyValue>,
    attributes: Vec<KeyValue>,
    dropped_attributes_count: u64,
    flags: u64,
    trace_id: String,
    span_id: String,
    event_name: String,
}

impl From<JsonRecord> for LogRecord {
    fn from(record: JsonRecord) -> Self {
        Self {
            time: record.time_unix_nano,
            observed: record.observed_time_unix_nano,
            severity: record.severity_number,
            severity_text: record.severity_text,
            body: record.body.map_or(Value::Null, Value::from),
            attributes: object(record.attributes),
            dropped_attributes: record.dropped_attributes_count,
            flags: record.flags,
            trace_id: record.trace_id,
            span_id: record.span_id,
            event_name: record.event_name,
        }
    }
}

#[derive(Deserialize)]
struct KeyValue {
    #[serde(default)]
    key: String,
    value: Option<AnyValue>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct AnyValue {
    string_value: Option<String>,
    bool_value: Option<bool>,
    int_value: Option<Int>,
    double_value: Option<Value>,
    array_value: Option<ArrayValue>,
    kvlist_value: Option<KvlistValue>,
    bytes_value: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ArrayValue {
    values: Vec<AnyValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct KvlistValue {
    values: Vec<KeyValue>,
}

impl From<AnyValue> for Value {
    fn from(value: AnyValue) -> Self {
        let texts = [value.string_value, value.bytes_value];
        if let Some(text) = texts.into_iter().flatten().next() {
            text.into()
        } else if let Some(truth) = value.bool_value {
            truth.into()
        } else if let Some(Int(number)) = value.int_value {
            number.into()
        } else if let Some(number) = value.double_value {
            // As a text it is one that JSON has no number for, or one all the same.
            let finite = number.as_str().and_then(|text| text.parse::<f64>().ok()).filter(|number| number.is_finite());
            finite.map_or(number, record::double)
        } else if let Some(array) = value.array_value {
            array.values.into_iter().map(Self::from).collect()
        } else if let Some(list) = value.kvlist_value {
            Self::Object(object(list.values))
        } else {
            Self::Null
        }
    }
}

fn object(list: Vec<KeyValue>) -> Object {
    list.into_iter().map(|KeyValue { key, value }| (key, value.map_or(Value::Null, Value::from))).collect()
}

/// A number of 64 bits, which may be a text.
struct Int(i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        number.map(Self).ok_or_else(|| D::Error::custom(format!("`{value}` is no integer of 64 bits")))
    }
}

fn unsigned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.ok_or_else(|| D::Error::custom(format!("`{value}` is no number of nanoseconds, or no severity")))
}
