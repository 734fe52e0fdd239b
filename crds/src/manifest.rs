//! Objects in files: YAML with any number of documents, JSON, and `kind: List`.
//!
//! Reading never stops at the first mistake. All problems of a file are found at once, each with its line and column,
//! and an object that is wrong does not keep the others of its file from being loaded.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde::Deserialize;

use crate::{AlertRule, Dashboard, LogPipeline};

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// An object of one of the kinds that files may hold. Its `metadata.namespace` is always set.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// From where logs come, and where they go.
    LogPipeline(Box<LogPipeline>),
    /// When to tell somebody.
    AlertRule(Box<AlertRule>),
    /// What to show.
    Dashboard(Box<Dashboard>),
    /// Credentials. `stringData` has been merged into `data`, as the API server does it.
    Secret(Box<Secret>),
}

impl Object {
    /// `LogPipeline`, `AlertRule`, `Dashboard` or `Secret`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::LogPipeline(_) => "LogPipeline",
            Self::AlertRule(_) => "AlertRule",
            Self::Dashboard(_) => "Dashboard",
            Self::Secret(_) => "Secret",
        }
    }

    /// What tells the object from all others.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        let (namespace, name) = match self {
            Self::LogPipeline(object) => (object.namespace(), object.name_any()),
            Self::AlertRule(object) => (object.namespace(), object.name_any()),
            Self::Dashboard(object) => (object.namespace(), object.name_any()),
            Self::Secret(object) => (object.namespace(), object.name_any()),
        };
        let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        ObjectKey { kind: self.kind().to_owned(), namespace, name }
    }
}

/// What tells an object from all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// `LogPipeline`, `AlertRule`, `Dashboard` or `Secret`.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

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
        "LogPipeline" => serde_json::from_value(value).map(|object| Object::LogPipeline(Box::new(object))),
        "AlertRule" => serde_json::from_value(value).map(|object| Object::AlertRule(Box::new(object))),
        "Dashboard" => serde_json::from_value(value).map(|object| Object::Dashboard(Box::new(object))),
        "Secret" => serde_json::from_value(value).map(|object| Object::Secret(Box::new(object))),
        _ => return Err(format!("`{kind}` is no kind that Taffrail knows")),
    };
    object.map(Some).map_err(|error| error.to_string())
}
