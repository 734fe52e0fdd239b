//! Elasticsearch's bulk interface, as far as log shippers use it.
//!
//! `index` and `create` are taken; both keep a document once per `_id`. Whatever index a client names, the pipeline
//! decides where logs go.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use taffrail_logstore::limits::MAX_ID_BYTES;

use super::elastic::PRODUCT;
use super::refusal::Refusal;
use super::{MAX_RECORDS, Shared, body};
use crate::record::Fate;
use crate::source::lines::Lines;

pub(super) async fn take(State(shared): State<Shared>, request: Request<Body>) -> Result<Response, Refusal> {
    answer(shared, None, request).await
}

pub(super) async fn take_into(
    State(shared): State<Shared>,
    Path(index): Path<String>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    answer(shared, Some(index), request).await
}

async fn answer(shared: Shared, index: Option<String>, request: Request<Body>) -> Result<Response, Refusal> {
    let start = std::time::Instant::now();
    let (body, _room) = body::read(&shared.room, request).await?;
    let actions = match read(&body) {
        Ok(actions) if actions.len() > MAX_RECORDS => return Err(Refusal::TooMany),
        Ok(actions) => actions,
        Err(reason) => {
            let error = json!({"type": "illegal_argument_exception", "reason": reason});
            let body =
                json!({"error": {"root_cause": [error], "type": error["type"], "reason": reason}, "status": 400});
            return Ok((axum::http::StatusCode::BAD_REQUEST, [PRODUCT], axum::Json(body)).into_response());
        }
    };
    let logs = actions.iter().filter(|action| action.fault.is_none());
    let logs = logs.map(|action| (action.id.clone(), action.source.clone())).collect();
    let mut fates = shared.hand_over(logs).await?.into_iter();
    let mut has_errors = false;
    let mut items = Vec::with_capacity(actions.len());
    for action in &actions {
        let name = action.index.as_deref().or(index.as_deref()).unwrap_or("logs");
        let (id, fate) = match if action.fault.is_none() { fates.next() } else { None } {
            Some((id, fate)) => (Some(id), Some(fate)),
            None => (action.id.clone(), None),
        };
        let mut item = json!({"_index": name, "_id": id});
        let (status, result) = match (&action.fault, fate) {
            (Some(fault), _) => {
                item["error"] = json!({"type": "illegal_argument_exception", "reason": fault});
                (400, None)
            }
            (None, Some(Fate::Duplicate)) if action.operation == "create" => {
                item["error"] = json!({
                    "type": "version_conflict_engine_exception",
                    "reason": "document already exists",
                });
                (409, None)
            }
            (None, Some(Fate::Duplicate)) => (200, Some("noop")),
            (None, Some(Fate::DeadLetter { reason, .. })) => {
                // Taken for good: to send it again would change nothing.
                item["dead_letter"] = json!({"reason": reason});
                (201, Some("created"))
            }
            (None, _) => (201, Some("created")),
        };
        item["status"] = Value::from(status);
        has_errors |= result.is_none();
        if let Some(result) = result {
            item["result"] = Value::from(result);
            item["_version"] = Value::from(1);
        }
        items.push(json!({ action.operation: item }));
    }
    let took = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let body = json!({"took": took, "errors": has_errors, "items": items});
    Ok(([PRODUCT], axum::Json(body)).into_response())
}

/// One action of a bulk request.
#[derive(Debug, PartialEq)]
struct Action {
    operation: &'static str,
    index: Option<String>,
    id: Option<String>,
    source: Bytes,
    /// Why it can't be done.
    fault: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Index(Target),
    Create(Target),
    Update(Target),
    Delete(Target),
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "_index")]
    index: Option<String>,
    #[serde(rename = "_id")]
    id: Option<String>,
}

/// Reads a bulk body.
///
/// # Errors
/// Where it is no bulk body at all: then nothing of it is taken, as Elasticsearch does it.
fn read(body: &Bytes) -> Result<Vec<Action>, String> {
    let mut lines = Lines::default();
    lines.push(body);
    let mut actions = Vec::new();
    let mut number = 0;
    loop {
        let mut next = || lines.next().or_else(|| lines.rest()).map(|line| line.bytes);
        let Some(line) = next().filter(|_| actions.len() <= MAX_RECORDS) else { break };
        number += 1;
        let action: Line = serde_json::from_slice(&line)
            .map_err(|error| format!("malformed action/metadata in line [{number}]: {error}"))?;
        let unsupported = Some("only [index] and [create] are taken".to_owned());
        let (operation, target, has_source, mut fault) = match action {
            Line::Index(target) => ("index", target, true, None),
            Line::Create(target) => ("create", target, true, None),
            Line::Update(target) => ("update", target, true, unsupported),
            Line::Delete(target) => ("delete", target, false, unsupported),
        };
        let source = if has_source {
            number += 1;
            next().ok_or_else(|| format!("the action in line [{}] has no document behind it", number - 1))?
        } else {
            Bytes::new()
        };
        if target.id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_ID_BYTES) {
            fault = fault.or_else(|| Some(format!("an _id has 1 to {MAX_ID_BYTES} bytes")));
        }
        actions.push(Action { operation, index: target.index, id: target.id, source, fault });
    }
    if actions.is_empty() { Err("request body is required".to_owned()) } else { Ok(actions) }
}

/// What must hold of a bulk body, for checks.
#[cfg(any(test, fuzzing))]
pub(super) fn check(body: &Bytes) {
    let Ok(actions) = read(body) else { return };
    assert!(!actions.is_empty());
    for Action { source, fault, id, .. } in &actions {
        assert!(!source.contains(&b'\n'), "a document is a line");
        assert!(fault.is_some() || id.as_ref().is_none_or(|id| (1..=MAX_ID_BYTES).contains(&id.len())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_come_with_their_documents() {
        let body = concat!(
            "{\"index\":{\"_index\":\"a\",\"_id\":\"1\"}}\n{\"message\":\"one\"}\n",
            "{\"create\":{}}\n{\"message\":\"two\"}\n",
            "{\"delete\":{\"_id\":\"1\"}}\n",
            "{\"update\":{\"_id\":\"1\"}}\n{\"doc\":{}}\n",
            "{\"index\":{\"_id\":\"\"}}\n{\"message\":\"three\"}",
        );
        let actions = read(&Bytes::from_static(body.as_bytes())).expect("bulk");
        let seen: Vec<_> = actions
            .iter()
            .map(|action| {
                let source = std::str::from_utf8(&action.source).expect("text");
                (action.operation, action.id.as_deref(), source, action.fault.is_some())
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("index", Some("1"), "{\"message\":\"one\"}", false),
                ("create", None, "{\"message\":\"two\"}", false),
                ("delete", Some("1"), "", true),
                ("update", Some("1"), "{\"doc\":{}}", true),
                ("index", Some(""), "{\"message\":\"three\"}", true),
            ]
        );
    }

    #[test]
    fn what_is_no_bulk_is_refused_with_the_line() {
        for (body, expected) in [
            ("", "body is required"),
            ("{\"message\":\"one\"}\n", "line [1]"),
            ("{\"index\":{}}\n{}\n{\"index\":{}}\n", "line [3] has no document"),
        ] {
            let error = read(&Bytes::from_static(body.as_bytes())).expect_err(body);
            assert!(error.contains(expected), "{error}");
        }
    }
}
