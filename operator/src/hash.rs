//! Hashes of JSON and of secrets, the same on every machine and for every order of keys.

use std::collections::BTreeMap;
use std::fmt::Write;

use ring::digest::{Context, SHA256};
use serde_json::Value;

/// The hash of a value: half of a SHA-256 in hexadecimal.
pub(crate) fn of_json(value: &Value) -> String {
    let mut context = Context::new(&SHA256);
    feed(value, &mut context);
    finish(context)
}

/// The hash of texts, each kept apart from the next.
pub(crate) fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        part_of(part, &mut context);
    }
    finish(context)
}

fn part_of(part: &[u8], context: &mut Context) {
    context.update(&(part.len() as u64).to_le_bytes());
    context.update(part);
}

fn feed(value: &Value, context: &mut Context) {
    match value {
        Value::Object(map) => {
            // Whether `Map` keeps keys in order depends on what other crates ask of serde_json.
            let sorted: BTreeMap<_, _> = map.iter().collect();
            context.update(b"{");
            context.update(&(sorted.len() as u64).to_le_bytes());
            for (key, value) in sorted {
                part_of(key.as_bytes(), context);
                feed(value, context);
            }
        }
        Value::Array(items) => {
            context.update(b"[");
            context.update(&(items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| feed(item, context));
        }
        Value::String(text) => {
            context.update(b"\"");
            part_of(text.as_bytes(), context);
        }
        other => {
            context.update(b".");
            part_of(other.to_string().as_bytes(), context);
        }
    }
}

fn finish(context: Context) -> String {
    hex(&context.finish().as_ref()[..16])
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_does_not_matter_and_everything_else_does() {
        let one: Value = serde_json::from_str(r#"{"a": 1, "b": {"c": [1, 2], "d": null}}"#).expect("JSON");
        let same: Value = serde_json::from_str(r#"{"b": {"d": null, "c": [1, 2]}, "a": 1}"#).expect("JSON");
        assert_eq!(of_json(&one), of_json(&same));
        for other in [
            json!({"a": 1, "b": {"c": [2, 1], "d": null}}),
            json!({"a": "1", "b": {"c": [1, 2], "d": null}}),
            json!({"a": 1, "b": {"c": [1, 2]}}),
            json!({"a": 1, "b": {"c": [1, 2], "d": {}}}),
        ] {
            assert_ne!(of_json(&one), of_json(&other), "{other}");
        }
        assert_ne!(of_parts([&b"ab"[..], b"c"]), of_parts([&b"a"[..], b"bc"]));
    }
}
