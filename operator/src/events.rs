//! Events: what people see under `kubectl describe` when something has turned for the better or the worse.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::FIELD_MANAGER;
use crate::status::{READY, turned};

/// How long the API server may take for an Event.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the API server takes as an Event's note.
const LONGEST_NOTE: usize = 1_000;

/// Tells of turns.
pub(crate) struct Events {
    recorder: Recorder,
}

impl Events {
    pub(crate) fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Tells of what has turned between two lists of conditions. An Event that can't be written is not worth a retry.
    pub(crate) async fn tell(&self, of: &ObjectReference, before: &[Condition], after: &[Condition]) {
        for condition in turned(before, after) {
            let is_good = (condition.type_ == READY) == (condition.status == "True");
            let note: String = condition.message.chars().take(LONGEST_NOTE).collect();
            let event = Event {
                type_: if is_good { EventType::Normal } else { EventType::Warning },
                reason: condition.reason.clone(),
                note: Some(note),
                action: format!("{}{}", condition.type_, condition.status),
                secondary: None,
            };
            match tokio::time::timeout(PATIENCE, self.recorder.publish(&event, of)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "could not write an event"),
                Err(_) => tracing::debug!("could not write an event: the API server did not answer in time"),
            }
        }
    }
}
