//! The structural schema of a kind, made ready for checking trees, and the checks themselves.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::core::schema::StructuralSchemaRewriter;
use regex::Regex;
use saphyr_parser::ScalarStyle;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use super::scalar::Meaning;
use super::suggest::did_you_mean;
use super::tree::{Content, Entry, Node, Scalar};
use super::{Finding, join};
use crate::patterns;
use crate::{ByteSize, Duration};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// A schema whose patterns are compiled.
#[derive(Debug)]
pub(crate) struct Schema {
    kind: Type,
    description: String,
    properties: BTreeMap<String, Schema>,
    required: Vec<String>,
    /// What the values of a map are like.
    values: Option<Box<Schema>>,
    /// Whether keys are kept that are not among the properties.
    open: bool,
    items: Option<Box<Schema>>,
    unique_keys: Vec<String>,
    allowed: Vec<String>,
    pattern: Option<(Regex, String)>,
    date_time: bool,
    length: Bounds<i64>,
    count: Bounds<i64>,
    range: Bounds<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Bounds<T> {
    least: Option<T>,
    most: Option<T>,
}

impl Schema {
    /// The schema of a Rust type, made as those of the kinds are.
    pub(crate) fn of<T: JsonSchema>() -> Option<Self> {
        let settings = SchemaSettings::openapi3().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let schema = settings
            .with_transform(AddNullable::default())
            .with_transform(StructuralSchemaRewriter)
            .into_generator()
            .into_root_schema_for::<T>();
        Self::new(&serde_json::from_value(schema.to_value()).ok()?)
    }

    /// A value of the schema's type, where the tree is right.
    pub(crate) fn read<T: DeserializeOwned>(&self, node: &Node, path: &str, findings: &mut Vec<Finding>) -> Option<T> {
        let mut found = Vec::new();
        let value = self.check(node, path, &mut found);
        let read = match value {
            Some(value) if found.is_empty() => serde_json::from_value(value).map_err(|error| error.to_string()),
            _ => Err("there is nothing here".to_owned()),
        };
        if let Err(message) = &read
            && found.is_empty()
        {
            found.push(Finding { at: node.at, path: path.to_owned(), message: message.clone() });
        }
        findings.append(&mut found);
        read.ok()
    }

