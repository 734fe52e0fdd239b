//! `/api/v1/pipelines/<namespace>/<name>/dead-letters`: what a pipeline could not read or store, and sending it again.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use taffrail_logstore::limits::MAX_LETTERS;
use taffrail_logstore::{DeadLetter, DeadLetters, LetterFilter, LetterGroup, LetterHead, LetterRequest};
use taffrail_runtime::redrive::{Group, Order, Redrive, RedriveError, Report};
use taffrail_runtime::{Kind, ObjectKey};
use utoipa::ToSchema;

use crate::Shared;
use crate::error::{ApiError, ErrorBody};
use crate::params::{Params, parse_time};

/// Where the dead letters of each pipeline are; none for one whose letters nobody knows where to find.
pub type Letters = Arc<dyn Fn(&ObjectKey) -> Option<Arc<dyn DeadLetters>> + Send + Sync>;

/// Who sends dead letters again.
pub type Redriving = Arc<dyn Redrive>;

const KNOWN: &str = "reason, status, from, to, limit, cursor, id";

fn pipeline(shared: &Shared, (namespace, name): (String, String)) -> Result<ObjectKey, ApiError> {
    let key = ObjectKey { kind: Kind::LogPipeline, namespace, name };
    match shared.board.get(&key) {
        Some(_) => Ok(key),
        None => Err(ApiError::not_found(format!("there is no pipeline {}/{}", key.namespace, key.name))),
    }
}

fn letters_of(shared: &Shared, key: &ObjectKey) -> Result<Arc<dyn DeadLetters>, ApiError> {
    let unknown = || {
        let message = "the pipeline's dead letters can't be found: see what is wrong with it under /api/v1/pipelines";
        ApiError::unavailable(message.to_owned())
    };
    (shared.letters)(key).ok_or_else(unknown)
}

fn full_name(key: &ObjectKey) -> String {
    format!("{}/{}", key.namespace, key.name)
}

fn rfc3339(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map(|time| time.to_string()).unwrap_or_default()
}

fn head(letter: &LetterHead) -> Value {
    let from = &letter.provenance;
    json!({
        "id": letter.id,
        "reason": letter.reason,
        "status": letter.status,
        "topic": from.topic,
        "partition": from.partition,
        "offset": from.offset,
        "timestamp": rfc3339(from.timestamp),
        "pipeline": from.pipeline,
        "generation": from.generation,
        "size": letter.size,
    })
}

fn whole(letter: &DeadLetter) -> Value {
    let mut value = head(&LetterHead::of(letter));
    match std::str::from_utf8(&letter.original) {
        Ok(text) => value["original"] = text.into(),
        Err(_) => value["originalBase64"] = BASE64.encode(&letter.original).into(),
    }
    value
}

fn reasons(groups: &[LetterGroup]) -> Vec<Value> {
    let reason = |group: &LetterGroup| json!({"reason": group.cause, "status": group.status, "count": group.count});
    groups.iter().map(reason).collect()
}

/// List dead letters of a pipeline.
///
/// Newest first, without the records themselves; with `id` one letter, and its record. `reasons` counts all that match
/// by kind: quoted texts are `…` and whole numbers `#`, so that what differs from record to record makes no kinds.
#[utoipa::path(get, path = "/api/v1/pipelines/{namespace}/{name}/dead-letters", tag = "pipelines",
    params(
        ("namespace" = String, Path, description = "The pipeline's namespace"),
        ("name" = String, Path, description = "The pipeline's name"),
        ("reason" = Option<String>, Query, description = "A part of the reason, as `reasons` has it or as a letter has it"),
        ("status" = Option<u16>, Query, description = "The store's status; 0 for records that could not be read"),
        ("from" = Option<String>, Query, description = "Not taken from the source before this time: Unix seconds or milliseconds, or RFC 3339"),
        ("to" = Option<String>, Query, description = "Taken from the source before this time"),
        ("limit" = Option<usize>, Query, description = "At most so many, 100 unless given, at most 1000"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
        ("id" = Option<String>, Query, description = "This letter, with its record"),
    ),
    responses(
        (status = 200, description = "`{\"letters\": [{id, reason, status, topic, partition, offset, timestamp, pipeline, generation, size, original | originalBase64}], \"total\": n, \"reasons\": [{reason, status, count}], \"cursor\": …}`"),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn list(
    State(shared): State<Shared>,
    Path(path): Path<(String, String)>,
    mut params: Params,
) -> Result<Json<Value>, ApiError> {
    let key = pipeline(&shared, path)?;
    let id = params.text("id");
    let status = params.text("status").map(|text| {
        text.parse().map_err(|_| ApiError::parameter("status", format!("`{text}` is no status, such as 400, or 0")))
    });
    let filter = LetterFilter { reason: params.text("reason"), status: status.transpose()?, span: params.span()? };
    let limit = params.count("limit", 100, MAX_LETTERS)?;
    let cursor = params.text("cursor");
    params.finish(KNOWN)?;
    let letters = letters_of(&shared, &key)?;
    if let Some(id) = id {
        let found = letters.whole_dead_letters(&full_name(&key), std::slice::from_ref(&id)).await?;
        let letter = found.first().ok_or_else(|| {
            ApiError::not_found(format!("there is no dead letter `{id}`; it may have been sent again meanwhile"))
        })?;
        return Ok(Json(json!({"letters": [whole(letter)], "total": 1})));
    }
    let page = letters.dead_letters(&LetterRequest { pipeline: full_name(&key), filter, limit, cursor }).await?;
    Ok(Json(json!({
        "letters": page.letters.iter().map(head).collect::<Vec<_>>(),
        "total": page.total,
        "reasons": reasons(&page.groups),
        "cursor": page.cursor,
    })))
}

/// Which dead letters to send again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RedriveBody {
    /// A part of their reason.
    #[serde(default)]
    reason: Option<String>,
    /// The store's status for them; 0 for records that could not be read.
    #[serde(default)]
    status: Option<u16>,
    /// Not taken from the source before this time: Unix seconds or milliseconds, or RFC 3339.
    #[serde(default)]
    from: Option<Value>,
    /// Taken from the source before this time.
    #[serde(default)]
    to: Option<Value>,
    /// This one alone.
    #[serde(default)]
    id: Option<String>,
    /// Only say which would be sent.
    #[serde(default)]
    dry_run: bool,
    /// Where the answer before said to go on.
    #[serde(default)]
    cursor: Option<String>,
}

/// What became of dead letters that were sent again; of a dry run, which would be.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RedriveAnswer {
    dry_run: bool,
    /// Of a dry run: how many would be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<u64>,
    /// Of a dry run: those by kind, the most frequent first.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<Reason>>,
    #[serde(flatten)]
    outcome: Option<Outcome>,
    /// Where to go on; null when all that matched were sent.
    cursor: Option<String>,
}

