//! Whether everything that was applied is still as it was applied.
//!
//! The API server keeps, for each field manager, the set of fields it owns. A field that somebody else changes or
//! removes leaves the operator's set. So an object is as applied when its rendered form has the hash that was applied
//! last and every field of it is in that set. Values need not be compared, which would go wrong wherever the server
//! writes them in another way (`1024Mi` becomes `1Gi`).

use serde_json::{Map, Value};

/// Whether every field of what was rendered is in a set of fields (`fieldsV1`).
pub(crate) fn covers(fields: &Value, rendered: &Value) -> bool {
    let Value::Object(rendered) = rendered else { return true };
    rendered.iter().all(|(key, value)| match key.as_str() {
        // Of the object's identity nobody is the owner.
        "apiVersion" | "kind" => true,
        "metadata" => metadata(fields.get("f:metadata"), value),
        _ => fields.get(format!("f:{key}")).is_some_and(|below| value_is_in(below, value)),
    })
}

fn metadata(fields: Option<&Value>, rendered: &Value) -> bool {
    let Value::Object(rendered) = rendered else { return true };
    let mut parts = rendered.iter().filter(|(key, _)| !matches!(key.as_str(), "name" | "namespace"));
    parts.all(|(key, value)| {
        fields.and_then(|fields| fields.get(format!("f:{key}"))).is_some_and(|below| value_is_in(below, value))
    })
}

fn value_is_in(fields: &Value, value: &Value) -> bool {
    // A field without fields below it is owned as a whole: a scalar, or an atomic list or map.
    let Some(fields) = fields.as_object().filter(|fields| !fields.is_empty()) else { return true };
    match value {
        Value::Object(map) => map
            .iter()
            .all(|(key, value)| fields.get(&format!("f:{key}")).is_some_and(|below| value_is_in(below, value))),
        Value::Array(items) => items.iter().all(|item| item_is_in(fields, item)),
        _ => true,
    }
}

/// Whether an item of a list is in a set: by its value (`v:`), or by the fields that are its key (`k:`).
fn item_is_in(fields: &Map<String, Value>, item: &Value) -> bool {
    fields.iter().any(|(path, below)| match path.split_once(':') {
        Some(("v", text)) => serde_json::from_str::<Value>(text).is_ok_and(|value| value == *item),
        Some(("k", text)) => serde_json::from_str::<Map<String, Value>>(text).is_ok_and(|keys| {
            // What is part of the key but was not rendered has its default there.
            keys.iter().all(|(key, value)| item.get(key).is_none_or(|rendered| rendered == value))
                && value_is_in(below, item)
        }),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields() -> Value {
        json!({
            "f:metadata": {
                "f:labels": {"f:app": {}},
                "f:ownerReferences": {"k:{\"uid\":\"u1\"}": {}},
            },
            "f:spec": {
                "f:selector": {},
                "f:replicas": {},
                "f:template": {"f:spec": {
                    "f:containers": {"k:{\"name\":\"main\"}": {
                        ".": {}, "f:name": {}, "f:image": {},
                        "f:ports": {"k:{\"containerPort\":9090,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                    }},
                    "f:volumes": {"k:{\"name\":\"data\"}": {".": {}, "f:name": {}, "f:emptyDir": {}}},
                }},
            },
            "f:finalizers": {"v:\"a\"": {}},
        })
    }

    fn rendered() -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "d", "namespace": "n", "labels": {"app": "x"},
                "ownerReferences": [{"uid": "u1", "name": "owner"}],
            },
            "spec": {
                "selector": {"matchLabels": {"app": "x"}},
                "replicas": 2,
                "template": {"spec": {
                    "containers": [{"name": "main", "image": "i", "ports": [{"containerPort": 9090}]}],
                    "volumes": [{"name": "data", "emptyDir": {}}],
                }},
            },
            "finalizers": ["a"],
        })
    }

    #[test]
    fn what_was_applied_and_left_alone_is_covered() {
        assert!(covers(&fields(), &rendered()));
    }

    #[test]
    fn a_field_that_was_taken_away_is_missed() {
        for pointer in [
            "/f:metadata/f:labels/f:app",
            "/f:metadata/f:ownerReferences/k:{\"uid\":\"u1\"}",
            "/f:spec/f:replicas",
            "/f:spec/f:selector",
            "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"main\"}",
            "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"main\"}/f:image",
            "/f:spec/f:template/f:spec/f:volumes",
            "/f:finalizers/v:\"a\"",
        ] {
            let mut fields = fields();
            let (parent, key) = pointer.rsplit_once('/').expect("a path");
            let parent = fields.pointer_mut(parent).and_then(Value::as_object_mut).expect(pointer);
            assert!(parent.remove(key).is_some(), "{pointer}");
            // The server never leaves a parent behind that has nothing left.
            parent.insert("f:other".to_owned(), json!({}));
            assert!(!covers(&fields, &rendered()), "{pointer}");
        }
    }
}
