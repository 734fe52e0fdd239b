//! Objects as YAML that people like to read, without what is the default anyway, and that every reader of YAML takes
//! for the same.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::OnceLock;

use k8s_openapi::ByteString;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_yaml::{Mapping, Value};

use crate::manifest::scalar::{Meaning, meaning};
use crate::{DEFAULT_NAMESPACE, Kind, Object};

/// An object as one document of YAML, without the `---` between documents. A Secret's texts are under `stringData`.
///
/// # Errors
/// None that an object could bring about which was read or converted.
pub fn object_to_yaml(object: &Object) -> Result<String, serde_yaml::Error> {
    let value = match object {
        Object::LogPipeline(object) => serde_yaml::to_value(object.as_ref())?,
        Object::AlertRule(object) => serde_yaml::to_value(object.as_ref())?,
        Object::Dashboard(object) => serde_yaml::to_value(object.as_ref())?,
        Object::Secret(secret) => {
            let mut secret = secret.as_ref().clone();
            let is_text = |(_, value): &(String, ByteString)| std::str::from_utf8(&value.0).is_ok();
            let (texts, bytes): (Vec<_>, Vec<_>) =
                secret.data.take().unwrap_or_default().into_iter().partition(is_text);
            let texts = texts.into_iter().map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned()));
            secret.string_data = Some(texts.collect::<BTreeMap<_, _>>()).filter(|texts| !texts.is_empty());
            secret.data = Some(bytes.into_iter().collect::<BTreeMap<_, _>>()).filter(|bytes| !bytes.is_empty());
            serde_yaml::to_value(&secret)?
        }
    };
    let mut text = String::new();
    emit(&without_defaults(object.kind(), value), 0, &mut text);
    Ok(text)
}

fn without_defaults(kind: Kind, document: Value) -> Value {
    let mut document = match schemas().get(&kind.to_string()) {
        Some(props) => prune(document, props),
        None => document,
    };
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_mapping_mut)
        && metadata.get("namespace").and_then(Value::as_str) == Some(DEFAULT_NAMESPACE)
    {
        metadata.remove("namespace");
    }
    document
}

/// The schemas of our kinds by their names, which take a while to make.
fn schemas() -> &'static BTreeMap<String, JSONSchemaProps> {
    static SCHEMAS: OnceLock<BTreeMap<String, JSONSchemaProps>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let schema = |crd: CustomResourceDefinition| {
            let version = crd.spec.versions.into_iter().next()?;
            Some((crd.spec.names.kind, version.schema?.open_api_v3_schema?))
        };
        crate::crds().into_iter().filter_map(schema).collect()
    })
}

fn prune(value: Value, props: &JSONSchemaProps) -> Value {
    match (value, &props.items) {
        (Value::Mapping(mapping), _) => {
            // Whoever reads a query wants to know its window, and how often it is asked.
            let shown: &[&str] = if mapping.contains_key("query") { &["duration", "interval"] } else { &[] };
            let fields = mapping.into_iter().filter_map(|(key, value)| {
                let name = key.as_str().unwrap_or_default();
                let Some(schema) = props.properties.as_ref().and_then(|properties| properties.get(name)) else {
                    return Some((key, value));
                };
                let default = schema.default.as_ref().and_then(|default| serde_yaml::to_value(&default.0).ok());
                let left_out = default.as_ref() == Some(&value) && !shown.contains(&name);
                (!left_out).then(|| (key, prune(value, schema)))
            });
            Value::Mapping(fields.collect())
        }
        (Value::Sequence(items), Some(JSONSchemaPropsOrArray::Schema(schema))) => {
            Value::Sequence(items.into_iter().map(|item| prune(item, schema)).collect())
        }
        (value, _) => value,
    }
}

/// Writes a value in block style, each line but the first indented.
fn emit(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Mapping(mapping) => emit_mapping(mapping, indent, out),
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                pad(if index == 0 { 0 } else { indent }, out);
                out.push_str("- ");
                inside(item, indent + 2, true, out);
            }
        }
        scalar => inside(scalar, indent, true, out),
    }
}

fn emit_mapping(mapping: &Mapping, indent: usize, out: &mut String) {
    for (index, (key, value)) in mapping.iter().enumerate() {
        pad(if index == 0 { 0 } else { indent }, out);
        out.push_str(&word(key.as_str().unwrap_or_default()));
        out.push(':');
        inside(value, indent + 2, false, out);
    }
}

/// Writes what comes behind a key (`on_line` is false) or a dash, up to the end of the line or the block.
fn inside(value: &Value, indent: usize, on_line: bool, out: &mut String) {
    let nested = match value {
        Value::Mapping(mapping) => !mapping.is_empty(),
        Value::Sequence(items) => !items.is_empty(),
        _ => false,
    };
    if nested {
        if !on_line {
            out.push('\n');
            pad(indent, out);
        }
        emit(value, indent, out);
        return;
    }
    if !on_line {
        out.push(' ');
    }
    match value {
        Value::Mapping(_) => out.push_str("{}"),
        Value::Sequence(_) => out.push_str("[]"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&plain_number(number)),
        Value::String(text) if is_block(text) => {
            out.push_str(if text.ends_with('\n') { "|" } else { "|-" });
            for line in text.lines() {
                out.push('\n');
                pad(if line.is_empty() { 0 } else { indent }, out);
                out.push_str(line);
            }
        }
        Value::String(text) => out.push_str(&word(text)),
        Value::Null | Value::Tagged(_) => out.push_str("null"),
    }
    out.push('\n');
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn plain_number(number: &serde_yaml::Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        // Some readers take a float of many digits for an integer, and stumble.
        Some(float) if float.abs() >= 1e15 => format!("{float:e}"),
        // Rust writes a whole float without a point.
        Some(float) => float.to_string(),
        None => number.to_string(),
    }
}

/// Whether a text is best read as a literal block of lines, and can be written as one.
fn is_block(text: &str) -> bool {
    let mut lines = text.lines();
    text.contains('\n')
        && lines.next().is_some_and(|first| !first.is_empty() && !first.starts_with(' '))
        && lines.all(|line| line.is_empty() || !line.trim().is_empty())
        && !text.ends_with("\n\n")
        && text.chars().all(|c| c == '\n' || is_printable(c))
}

/// A text on one line; in quotes wherever any reader of YAML could take it for something else.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=<>%()+ ,'".contains(c);
    let safe = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '/')
        && text.chars().all(plain)
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && meaning(text) == Meaning::Text;
    if safe {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if is_printable(c) => quoted.push(c),
            // Writing to a String can't fail.
            c => drop(write!(quoted, "\\U{:08X}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// Characters that stand for themselves in YAML, without those that some readers take for the end of a line.
fn is_printable(c: char) -> bool {
    !(c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests;
