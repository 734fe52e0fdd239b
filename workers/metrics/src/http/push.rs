//! `POST /api/v1/metrics`: samples as JSON, one object, an array, or one object after the other (NDJSON).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use taffrail_query::Labels;

use super::App;
use super::params::{ApiError, from_number, parse_time};
use crate::model::{Delta, DeltaBatch, Kind, Pushed};

pub(super) async fn push(State(app): State<App>, body: Bytes) -> Result<(StatusCode, Json<Value>), ApiError> {
    let store = app.store.clone();
    let work = move || {
        let objects = parse(&body)?;
        let now = store.now();
        let mut rejected: Vec<(usize, String)> = Vec::new();
        // Where each sample that is pushed was in the request.
        let mut places = Vec::with_capacity(objects.len());
        let mut samples = Vec::with_capacity(objects.len());
        let mut wrong = 0;
        for (place, object) in objects.into_iter().enumerate() {
            let known = |metric: &str| store.core().index.read().kind(metric);
            match sample(object, now, known) {
                Ok(sample) => {
                    places.push(place);
                    samples.push(sample);
                }
                Err(reason) => {
                    wrong += 1;
                    if rejected.len() < Pushed::MAX_REASONS {
                        rejected.push((place, reason));
                    }
                }
            }
        }
        let pushed = store.push(&DeltaBatch { origin: None, samples }).map_err(|error| {
            tracing::error!(%error, "could not store pushed metrics");
            ApiError::internal(error.to_string())
        })?;
        rejected.extend(pushed.reasons.iter().map(|(index, reason)| (places[*index], reason.to_string())));
        rejected.sort_by_key(|(place, _)| *place);
        rejected.truncate(Pushed::MAX_REASONS);
        Ok((pushed.accepted, wrong + pushed.refused, rejected))
    };
    let done = tokio::task::spawn_blocking(work).await;
    let (accepted, total, rejected) =
        done.unwrap_or_else(|error| Err(ApiError::internal(format!("storing the samples broke off: {error}"))))?;
    let rejected: Vec<Value> =
        rejected.into_iter().map(|(index, reason)| json!({"index": index, "reason": reason})).collect();
    let status = if accepted == 0 && total > 0 { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    Ok((status, Json(json!({"accepted": accepted, "rejected": rejected, "rejectedTotal": total}))))
}

/// The values in a body: those of an array, or one after the other.
fn parse(body: &[u8]) -> Result<Vec<Value>, ApiError> {
    let problem = |error: serde_json::Error| {
        ApiError::bad(format!("the body is not JSON at line {}, column {}: {error}", error.line(), error.column()))
    };
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let values = match first {
        None => return Err(ApiError::bad("the body is empty: send a JSON object, an array of them, or NDJSON")),
        Some(b'[') => serde_json::from_slice(body).map_err(problem)?,
        Some(_) => {
            serde_json::Deserializer::from_slice(body).into_iter().collect::<Result<Vec<_>, _>>().map_err(problem)?
        }
    };
    Ok(values)
}

/// What must hold of a body, for checks.
#[cfg(any(test, fuzzing))]
pub(crate) fn check(body: &[u8]) {
    for value in parse(body).unwrap_or_default() {
        if let Ok(sample) = sample(value, 0, |_| None) {
            assert!(sample.value.is_finite(), "JSON has no other numbers");
        }
    }
}

/// A sample from its JSON. Without a type it is of the metric's, or a gauge; without a time of now.
fn sample(value: Value, now: i64, known: impl Fn(&str) -> Option<Kind>) -> Result<Delta, String> {
    let Value::Object(mut object) = value else {
        return Err("expected an object with name and value".to_owned());
    };
    let metric = match object.remove("name") {
        Some(Value::String(name)) => name,
        Some(_) => return Err("`name` must be a string".to_owned()),
        None => return Err("`name` is missing".to_owned()),
    };
    let value = match object.remove("value") {
        Some(Value::Number(number)) => number.as_f64().ok_or("`value` is beyond all numbers")?,
        Some(_) => return Err("`value` must be a number".to_owned()),
        None => return Err("`value` is missing".to_owned()),
    };
    let timestamp_ms = timestamp(object.remove("timestamp"), now)?;
    let kind = match object.remove("type") {
        None | Some(Value::Null) => known(&metric).unwrap_or(Kind::Gauge),
        Some(Value::String(text)) if text == "counter" => Kind::Counter,
        Some(Value::String(text)) if text == "gauge" => Kind::Gauge,
        Some(Value::String(text)) if text == "histogram" => Kind::Histogram,
        Some(_) => return Err("`type` must be counter, gauge or histogram".to_owned()),
    };
    let labels = match object.remove("labels") {
        None | Some(Value::Null) => Labels::new(),
        Some(Value::Object(labels)) => labels_from(labels)?,
        Some(_) => return Err("`labels` must be an object".to_owned()),
    };
    match object.keys().next() {
        Some(key) => Err(format!("`{key}` is not known: write name, value, timestamp, labels and type")),
        None => Ok(Delta { metric: metric.into(), kind, labels: Arc::new(labels), timestamp_ms, value }),
    }
}

fn timestamp(value: Option<Value>, now: i64) -> Result<i64, String> {
    match value {
        None | Some(Value::Null) => Ok(now),
        Some(Value::Number(number)) => number
            .as_f64()
            .and_then(from_number)
            .ok_or_else(|| format!("`timestamp` {number} is no time: write Unix seconds or milliseconds, or RFC 3339")),
        Some(Value::String(text)) => parse_time(&text).map_err(|problem| format!("`timestamp` {problem}")),
        Some(_) => Err("`timestamp` must be a number or a string".to_owned()),
    }
}

fn labels_from(labels: Map<String, Value>) -> Result<Labels, String> {
    let text = |(name, value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(number) => Ok((name, number.to_string())),
        Value::Bool(yes) => Ok((name, yes.to_string())),
        Value::Null => Ok((name, String::new())),
        Value::Array(_) | Value::Object(_) => Err(format!("the label `{name}` must be a string")),
    };
    labels.into_iter().map(text).collect()
}
