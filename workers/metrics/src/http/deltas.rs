//! `/api/v1/deltas`: metrics that ingestion workers derive from logs, counted once however often they are sent.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use taffrail_runtime::deltas::{Counted, Message, Series};

use super::App;
use super::params::{ApiError, Params, success};
use crate::error::StoreError;
use crate::model::{Delta, DeltaBatch};

pub(super) async fn counted(State(app): State<App>, params: Params) -> Result<Json<Counted>, ApiError> {
    Ok(Json(Counted { counted: app.store.counted(params.required("source")?) }))
}

pub(super) async fn push(State(app): State<App>, body: Bytes) -> Result<Response, ApiError> {
    let store = app.store;
    let work = move || {
        let message = serde_json::from_slice(&body).map_err(|error| ApiError::bad(format!("no deltas: {error}")))?;
        let pushed = match store.push(&batch(message)?) {
            Ok(pushed) => pushed,
            Err(StoreError::Overlap { counted, .. }) => {
                let counted = Json(Counted { counted: Some(counted) });
                return Ok((StatusCode::CONFLICT, counted).into_response());
            }
            Err(StoreError::Invalid(message)) => return Err(ApiError::bad(message)),
            Err(other) => return Err(ApiError::internal(other.to_string())),
        };
        if let Some((_, reason)) = pushed.reasons.first() {
            tracing::warn!(refused = pushed.refused, %reason, "refused samples derived from logs");
        }
        Ok(success(Value::Null).into_response())
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ApiError::internal(format!("storing the samples broke off: {error}"))))
}

/// How many samples a message has, if it is one that can be counted; for checks.
#[cfg(any(test, fuzzing))]
pub(crate) fn read(message: Message) -> Option<usize> {
    batch(message).ok().map(|batch| batch.samples.len())
}

fn batch(Message { origin, series }: Message) -> Result<DeltaBatch, ApiError> {
    let mut samples = Vec::with_capacity(series.iter().map(|changes| changes.times.len()).sum());
    for changes in &series {
        let Series { metric, kind, labels } = &changes.series;
        let unfit = || ApiError::bad(format!("a series of {metric} has more or fewer values than times"));
        samples.extend(changes.samples().ok_or_else(unfit)?.map(|(timestamp_ms, value)| Delta {
            metric: metric.clone(),
            kind: (*kind).into(),
            labels: Arc::clone(labels),
            timestamp_ms,
            value,
        }));
    }
    Ok(DeltaBatch { origin, samples })
}