    /// Makes a schema ready; `None` where it is not structural or a pattern is wrong, which tests rule out.
    pub(crate) fn new(props: &JSONSchemaProps) -> Option<Self> {
        let kind = match props.type_.as_deref() {
            Some("object") => Type::Object,
            Some("array") => Type::Array,
            Some("string") => Type::String,
            Some("integer") => Type::Integer,
            Some("number") => Type::Number,
            Some("boolean") => Type::Boolean,
            _ => return None,
        };
        let properties = props.properties.iter().flatten();
        let properties = properties.map(|(name, schema)| Some((name.clone(), Self::new(schema)?)));
        let values = match &props.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(values)) => Some(Box::new(Self::new(values)?)),
            _ => None,
        };
        let items = match &props.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => Some(Box::new(Self::new(items)?)),
            _ => None,
        };
        let pattern = match &props.pattern {
            Some(pattern) => Some((Regex::new(pattern).ok()?, pattern.clone())),
            None => None,
        };
        let count = if kind == Type::Array {
            Bounds { least: props.min_items, most: props.max_items }
        } else {
            Bounds { least: props.min_properties, most: props.max_properties }
        };
        Some(Self {
            kind,
            description: props.description.clone().unwrap_or_default(),
            properties: properties.collect::<Option<_>>()?,
            required: props.required.clone().unwrap_or_default(),
            values,
            open: props.x_kubernetes_preserve_unknown_fields == Some(true),
            items,
            unique_keys: props.x_kubernetes_list_map_keys.clone().unwrap_or_default(),
            allowed: props.enum_.iter().flatten().filter_map(|value| value.0.as_str().map(str::to_owned)).collect(),
            pattern,
            date_time: props.format.as_deref() == Some("date-time"),
            length: Bounds { least: props.min_length, most: props.max_length },
            count,
            range: Bounds { least: props.minimum, most: props.maximum },
        })
    }

    /// Checks a tree, and gives its value. A `null` counts as left out, as it does for the API server.
    pub(crate) fn check(&self, node: &Node, path: &str, findings: &mut Vec<Finding>) -> Option<Value> {
        let mut found = Check { findings, node, path };
        match (&node.content, self.kind) {
            (Content::Mapping(entries), Type::Object) => Some(self.object(entries, &mut found)),
            (Content::Sequence(items), Type::Array) => Some(self.array(items, &mut found)),
            (Content::Scalar(scalar), Type::String | Type::Integer | Type::Number | Type::Boolean) => {
                self.scalar(scalar, &mut found)
            }
            (Content::Scalar(scalar), kind) => {
                let given = match &scalar.meaning {
                    Meaning::Null => return None,
                    _ => format!("`{}`", brief(&scalar.text)),
                };
                found.note(match kind {
                    Type::Array => format!("expected a list, found {given}: begin each item with `- `"),
                    _ => format!("expected keys and values, found {given}"),
                })
            }
            (Content::Sequence(_), kind) => found.note(format!("expected {}, found a list", kind.words())),
            (Content::Mapping(entries), kind) => {
                let braces = entries.iter().all(|entry| entry.value.is_null());
                let hint = if kind == Type::String && braces { "; put a text with braces in quotes" } else { "" };
                found.note(format!("expected {}, found keys and values{hint}", kind.words()))
            }
        }
    }

    fn object(&self, entries: &[Entry], found: &mut Check<'_>) -> Value {
        let mut map = Map::new();
        let mut meant = Vec::new();
        for Entry { key, at, value } in entries {
            let path = join(found.path, key);
            match self.properties.get(key).or(self.values.as_deref()) {
                Some(schema) => {
                    let right = schema.check(value, &path, found.findings);
                    if let Some(value) = right.or_else(|| wrong(value)) {
                        map.insert(key.clone(), value);
                    }
                }
                None if self.open => {
                    if let Some(value) = any(value, &path, found.findings) {
                        map.insert(key.clone(), value);
                    }
                }
                None => {
                    let message = match did_you_mean(key, self.properties.keys().map(String::as_str)) {
                        Some(name) => {
                            meant.push(name);
                            format!("unknown field; did you mean `{name}`?")
                        }
                        None if self.properties.is_empty() => "unknown field; there is nothing to set here".to_owned(),
                        None => {
                            let known: Vec<_> = self.properties.keys().map(String::as_str).collect();
                            format!("unknown field; known here: {}", known.join(", "))
                        }
                    };
                    found.findings.push(Finding { at: *at, path, message });
                }
            }
        }
        for name in &self.required {
            let given = entries.iter().any(|entry| entry.key == *name && !entry.value.is_null());
            if !given && !meant.contains(&name.as_str()) {
                let about = self.properties.get(name).map_or("", |schema| schema.description.as_str());
                let about = about.lines().next().unwrap_or_default().trim_end_matches('.');
                let about = if about.is_empty() { String::new() } else { format!(" ({about})") };
                let message = format!("this field is required{about}");
                found.findings.push(Finding { at: found.node.at, path: join(found.path, name), message });
            }
        }
        if let Some(most) = self.count.most.filter(|most| exceeds(entries.len(), *most)) {
            found.note::<()>(format!("has {} entries, and may have {most}", entries.len()));
        }
        Value::Object(map)
    }

    fn array(&self, items: &[Node], found: &mut Check<'_>) -> Value {
        let schema = self.items.as_deref();
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = join(found.path, &format!("[{index}]"));
            if item.is_null() {
                let words = schema.map_or("a value", |schema| schema.kind.words());
                let message = format!("expected {words}, found nothing");
                found.findings.push(Finding { at: item.at, path, message });
                values.push(Value::Null);
                continue;
            }
            let value = match schema {
                Some(schema) => schema.check(item, &path, found.findings).or_else(|| wrong(item)),
                None => any(item, &path, found.findings),
            };
            values.push(value.unwrap_or_default());
        }
        let count = items.len();
        if let Some(most) = self.count.most.filter(|most| exceeds(count, *most)) {
            found.note::<()>(format!("has {count} items, and may have {most}"));
        }
        if let Some(least) = self.count.least.filter(|least| !exceeds(count, least - 1)) {
            found.note::<()>(format!("needs at least {least} {}", if least == 1 { "item" } else { "items" }));
        }
        for key in &self.unique_keys {
            for (index, item) in items.iter().enumerate() {
                let Some(name) = item.get(key).and_then(Node::text) else { continue };
                if items[..index].iter().any(|earlier| earlier.get(key).and_then(Node::text) == Some(name)) {
                    let message = format!("`{name}` is there twice: each {key} may appear once in this list");
                    let path = join(found.path, &format!("[{index}].{key}"));
                    found.findings.push(Finding { at: item.get(key).map_or(item.at, |name| name.at), path, message });
                }
            }
        }
        Value::Array(values)
    }

    fn scalar(&self, scalar: &Scalar, found: &mut Check<'_>) -> Option<Value> {
        let text = brief(&scalar.text);
        match (&scalar.meaning, self.kind) {
            (Meaning::Null, _) => None,
            (Meaning::Odd(why), _) => found.note(why.clone()),
            (Meaning::Text, Type::String) => self.text(scalar, found),
            (Meaning::Bool(value), Type::Boolean) => Some((*value).into()),
            (Meaning::Number(number), Type::Integer | Type::Number) => self.number(number, found),
            (meaning, Type::String) => {
                let kind = if matches!(meaning, Meaning::Bool(_)) { "boolean" } else { "number" };
                found.note(format!("expected a text, found the {kind} {text}: put it in quotes, \"{text}\""))
            }
            (Meaning::Text, kind) => {
                let fits = match super::scalar::meaning(&scalar.text) {
                    Meaning::Bool(_) => kind == Type::Boolean,
                    Meaning::Number(_) => kind != Type::Boolean,
                    _ => false,
                };
                let hint = if fits { ": write it without quotes" } else { "" };
                found.note(format!("expected {}, found the text \"{text}\"{hint}", kind.words()))
            }
            (_, kind) => found.note(format!("expected {}, found {text}", kind.words())),
        }
    }

    fn text(&self, scalar: &Scalar, found: &mut Check<'_>) -> Option<Value> {
        let text = scalar.text.as_str();
        let length = text.chars().count();
        let shown = brief(text);
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed == text) {
            let folded = matches!(scalar.style, ScalarStyle::Folded | ScalarStyle::Literal);
            let operator = folded && self.allowed.iter().any(|allowed| allowed == ">");
            let hint = if operator {
                "; without quotes `>` begins a text of several lines: write \">\"".to_owned()
            } else {
                did_you_mean(text, self.allowed.iter().map(String::as_str))
                    .map(|name| format!("; did you mean {name}?"))
                    .unwrap_or_default()
            };
            return found.note(format!("`{shown}` is not one of {}{hint}", self.allowed.join(", ")));
        }
        if let Some(most) = self.length.most.filter(|most| exceeds(length, *most)) {
            return found.note(format!("has {length} characters, and may have {most}"));
        }
        if self.length.least.is_some_and(|least| !exceeds(length, least - 1)) {
            return found.note("must not be empty".to_owned());
        }
        if let Some((regex, pattern)) = &self.pattern {
            // Patterns bound the form of durations and sizes, but not how large a number can be.
            let problem = match pattern.as_str() {
                patterns::DURATION => text.parse::<Duration>().err(),
                patterns::BYTE_SIZE => text.parse::<ByteSize>().err(),
                _ => None,
            };
            if let Some(problem) = problem {
                return found.note(problem.to_string());
            }
            if !regex.is_match(text) {
                return found.note(match patterns::words(pattern) {
                    Some(words) => format!("`{shown}` is not {words}"),
                    None => format!("`{shown}` does not match {pattern}"),
                });
            }
        }
        if self.date_time && text.parse::<jiff::Timestamp>().is_err() {
            return found.note(format!("`{shown}` is not a time as in 2026-12-01T00:00:00Z"));
        }
        Some(text.into())
    }

    fn number(&self, number: &Number, found: &mut Check<'_>) -> Option<Value> {
        if self.kind == Type::Integer && number.is_f64() {
            return found.note(format!("expected a whole number, found {number}"));
        }
        let value = number.as_f64().unwrap_or(f64::NAN);
        if let Some(least) = self.range.least.filter(|least| value < *least) {
            return found.note(format!("{number} is too small: at least {least}"));
        }
        if let Some(most) = self.range.most.filter(|most| value > *most) {
            return found.note(format!("{number} is too large: at most {most}"));
        }
        Some(Value::Number(number.clone()))
    }
}

