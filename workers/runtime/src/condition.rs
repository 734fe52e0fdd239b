//! Conditions in an object's status.

use serde_json::{Value, json};

/// The list of conditions of an object that is ready, or is not for a reason: a word that never changes, and a sentence
/// for people. `since` is when it became so, RFC 3339.
#[must_use]
pub fn ready(is_ready: bool, reason: &str, message: &str, generation: Option<i64>, since: &str) -> Value {
    json!([condition("Ready", is_ready, reason, message, generation, since)])
}

/// The condition of an object that does its work, though something is not as it should be; as for [`ready`].
#[must_use]
pub fn degraded(reason: &str, message: &str, generation: Option<i64>, since: &str) -> Value {
    condition("Degraded", true, reason, message, generation, since)
}

fn condition(kind: &str, is_so: bool, reason: &str, message: &str, generation: Option<i64>, since: &str) -> Value {
    json!({
        "type": kind,
        "status": if is_so { "True" } else { "False" },
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since,
    })
}
