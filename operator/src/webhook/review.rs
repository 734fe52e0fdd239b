//! What the API server asks, and what it is answered.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use taffrail_crds::Object;

use super::Findings;

/// How many problems are told, and how many warnings.
const MOST: usize = 10;

/// The version of the review that is spoken here.
const API_VERSION: &str = "admission.k8s.io/v1";

/// An `AdmissionReview`, as far as it matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    request: Request,
}

/// What the API server asks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    uid: String,
    kind: GroupKind,
    operation: String,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    object: Value,
    #[serde(default)]
    old_object: Value,
}

#[derive(Deserialize)]
struct GroupKind {
    group: String,
    kind: String,
}

/// What there is to do about a request.
pub(super) enum Task {
    /// It is answered already.
    Answer(Findings),
    /// An object is to be looked at.
    Check(Object),
}

impl Request {
    /// Reads what the API server has sent.
    ///
    /// # Errors
    /// When it is nothing that can be answered.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let review: Review =
            serde_json::from_slice(body).map_err(|error| format!("not an AdmissionReview: {error}"))?;
        if review.api_version == API_VERSION {
            Ok(review.request)
        } else {
            Err(format!("expected an AdmissionReview of {API_VERSION}, found {}", review.api_version))
        }
    }

    /// What there is to do. Whoever leaves the spec alone, or deletes, is not told what was wrong before.
    pub(super) fn task(&mut self) -> Task {
        let is_kept = match self.operation.as_str() {
            "CREATE" => false,
            "UPDATE" => self.object["spec"] == self.old_object["spec"],
            _ => true,
        };
        let goes = !self.object["metadata"]["deletionTimestamp"].is_null();
        if is_kept || goes || !self.sub_resource.is_empty() || self.kind.group != taffrail_crds::GROUP {
            return Task::Answer(Findings::default());
        }
        let mut object = self.object.take();
        // That of a version before ours may be one that we can't read.
        object.as_object_mut().and_then(|object| object.remove("status"));
        let read = match self.kind.kind.as_str() {
            "LogPipeline" => read(object).map(Object::LogPipeline),
            "AlertRule" => read(object).map(Object::AlertRule),
            "Dashboard" => read(object).map(Object::Dashboard),
            _ => return Task::Answer(Findings::default()),
        };
        match read {
            Ok(object) => Task::Check(object),
            Err(problem) => Task::Answer(Findings { problems: vec![problem], warnings: Vec::new() }),
        }
    }

    /// The answer for the API server.
    pub(super) fn answer(&self, findings: Findings) -> Value {
        let Findings { problems, warnings } = findings;
        let mut response = json!({"uid": self.uid, "allowed": problems.is_empty()});
        if !warnings.is_empty() {
            response["warnings"] = json!(few(warnings));
        }
        if !problems.is_empty() {
            let message = few(problems).join("; ");
            response["status"] = json!({"code": 422, "reason": "Invalid", "message": message});
        }
        json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})
    }
}

fn read<K: DeserializeOwned>(object: Value) -> Result<Arc<K>, String> {
    serde_json::from_value(object).map(Arc::new).map_err(|error| format!("can't be read: {error}"))
}

/// The first of many, and how many more there are.
fn few(mut all: Vec<String>) -> Vec<String> {
    let more = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all
}

#[cfg(test)]
mod tests;