/// What became of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    /// They are stored now, and their letters gone.
    indexed: u64,
    /// They were stored before; their letters are gone now.
    duplicate: u64,
    /// The transform drops them; their letters are gone.
    filtered: u64,
    /// They are dead letters still, with their new reasons.
    refused: u64,
    /// Those by kind.
    refusals: Vec<Reason>,
    /// What becomes of them is not known yet. Their letters stay until they are sent once more.
    unsettled: u64,
}

/// Dead letters of one kind.
#[derive(Debug, Serialize, ToSchema)]
struct Reason {
    reason: String,
    status: u16,
    count: u64,
}

fn time(name: &str, value: Option<Value>) -> Result<Option<i64>, ApiError> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    parse_time(&text).map(Some).map_err(|problem| ApiError::parameter(name, problem))
}

/// Send dead letters of a pipeline again.
///
/// Through the pipeline as it is now. Each record keeps its id, so that it is stored once. One request sends as many as
/// there is time for: repeat it with the `cursor` of the answer until that is null.
#[utoipa::path(post, path = "/api/v1/pipelines/{namespace}/{name}/dead-letters/redrive", tag = "pipelines",
    params(
        ("namespace" = String, Path, description = "The pipeline's namespace"),
        ("name" = String, Path, description = "The pipeline's name"),
    ),
    request_body = RedriveBody,
    responses(
        (status = 200, body = RedriveAnswer), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "Dead letters of this pipeline are being sent again already"),
        (status = 503, body = ErrorBody)))]
pub(crate) async fn redrive(
    State(shared): State<Shared>,
    Path(path): Path<(String, String)>,
    body: Result<Json<RedriveBody>, JsonRejection>,
) -> Result<Json<RedriveAnswer>, ApiError> {
    let key = pipeline(&shared, path)?;
    let Json(body) = body.map_err(|rejection| ApiError::body(rejection.status(), rejection.body_text()))?;
    let (from, to) = (time("from", body.from)?, time("to", body.to)?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(ApiError::parameter("from", "is after `to`; swap them"));
    }
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (reason, id, cursor) = (given(body.reason), given(body.id), given(body.cursor));
    if body.dry_run {
        let letters = letters_of(&shared, &key)?;
        let (matched, groups) = if let Some(id) = id {
            let found = letters.whole_dead_letters(&full_name(&key), &[id]).await?;
            let group = |letter: &DeadLetter| LetterGroup {
                cause: taffrail_logstore::cause(&letter.reason),
                status: letter.status,
                count: 1,
            };
            (found.len() as u64, found.iter().map(group).collect())
        } else {
            let span = taffrail_logstore::TimeSpan { from, to };
            let filter = LetterFilter { reason, status: body.status, span };
            let request = LetterRequest { pipeline: full_name(&key), filter, limit: 1, cursor: None };
            let page = letters.dead_letters(&request).await?;
            (page.total, page.groups)
        };
        let reason = |LetterGroup { cause, status, count }| Reason { reason: cause, status, count };
        let reasons = Some(groups.into_iter().map(reason).collect());
        return Ok(Json(RedriveAnswer { dry_run: true, matched: Some(matched), reasons, outcome: None, cursor: None }));
    }
    // One at a time, whichever worker the pipeline's Service chooses.
    if !shared.redriving.lock().insert(key.clone()) {
        return Err(RedriveError::Busy.into());
    }
    let order = Order {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        reason,
        status: body.status,
        from,
        to,
        id,
        cursor,
    };
    // On its own: an order whose sender hangs up is carried out all the same, and keeps its place.
    let sending = tokio::spawn(async move {
        let result = shared.redrive.redrive(order).await;
        shared.redriving.lock().remove(&key);
        result
    });
    let report = sending.await.map_err(|error| ApiError::unavailable(format!("sending broke off: {error}")))??;
    let Report { indexed, duplicate, filtered, refused, refusals, unsettled, cursor } = report;
    let reason = |Group { reason, status, count }| Reason { reason, status, count };
    let refusals = refusals.into_iter().map(reason).collect();
    let outcome = Some(Outcome { indexed, duplicate, filtered, refused, refusals, unsettled });
    Ok(Json(RedriveAnswer { dry_run: false, matched: None, reasons: None, outcome, cursor }))
}
