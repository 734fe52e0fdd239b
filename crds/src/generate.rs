//! The definitions of the kinds, as Kubernetes takes them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_yaml::Value;

use crate::{AlertRule, Dashboard, LogPipeline};

/// Formats of numbers that the API server warns of, with the greatest number each can hold.
const FORMATS_OF_RUST: [(&str, Option<f64>); 5] = [
    ("uint8", Some(u8::MAX as f64)),
    ("uint16", Some(u16::MAX as f64)),
    ("uint32", Some(u32::MAX as f64)),
    ("uint64", None),
    ("uint", None),
];

/// The definitions of all kinds: LogPipeline, AlertRule, Dashboard.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![LogPipeline::crd(), AlertRule::crd(), Dashboard::crd()];
    for version in crds.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            normalise(schema);
        }
    }
    crds
}

/// Takes out what Kubernetes has no use for.
///
/// `nullable` goes, because then the API server drops a `null` and fills in the default, so that `has()` in a rule
/// means what it says.
fn normalise(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some((_, greatest)) = FORMATS_OF_RUST.iter().find(|(name, _)| schema.format.as_deref() == Some(*name)) {
        schema.format = None;
        schema.maximum = schema.maximum.or(*greatest);
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        normalise(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => normalise(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(normalise),
        None => {}
    }
    match &mut schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => normalise(values),
        _ => schema.additional_properties = None,
    }
}

/// Where a definition's YAML lies beside the crate.
#[must_use]
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural)
}

/// A definition as YAML; the same text every time.
///
/// # Errors
/// None that a definition from [`crds`] could bring about.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_yaml::Error> {
    let body = serde_yaml::to_string(&tidy(serde_yaml::to_value(crd)?))?;
    Ok(format!("# Generated from the types in crds/src; mend it with `cargo xtask generate`.\n{body}"))
}

/// The same value with its keys in order, whatever the JSON and YAML crates were built to do, and with whole numbers
/// that look it.
fn tidy(value: Value) -> Value {
    match value {
        Value::Mapping(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, tidy(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.as_str().cmp(&b.as_str()));
            Value::Mapping(entries.into_iter().collect())
        }
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(tidy).collect()),
        Value::Number(number) => match number.as_f64() {
            // Up to 2^53 every whole number is exactly itself in both forms.
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => (float as i64).into(),
            _ => Value::Number(number),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests;
