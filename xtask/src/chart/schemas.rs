//! JSON schemas of all kinds of a cluster, as kubeconform wants them: made from what the API server itself publishes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use crate::cluster::Kubectl;
use crate::process;

/// The API server publishes kinds a moment after it takes objects of them.
const PUBLISHED: Duration = Duration::from_secs(30);
const DEFINITIONS: &str = "#/definitions/";

/// How kubeconform finds the files that [`write()`] writes.
pub fn location(dir: &Path) -> String {
    format!("{}/{{{{.ResourceKind}}}}-{{{{.Group}}}}-{{{{.ResourceAPIVersion}}}}.json", dir.display())
}

/// Writes a schema for each kind that the API server knows, when it knows `expected`, which are groups and versions.
pub fn write(kubectl: &Kubectl, expected: &[&str], dir: &Path) -> Result<()> {
    for url in published(kubectl, expected)? {
        let text = kubectl.get(&["--raw", &url])?.replace("#/components/schemas/", DEFINITIONS);
        let document: Value = serde_json::from_str(&text).with_context(|| format!("what {url} says is not JSON"))?;
        for (file, schema) in kinds(&document) {
            fs::write(dir.join(&file), schema.to_string()).with_context(|| format!("could not write {file}"))?;
        }
    }
    Ok(())
}

/// Where the kinds of each group and version are described.
fn published(kubectl: &Kubectl, expected: &[&str]) -> Result<Vec<String>> {
    let deadline = Instant::now() + PUBLISHED;
    loop {
        let index: Value = serde_json::from_str(&kubectl.get(&["--raw", "/openapi/v3"])?)
            .context("the API server's list of schemas is not JSON")?;
        let paths = index["paths"].as_object().context("the API server publishes no schemas")?;
        if expected.iter().all(|group| paths.contains_key(&format!("apis/{group}"))) {
            let urls = paths.values().filter_map(|path| path["serverRelativeURL"].as_str());
            return Ok(urls.map(str::to_owned).collect());
        }
        ensure!(Instant::now() < deadline, "the API server does not publish schemas of {}", expected.join(", "));
        process::check_interrupted()?;
        std::thread::sleep(process::TICK);
    }
}

/// The schema of each kind in a document of OpenAPI v3, with the name of its file.
fn kinds(document: &Value) -> Vec<(String, Value)> {
    let mut schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    schemas.values_mut().for_each(close);
    let kind = |(name, schema): (&String, &Value)| {
        // What stands for several kinds is none of them: a list of options.
        let [id] = schema["x-kubernetes-group-version-kind"].as_array()?.as_slice() else { return None };
        let [group, version, kind] = ["group", "version", "kind"].map(|key| id[key].as_str());
        let (version, kind) = (version?, kind?.to_lowercase());
        // kubeconform takes the version for the group of those that have none.
        let group = group.filter(|group| !group.is_empty()).unwrap_or(version);
        Some((format!("{kind}-{group}-{version}.json"), standalone(name, &schemas)))
    };
    schemas.iter().filter_map(kind).collect()
}

/// The named schema with all that it refers to.
fn standalone(name: &str, schemas: &Map<String, Value>) -> Value {
    let (mut needed, mut pending) = (BTreeSet::new(), vec![name]);
    while let Some(name) = pending.pop() {
        if needed.insert(name)
            && let Some(schema) = schemas.get(name)
        {
            references(schema, &mut pending);
        }
    }
    let definitions: Map<_, _> =
        needed.iter().filter_map(|name| Some(((*name).to_owned(), schemas.get(*name)?.clone()))).collect();
    json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "allOf": [{"$ref": format!("{DEFINITIONS}{name}")}],
        "definitions": definitions,
    })
}

fn references<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
    match schema {
        Value::Object(fields) => {
            // It may also be the name of a property, and then it is no text.
            found.extend(fields.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(DEFINITIONS)));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// Refuses fields that an object's schema does not name, as strict clients do. What `allOf`, `anyOf`, `oneOf` and `not` add
/// says nothing of other fields, and stays as it is.
fn close(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    let open = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    for key in ["items", "additionalProperties"] {
        fields.get_mut(key).into_iter().for_each(close);
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
        if !open && !fields.contains_key("additionalProperties") {
            fields.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{close, kinds};

    #[test]
    fn only_objects_with_named_fields_are_closed() {
        let closed = |mut schema: Value| {
            close(&mut schema);
            schema
        };
        let (open, named) = (json!({"type": "object"}), json!({"properties": {"a": {}}}));
        let strict = json!({"properties": {"a": {}}, "additionalProperties": false});
        assert_eq!(closed(open.clone()), open);
        assert_eq!(closed(named.clone()), strict);
        assert_eq!(closed(json!({"items": named})), json!({"items": strict}));
        assert_eq!(closed(json!({"additionalProperties": named})), json!({"additionalProperties": strict}));
        let keeps = json!({"properties": {"a": {}}, "x-kubernetes-preserve-unknown-fields": true});
        assert_eq!(closed(keeps.clone()), keeps);
        let alternatives = json!({"oneOf": [named]});
        assert_eq!(closed(alternatives.clone()), alternatives);
    }

    #[test]
    fn a_schema_has_what_it_refers_to_and_no_more() {
        let kind = |group, kind| json!([{"group": group, "version": "v1", "kind": kind}]);
        let document = json!({"components": {"schemas": {
            "Pod": {"properties": {"spec": {"allOf": [{"$ref": "#/definitions/Spec"}]}}, "x-kubernetes-group-version-kind": kind("", "Pod")},
            "Spec": {"properties": {"$ref": {"type": "string"}, "again": {"$ref": "#/definitions/Spec"}}},
            "Job": {"type": "object", "x-kubernetes-group-version-kind": kind("batch", "Job")},
            "Unused": {"type": "object"},
        }}});
        let schemas = kinds(&document);
        let found: Vec<_> = schemas
            .iter()
            .map(|(file, schema)| {
                (file.as_str(), schema["definitions"].as_object().map(|all| all.keys().collect::<Vec<_>>()))
            })
            .collect();
        let [job, pod, spec] = ["Job", "Pod", "Spec"].map(str::to_owned);
        assert_eq!(found, [("job-batch-v1.json", Some(vec![&job])), ("pod-v1-v1.json", Some(vec![&pod, &spec]))]);
    }
}
