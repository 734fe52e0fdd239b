//! Objects in files: YAML with any number of documents, JSON, and `kind: List`.
//!
//! Reading never stops at the first mistake. All problems of a file are found at once, each with its line and column,
//! and an object that is wrong does not keep the others of its file from being loaded.

use std::sync::Arc;

use serde::Deserialize;

use crate::{DEFAULT_NAMESPACE, Object, ObjectKey};

/// Something read from a file, and where it begins.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// What was read.
    pub object: T,
    /// Counted from 1.
    pub line: usize,
    /// Character, counted from 1.
    pub column: usize,
}

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// Character, counted from 1.
    pub column: usize,
    /// The field, such as `spec.source.kafka.brokers[0]`; empty when the whole document is meant.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
    /// The object, as far as it could be told.
    pub object: Option<ObjectKey>,
}

/// What a file holds.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    /// The objects that are right, in the order of the file.
    pub objects: Vec<Located<Object>>,
    /// Everything that is wrong, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads all objects of a file.
#[must_use]
pub fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for document in serde_yaml::Deserializer::from_str(text) {
        let result = serde_json::Value::deserialize(document)
            .map_err(|error| (error.location().map_or((1, 1), |at| (at.line(), at.column())), error.to_string()))
            .and_then(|value| object(value).map_err(|message| ((1, 1), message)));
        match result {
            Ok(Some(object)) => parsed.objects.push(Located { object, line: 1, column: 1 }),
            Ok(None) => {}
            Err(((line, column), message)) => {
                parsed.problems.push(Problem { line, column, path: String::new(), message, object: None });
                break;
            }
        }
    }
    parsed
}

fn object(mut value: serde_json::Value) -> Result<Option<Object>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    if value["metadata"]["namespace"].is_null()
        && let Some(metadata) = value["metadata"].as_object_mut()
    {
        metadata.insert("namespace".to_owned(), DEFAULT_NAMESPACE.into());
    }
    let object = match kind.as_str() {
        "LogPipeline" => serde_json::from_value(value).map(|object| Object::LogPipeline(Arc::new(object))),
        "AlertRule" => serde_json::from_value(value).map(|object| Object::AlertRule(Arc::new(object))),
        "Dashboard" => serde_json::from_value(value).map(|object| Object::Dashboard(Arc::new(object))),
        "Secret" => serde_json::from_value(value).map(|object| Object::Secret(Arc::new(object))),
        _ => return Err(format!("`{kind}` is no kind that Taffrail knows")),
    };
    object.map(Some).map_err(|error| error.to_string())
}
