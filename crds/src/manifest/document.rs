//! From a tree to an object: which kind it is, whether it keeps the kind's schema and rules, and its typed form.

use std::sync::{Arc, OnceLock};

use k8s_openapi::ByteString;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use kube::core::cel::{CompiledSchema, ErrorKind, compile_schema, validate_compiled};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::schema::Schema;
use super::suggest::did_you_mean;
use super::tree::{Content, Node};
use super::{Finding, Located, Parsed, Source, join};
use crate::{DEFAULT_NAMESPACE, GROUP, Kind, Object, ObjectKey, VERSION, patterns};

const KINDS: [Kind; 4] = [Kind::LogPipeline, Kind::AlertRule, Kind::Dashboard, Kind::Secret];

/// Reads one document, which may be a list of objects. `found` is what was wrong with it as YAML.
pub(super) fn read(node: Node, found: Vec<Finding>, parsed: &mut Parsed) {
    if !node.is_null() || !found.is_empty() {
        read_at(node, String::new(), found, parsed);
    }
}

fn read_at(node: Node, path: String, mut found: Vec<Finding>, parsed: &mut Parsed) {
    if is_list(&node) {
        read_list(node, &path, found, parsed);
        return;
    }
    match object(&node, &path, &mut found) {
        Ok(object) => {
            let (line, column) = (node.at.line, node.at.column);
            parsed.objects.push(Located { object, line, column, source: Source { node: Arc::new(node), path } });
        }
        Err(key) => parsed.problems.extend(found.into_iter().map(|finding| finding.of(key.clone()))),
    }
}

fn read_list(node: Node, path: &str, mut found: Vec<Finding>, parsed: &mut Parsed) {
    let Content::Mapping(entries) = node.content else { return };
    let items = entries.into_iter().find(|entry| entry.key == "items").map(|entry| entry.value);
    match items {
        Some(Node { content: Content::Sequence(items), .. }) => {
            for (index, item) in items.into_iter().enumerate() {
                let path = join(path, &format!("items[{index}]"));
                let (own, others) = found.into_iter().partition(|finding: &Finding| finding.path.starts_with(&path));
                found = others;
                read_at(item, path, own, parsed);
            }
        }
        other => {
            let at = other.map_or(node.at, |items| items.at);
            found.push(Finding { at, path: join(path, "items"), message: "expected a list of objects".to_owned() });
        }
    }
    parsed.problems.extend(found.into_iter().map(|finding| finding.of(None)));
}

/// The object in a tree, or what is known of one that is wrong. `found` gets the problems, each with its path in the
/// document.
fn object(node: &Node, path: &str, found: &mut Vec<Finding>) -> Result<Object, Option<ObjectKey>> {
    let below = |finding: Finding| Finding { path: join(path, &finding.path), ..finding };
    let kind = kind_of(node).map_err(|finding| {
        found.push(below(finding));
        None
    })?;
    let mut findings = Vec::new();
    let value = check(kind, node, &mut findings);
    let object = if found.is_empty() && findings.is_empty() {
        typed(kind, value, node).map_err(|finding| findings.push(finding)).ok()
    } else {
        None
    };
    found.extend(findings.into_iter().map(below));
    object.ok_or_else(|| key_of(kind, node))
}

/// `kind: List` of `v1`, and the lists of single kinds such as `AlertRuleList`.
fn is_list(node: &Node) -> bool {
    let kind = node.get("kind").and_then(Node::text).unwrap_or_default();
    kind == "List" || (node.get("items").is_some() && kind.ends_with("List"))
}

fn kind_of(node: &Node) -> Result<Kind, Finding> {
    let finding = |node: &Node, path: &str, message: String| Finding { at: node.at, path: path.to_owned(), message };
    let Content::Mapping(_) = node.content else {
        let message = "expected an object with apiVersion, kind, metadata and spec".to_owned();
        return Err(finding(node, "", message));
    };
    let known = KINDS.map(|kind| kind.to_string());
    let field = |name: &str, example: &str| {
        let value = node.get(name).filter(|value| !value.is_null());
        let value = value.ok_or_else(|| finding(node, name, format!("this field is required, such as {example}")))?;
        let text = value.text().ok_or_else(|| finding(value, name, format!("expected a text, such as {example}")))?;
        Ok((value, text))
    };
    let (kind_node, name) = field("kind", "AlertRule")?;
    let Some(kind) = KINDS.into_iter().find(|kind| kind.to_string() == name) else {
        let hint = match did_you_mean(name, known.iter().map(String::as_str)) {
            Some(name) => format!("did you mean {name}?"),
            None => format!("known are {}", known.join(", ")),
        };
        return Err(finding(kind_node, "kind", format!("Taffrail knows no kind `{name}`; {hint}")));
    };
    let expected = if kind == Kind::Secret { "v1".to_owned() } else { format!("{GROUP}/{VERSION}") };
    let (version_node, version) = field("apiVersion", &expected)?;
    if version != expected {
        let message = format!("{kind} of `{version}` is unknown: write {expected}");
        return Err(finding(version_node, "apiVersion", message));
    }
    Ok(kind)
}

fn key_of(kind: Kind, node: &Node) -> Option<ObjectKey> {
    let metadata = node.get("metadata")?;
    let namespace = metadata.get("namespace").and_then(Node::text).unwrap_or(DEFAULT_NAMESPACE).to_owned();
    Some(ObjectKey { kind, namespace, name: metadata.get("name")?.text()?.to_owned() })
}

