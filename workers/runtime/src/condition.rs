//! Conditions in an object's status.

use serde_json::{Value, json};

/// The list of conditions of an object that is ready, or is not for a reason: a word that never changes, and a sentence
/// for people. `since` is when it became so, RFC 3339.
#[must_use]
pub fn ready(is_ready: bool, reason: &str, message: &str, generation: Option<i64>, since: &str) -> Value {
    json!([{
        "type": "Ready",
        "status": if is_ready { "True" } else { "False" },
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since,
    }])
}
