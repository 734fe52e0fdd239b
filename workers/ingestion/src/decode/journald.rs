//! Entries of systemd's journal, as `journalctl -o json` prints them.

use serde_json::{Map, Value};

/// Whether an object is an entry of the journal.
pub(super) fn is_entry(object: &Map<String, Value>) -> bool {
    object.contains_key("MESSAGE") && (object.contains_key("__REALTIME_TIMESTAMP") || object.contains_key("_BOOT_ID"))
}

/// Gives the keys that have a place in a log entry the names that [`super::mapping`] knows. All other fields of the
/// journal keep theirs.
pub(super) fn rename(object: &mut Map<String, Value>) {
    if let Some(message) = object.remove("MESSAGE") {
        object.insert("message".to_owned(), Value::String(text(message)));
    }
    if let Some(micros) = object.remove("__REALTIME_TIMESTAMP") {
        object.insert("timestamp".to_owned(), micros);
    }
    if let Some(priority) = object.get("PRIORITY").cloned() {
        object.insert("level".to_owned(), priority);
    }
    if let Some(host) = object.remove("_HOSTNAME") {
        object.insert("host".to_owned(), host);
    }
    let service = ["SYSLOG_IDENTIFIER", "_COMM"].iter().find_map(|key| object.get(*key)).cloned();
    let unit =
        || object.get("_SYSTEMD_UNIT").and_then(Value::as_str).map(|unit| unit.trim_end_matches(".service").into());
    if let Some(service) = service.or_else(unit) {
        object.insert("service".to_owned(), service);
    }
}

/// The journal prints a message that is not UTF-8 as an array of its bytes, and one that is very long as null.
fn text(message: Value) -> String {
    match message {
        Value::String(text) => text,
        Value::Array(bytes) => {
            let bytes: Vec<u8> =
                bytes.iter().filter_map(Value::as_u64).filter_map(|byte| u8::try_from(byte).ok()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => String::new(),
    }
}
