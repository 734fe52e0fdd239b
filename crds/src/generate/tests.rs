#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::Value;

use super::{crds, file_name, to_yaml};

#[test]
fn the_files_beside_the_crate_and_in_the_chart_are_those_of_the_types() {
    for folder in ["", "../charts/taffrail/files/crds"] {
        for crd in crds() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(file_name(&crd));
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == to_yaml(&crd).unwrap(),
                "{} differs from the types: run `cargo xtask generate`",
                path.display()
            );
        }
    }
}

#[test]
fn a_definition_is_far_below_what_an_annotation_holds() {
    for crd in crds() {
        let size = to_yaml(&crd).unwrap().len();
        assert!(size < 100_000, "{} has {size} bytes; kubectl apply takes 262144", file_name(&crd));
    }
}

#[test]
fn people_find_the_kinds_by_short_names_and_category() {
    let names: Vec<_> = crds()
        .into_iter()
        .map(|crd| (crd.spec.names.short_names.unwrap(), crd.spec.names.categories.unwrap()))
        .collect();
    assert_eq!(names, ["lp", "ar", "dash"].map(|short| (vec![short.to_owned()], vec!["taffrail".to_owned()])));
}

#[test]
fn every_rule_compiles_within_its_budget() {
    for crd in crds() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema).unwrap();
        let mut rules = 0;
        walk(&kube::core::cel::compile_schema(&schema), &mut rules);
        assert!(rules > 5, "{}: {rules} rules", file_name(&crd));
    }
}

fn walk(schema: &kube::core::cel::CompiledSchema, rules: &mut usize) {
    for rule in &schema.validations {
        let rule = &rule.as_ref().unwrap().rule;
        *rules += 1;
        assert!(rule.message.is_some(), "no message: {}", rule.rule);
        let warnings = kube::core::cel::estimate_rule_cost(&rule.rule, schema);
        assert!(warnings.is_empty(), "{warnings:?}");
    }
    let children =
        schema.properties.values().chain(schema.items.as_deref()).chain(schema.additional_properties.as_deref());
    children.for_each(|child| walk(child, rules));
}

/// A structural schema: every node has one type, and nothing is chosen between.
#[test]
fn schemas_are_structural() {
    for crd in crds() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema).unwrap();
        structural(&schema, &file_name(&crd));
    }
}

fn structural(schema: &Value, path: &str) {
    let allowed = ["object", "array", "string", "integer", "number", "boolean"];
    assert!(allowed.contains(&schema["type"].as_str().unwrap_or_default()), "{path} has no type: {schema}");
    for keyword in ["$ref", "anyOf", "oneOf", "allOf", "not", "nullable"] {
        assert!(schema.get(keyword).is_none(), "{path} has {keyword}: {schema}");
    }
    let formats = [None, Some("date-time"), Some("double"), Some("int32"), Some("int64")];
    assert!(formats.contains(&schema.get("format").and_then(Value::as_str)), "{path}: {}", schema["format"]);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        structural(property, &format!("{path}.{name}"));
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(keyword) {
            structural(inner, &format!("{path}[]"));
        }
    }
}