impl Type {
    const fn words(self) -> &'static str {
        match self {
            Self::Object => "keys and values",
            Self::Array => "a list",
            Self::String => "a text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
        }
    }
}

struct Check<'a> {
    findings: &'a mut Vec<Finding>,
    node: &'a Node,
    path: &'a str,
}

impl Check<'_> {
    fn note<T>(&mut self, message: String) -> Option<T> {
        self.findings.push(Finding { at: self.node.at, path: self.path.to_owned(), message });
        None
    }
}

/// A value that is taken as it is.
fn any(node: &Node, path: &str, findings: &mut Vec<Finding>) -> Option<Value> {
    match &node.content {
        Content::Scalar(scalar) => match &scalar.meaning {
            Meaning::Null => Some(Value::Null),
            Meaning::Bool(value) => Some((*value).into()),
            Meaning::Number(number) => Some(Value::Number(number.clone())),
            Meaning::Text => Some(scalar.text.clone().into()),
            Meaning::Odd(why) => {
                findings.push(Finding { at: node.at, path: path.to_owned(), message: why.clone() });
                None
            }
        },
        Content::Sequence(items) => {
            let items = items.iter().enumerate();
            Some(items.filter_map(|(index, item)| any(item, &join(path, &format!("[{index}]")), findings)).collect())
        }
        Content::Mapping(entries) => {
            let entries = entries
                .iter()
                .filter_map(|entry| Some((entry.key.clone(), any(&entry.value, &join(path, &entry.key), findings)?)));
            Some(Value::Object(entries.collect()))
        }
    }
}

/// A value that did not pass. Rules of CEL still have to see that it was given.
fn wrong(node: &Node) -> Option<Value> {
    any(node, "", &mut Vec::new()).filter(|value| !value.is_null())
}

fn exceeds(count: usize, most: i64) -> bool {
    i64::try_from(count).unwrap_or(i64::MAX) > most
}

/// The beginning of a text, for a message.
fn brief(text: &str) -> String {
    const MOST: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    let short: String = line.chars().take(MOST).collect();
    if short.len() < text.trim_end().len() { format!("{short}…") } else { short }
}
