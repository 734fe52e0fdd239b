//! A partial pod template merged over a rendered one, as `kubectl patch` does it: lists of named things by their names,
//! other lists as a whole, `null` takes away.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

/// The lists whose items are merged, each with the field that names an item.
const MERGED: [(&str, &str); 9] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("env", "name"),
    ("ports", "containerPort"),
    ("volumes", "name"),
    ("volumeMounts", "mountPath"),
    ("imagePullSecrets", "name"),
    ("hostAliases", "ip"),
];

/// A pod template that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// An item of a list has no name to be merged by.
    #[error("an item of `{list}` in spec.template has no `{key}`, by which it would be merged")]
    Unnamed {
        /// The list.
        list: String,
        /// The field that is missing.
        key: &'static str,
    },
    /// The result is no pod template.
    #[error("spec.template makes no pod template: {0}")]
    Shape(String),
}

/// A template with a patch merged over it.
///
/// # Errors
/// When an item of a list can't be merged, or the result is no pod template.
pub(crate) fn template(base: Value, patch: &Value) -> Result<Value, TemplateError> {
    let mut merged = base;
    merge(&mut merged, patch)?;
    serde_json::from_value::<PodTemplateSpec>(merged.clone())
        .map_err(|error| TemplateError::Shape(error.to_string()))?;
    Ok(merged)
}

/// Sets everything that `fixed` has, whatever was there.
pub(crate) fn over(target: &mut Value, fixed: &Value) {
    match (target, fixed) {
        (Value::Object(target), Value::Object(fixed)) => {
            for (key, value) in fixed {
                over(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, fixed) => *target = fixed.clone(),
    }
}

fn merge(target: &mut Value, patch: &Value) -> Result<(), TemplateError> {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else { return Ok(()) };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
            continue;
        }
        let list = MERGED.iter().find(|(list, _)| list == key);
        match (list, value) {
            (Some((_, name)), Value::Array(items)) => {
                let below = target.entry(key.clone()).or_insert_with(|| Value::Array(Vec::new()));
                merge_list(below, items, key, name)?;
            }
            _ => merge(target.entry(key.clone()).or_insert(Value::Null), value)?,
        }
    }
    Ok(())
}

fn merge_list(target: &mut Value, items: &[Value], list: &str, key: &'static str) -> Result<(), TemplateError> {
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Some(target) = target.as_array_mut() else { return Ok(()) };
    for item in items {
        let name = item.get(key).filter(|name| !name.is_null());
        let name = name.ok_or_else(|| TemplateError::Unnamed { list: list.to_owned(), key })?;
        match target.iter_mut().find(|there| there.get(key) == Some(name)) {
            // A volume is of one kind only, and a variable has one origin: what is set replaces the other.
            Some(there) if list == "volumes" || list == "env" => *there = item.clone(),
            Some(there) => merge(there, item)?,
            None => {
                let mut new = Value::Null;
                merge(&mut new, item)?;
                target.push(new);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn base() -> Value {
        json!({
            "metadata": {"labels": {"a": "1"}},
            "spec": {
                "containers": [{
                    "name": "ingestion", "image": "i", "args": ["x"],
                    "env": [{"name": "A", "value": "1"}],
                    "ports": [{"name": "telemetry", "containerPort": 9090}],
                    "resources": {"requests": {"cpu": "100m", "memory": "1Mi"}, "limits": {"memory": "2Mi"}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }],
                "volumes": [{"name": "data", "emptyDir": {}}],
                "terminationGracePeriodSeconds": 60,
            },
        })
    }

    #[rstest]
    #[case::a_scalar(json!({"spec": {"priorityClassName": "high"}}), "/spec/priorityClassName", json!("high"))]
    #[case::labels_are_added(json!({"metadata": {"labels": {"b": "2"}}}), "/metadata/labels", json!({"a": "1", "b": "2"}))]
    #[case::a_container_by_name(
        json!({"spec": {"containers": [{"name": "ingestion", "resources": {"limits": {"memory": "4Mi"}}}]}}),
        "/spec/containers/0/resources",
        json!({"requests": {"cpu": "100m", "memory": "1Mi"}, "limits": {"memory": "4Mi"}})
    )]
    #[case::a_sidecar(
        json!({"spec": {"containers": [{"name": "sidecar", "image": "s"}]}}),
        "/spec/containers/1",
        json!({"name": "sidecar", "image": "s"})
    )]
    #[case::a_variable_by_name(
        json!({"spec": {"containers": [{"name": "ingestion", "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]}]}}),
        "/spec/containers/0/env",
        json!([{"name": "A", "value": "2"}, {"name": "B", "value": "3"}])
    )]
    #[case::a_volume_of_another_kind(
        json!({"spec": {"volumes": [{"name": "data", "hostPath": {"path": "/x"}}]}}),
        "/spec/volumes",
        json!([{"name": "data", "hostPath": {"path": "/x"}}])
    )]
    #[case::a_list_without_names(
        json!({"spec": {"containers": [{"name": "ingestion", "args": ["y", "z"]}]}}),
        "/spec/containers/0/args",
        json!(["y", "z"])
    )]
    #[case::null_takes_away(
        json!({"spec": {"containers": [{"name": "ingestion", "resources": {"limits": null}}]}}),
        "/spec/containers/0/resources",
        json!({"requests": {"cpu": "100m", "memory": "1Mi"}})
    )]
    fn a_patch_is_merged(#[case] patch: Value, #[case] pointer: &str, #[case] expected: Value) {
        let merged = template(base(), &patch).expect("fits");
        assert_eq!(merged.pointer(pointer), Some(&expected), "{merged:#}");
    }

    #[rstest]
    #[case::no_name(json!({"spec": {"containers": [{"image": "x"}]}}), "`containers`")]
    #[case::wrong_type(json!({"spec": {"terminationGracePeriodSeconds": "long"}}), "no pod template")]
    #[case::rubbish(json!({"spec": "rubbish"}), "no pod template")]
    fn a_patch_that_does_not_fit_is_refused(#[case] patch: Value, #[case] expected: &str) {
        let error = template(base(), &patch).expect_err("does not fit").to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_fixed_wins() {
        let mut target = json!({"labels": {"a": "theirs", "b": "theirs"}});
        over(&mut target, &json!({"labels": {"a": "ours"}}));
        assert_eq!(target, json!({"labels": {"a": "ours", "b": "theirs"}}));
    }
}