/// Checks an object against its schema and rules, and gives it as JSON.
fn check(kind: Kind, node: &Node, findings: &mut Vec<Finding>) -> Value {
    let Some(rules) = rules(kind) else { return Value::Null };
    let Some(mut value) = rules.schema.check(node, "", findings) else { return Value::Null };
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.entry("namespace").or_insert_with(|| DEFAULT_NAMESPACE.into());
        }
    }
    match &rules.cel {
        Some(cel) => run_rules(cel, &value, node, findings),
        None => secret(&mut value, node, findings),
    }
    value
}

/// Applies the CEL rules.
fn run_rules(cel: &CompiledSchema, value: &Value, node: &Node, findings: &mut Vec<Finding>) {
    let Err(errors) = validate_compiled(cel, value, None) else { return };
    let structural = findings.len();
    for error in errors {
        let path = error.field_path.trim_start_matches('.').to_owned();
        // Where a field is misspelt or missing, a rule that misses it would only say the same again.
        let told = findings[..structural].iter().any(|finding| {
            let parent = finding.path.rsplit_once(['.', '[']).map_or("", |(parent, _)| parent);
            finding.path == path || (parent == path && value.pointer(&pointer(&finding.path)).is_none())
        });
        // A rule that can't be evaluated met a value of the wrong type, which the schema has reported.
        let meant = error.kind == ErrorKind::ValidationFailure || structural == 0;
        if meant && !told {
            findings.push(Finding { at: node.nearest(&path).at, path, message: error.message });
        }
    }
}

/// `spec.panels[2].title` as `/spec/panels/2/title`.
fn pointer(path: &str) -> String {
    format!("/{}", path.replace(']', "").replace(['.', '['], "/"))
}

/// Merges `stringData` into `data`, as the API server does, and sees to it that `data` is base64.
fn secret(value: &mut Value, node: &Node, findings: &mut Vec<Finding>) {
    let Some(object) = value.as_object_mut() else { return };
    let mut data = match object.remove("data") {
        Some(Value::Object(data)) => data,
        _ => serde_json::Map::new(),
    };
    for (key, value) in &data {
        if value.is_string() && serde_json::from_value::<ByteString>(value.clone()).is_err() {
            let path = join("data", key);
            let message = "not base64: put a plain text under `stringData` instead".to_owned();
            findings.push(Finding { at: node.nearest(&path).at, path, message });
        }
    }
    if let Some(Value::Object(texts)) = object.remove("stringData") {
        for (key, text) in texts {
            let bytes = ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
            data.insert(key, serde_json::to_value(bytes).unwrap_or_default());
        }
    }
    object.insert("data".to_owned(), Value::Object(data));
}

fn typed(kind: Kind, value: Value, node: &Node) -> Result<Object, Finding> {
    fn read<T: DeserializeOwned>(value: Value) -> serde_json::Result<Arc<T>> {
        serde_json::from_value(value).map(Arc::new)
    }
    let object = match kind {
        Kind::LogPipeline => read(value).map(Object::LogPipeline),
        Kind::AlertRule => read(value).map(Object::AlertRule),
        Kind::Dashboard => read(value).map(Object::Dashboard),
        Kind::Secret => read(value).map(Object::Secret),
    };
    object.map_err(|error| Finding { at: node.at, path: String::new(), message: format!("can't be read: {error}") })
}

/// What an object of one kind must keep to.
struct Rules {
    schema: Schema,
    cel: Option<CompiledSchema>,
}

/// Compiled once in the life of the process.
fn rules(kind: Kind) -> Option<&'static Rules> {
    static RULES: OnceLock<Vec<Option<Rules>>> = OnceLock::new();
    let all = RULES.get_or_init(|| {
        let crds = crate::crds();
        let mut all: Vec<_> = crds.into_iter().map(of_definition).collect();
        all.push(of_secret());
        all
    });
    all.get(KINDS.iter().position(|known| *known == kind)?)?.as_ref()
}

fn of_definition(crd: CustomResourceDefinition) -> Option<Rules> {
    let mut props = crd.spec.versions.into_iter().next()?.schema?.open_api_v3_schema?;
    let cel = compile_schema(&serde_json::to_value(&props).ok()?);
    complete(&mut props)?;
    Some(Rules { schema: Schema::new(&props)?, cel: Some(cel) })
}

fn of_secret() -> Option<Rules> {
    let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let mut props = serde_json::from_value(json!({
        "type": "object",
        "properties": {"data": map, "stringData": map, "type": {"type": "string"}, "immutable": {"type": "boolean"}},
    }))
    .ok()?;
    complete(&mut props)?;
    Some(Rules { schema: Schema::new(&props)?, cel: None })
}

/// Adds what every object has, and what the API server checks by itself.
fn complete(props: &mut JSONSchemaProps) -> Option<()> {
    let text = json!({"type": "string"});
    let texts = json!({"type": "object", "additionalProperties": text});
    let name = json!({
        "type": "string", "minLength": 1, "maxLength": 253, "pattern": patterns::DNS_NAME,
        "description": "The object's name",
    });
    let namespace = json!({"type": "string", "minLength": 1, "maxLength": 63, "pattern": patterns::DNS_NAME});
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let fields = json!({
        "apiVersion": text,
        "kind": text,
        "status": open,
        "metadata": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": name, "namespace": namespace, "labels": texts, "annotations": texts},
            "x-kubernetes-preserve-unknown-fields": true,
            "description": "At least the object's name",
        },
    });
    let properties = props.properties.get_or_insert_default();
    for (name, schema) in fields.as_object()? {
        properties.insert(name.clone(), serde_json::from_value(schema.clone()).ok()?);
    }
    props.required.get_or_insert_default().push("metadata".to_owned());
    Some(())
}
