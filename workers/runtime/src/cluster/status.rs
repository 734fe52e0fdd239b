//! Status of rules, written where `kubectl` shows it.
//!
//! What people act on (state, alerts, readiness) is written at once. A value that moves is written every
//! [`VALUES_EVERY`] at most, and the time of the last evaluation only along with something else: a rule that stays as it
//! is must not keep the API server busy.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use taffrail_crds::{AlertRule, Kind, ObjectKey};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Cluster;
use crate::{Board, Entry};

/// Who writes what workers say of rules.
const MANAGER: &str = "taffrail-rules";

/// How often a value is written that moves.
const VALUES_EVERY: Duration = Duration::from_secs(15);

/// Status that is written at the same time.
const AT_ONCE: usize = 16;

/// How long a write that failed waits until it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// What was written last.
struct Written {
    status: Value,
    at: Instant,
    /// It was refused, and is to be written again.
    failed: bool,
}

/// Writes status whenever it has changed, until `stop` is cancelled, and once more then.
pub(super) async fn write(cluster: Cluster, board: Board, stop: CancellationToken) {
    let mut reports = board.reports();
    let api: Api<AlertRule> = Api::namespaced(cluster.client, &cluster.namespace);
    let mut written: BTreeMap<ObjectKey, Written> = BTreeMap::new();
    let mut next = None;
    loop {
        let is_over = tokio::select! {
            () = stop.cancelled() => true,
            // The board's sender lives as long as the board, which we have.
            _ = reports.changed() => false,
            () = async { tokio::time::sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => false,
        };
        next = round(&api, &board, &mut written).await;
        if is_over {
            return;
        }
    }
}

/// Writes what is due, and says when something else will be.
async fn round(api: &Api<AlertRule>, board: &Board, written: &mut BTreeMap<ObjectKey, Written>) -> Option<Instant> {
    let entries = board.list(Kind::AlertRule);
    let (mut due, mut next) = (Vec::new(), None::<Instant>);
    for Entry { object, status } in &entries {
        let (Some(status), key) = (status, object.key()) else { continue };
        match written.get(&key).and_then(|before| due_at(before, status)) {
            Some(later) if later > Instant::now() => next = Some(next.map_or(later, |next| next.min(later))),
            None if written.contains_key(&key) => {}
            _ => due.push((key, status.clone())),
        }
    }
    let keys: std::collections::BTreeSet<ObjectKey> = entries.iter().map(|entry| entry.object.key()).collect();
    written.retain(|key, _| keys.contains(key));
    let mut writing = FuturesUnordered::new();
    let mut due = due.into_iter();
    loop {
        while writing.len() < AT_ONCE
            && let Some((key, status)) = due.next()
        {
            writing.push(async move { (patch(api, &key.name, &status).await, key, status) });
        }
        let Some((outcome, key, status)) = writing.next().await else { break };
        let failed = match outcome {
            Ok(_) => false,
            // Deleted meanwhile: the board will know soon.
            Err(kube::Error::Api(answer)) if answer.code == 404 => false,
            Err(error) => {
                tracing::warn!(rule = %key, "could not write status, trying again: {error}");
                let again = Instant::now() + TRY_AGAIN;
                next = Some(next.map_or(again, |next| next.min(again)));
                true
            }
        };
        written.insert(key, Written { status, at: Instant::now(), failed });
    }
    next
}

async fn patch(api: &Api<AlertRule>, name: &str, status: &Value) -> kube::Result<AlertRule> {
    let body = json!({
        "apiVersion": "taffrail.dev/v1alpha1", "kind": "AlertRule", "metadata": {"name": name}, "status": status,
    });
    api.patch_status(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(body)).await
}

/// When a status must be written, given what was written last; never if it says nothing new.
fn due_at(before: &Written, status: &Value) -> Option<Instant> {
    if before.failed {
        Some(before.at + TRY_AGAIN)
    } else if essence(&before.status) != essence(status) {
        Some(before.at)
    } else if without_time(&before.status) != without_time(status) {
        Some(before.at + VALUES_EVERY)
    } else {
        None
    }
}

/// What people act on.
fn essence(status: &Value) -> Value {
    let mut status = without_time(status);
    if let Some(status) = status.as_object_mut() {
        status.remove("value");
        for alert in status.get_mut("alerts").and_then(Value::as_array_mut).into_iter().flatten() {
            // Texts may quote the value.
            alert.as_object_mut().map(|alert| (alert.remove("value"), alert.remove("annotations")));
        }
    }
    status
}

fn without_time(status: &Value) -> Value {
    let mut status = status.clone();
    if let Some(status) = status.as_object_mut() {
        status.remove("lastEvaluation");
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_written_at_once_values_later_and_times_never() {
        let status = json!({"state": "Inactive", "value": 1.0, "lastEvaluation": "a", "alerts": [{"value": 1.0, "state": "Pending"}]});
        let at = Instant::now();
        let before = Written { status: status.clone(), at, failed: false };
        let with = |name: &str, value: Value| {
            let mut status = status.clone();
            *status.pointer_mut(name).expect("field") = value;
            status
        };
        assert_eq!(due_at(&before, &status), None);
        assert_eq!(due_at(&before, &with("/lastEvaluation", "b".into())), None);
        assert_eq!(due_at(&before, &with("/value", 2.into())), Some(at + VALUES_EVERY));
        assert_eq!(due_at(&before, &with("/alerts/0/value", 2.into())), Some(at + VALUES_EVERY));
        assert_eq!(due_at(&before, &with("/state", "Firing".into())), Some(at));
        assert_eq!(due_at(&before, &with("/alerts/0/state", "Firing".into())), Some(at));
        let failed = Written { failed: true, ..before };
        assert_eq!(due_at(&failed, &status), Some(at + TRY_AGAIN));
    }
}
