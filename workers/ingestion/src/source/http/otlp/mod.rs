//! OTLP logs: `POST /v1/logs` in Protocol Buffers or JSON, and over gRPC ([`grpc`]).
//!
//! Answers are those of the OTLP specification. Records that went to the dead letters are told as rejected by a partial
//! success: to send them again would change nothing. What may be sent again later is 429 or 503 with `Retry-After`
//! (gRPC: `UNAVAILABLE` with a delay).

pub(super) mod grpc;
pub(super) mod json;
pub(super) mod protobuf;
mod record;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::refusal::Refusal;
use super::{Shared, body, wire};
use crate::record::Fate;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// `POST /v1/logs`.
pub(super) async fn take(State(shared): State<Shared>, request: Request<Body>) -> Response {
    let is_json = match super::media_type(&request).as_deref() {
        Some(JSON) => true,
        Some(PROTOBUF) => false,
        other => return Refusal::Type(other.unwrap_or_default().to_owned()).into_response(),
    };
    let taken = async {
        let (body, room) = body::read(&shared.room, request).await?;
        let read = if is_json { json::read } else { protobuf::read };
        shared.translate_and_hand_over(body, room, read).await
    };
    match taken.await {
        Ok(fates) => {
            let (rejected, message) = rejected(&fates);
            if is_json {
                let partial = json!({"rejectedLogRecords": rejected.to_string(), "errorMessage": message});
                let answer = if rejected == 0 { json!({}) } else { json!({"partialSuccess": partial}) };
                axum::Json(answer).into_response()
            } else {
                ([(header::CONTENT_TYPE, PROTOBUF)], success(rejected, &message)).into_response()
            }
        }
        Err(refusal) => {
            let mut response = if is_json {
                let body = json!({"code": grpc::code(&refusal), "message": refusal.to_string()});
                (refusal.status(), axum::Json(body)).into_response()
            } else {
                let status = grpc::status(&refusal);
                (refusal.status(), [(header::CONTENT_TYPE, PROTOBUF)], status).into_response()
            };
            refusal.when_to_come_back(&mut response);
            response
        }
    }
}

/// How many records went to the dead letters, and why the first did.
fn rejected(fates: &[(String, Fate)]) -> (u64, String) {
    let mut reasons = fates.iter().filter_map(|(_, fate)| match fate {
        Fate::DeadLetter { reason, .. } => Some(reason),
        _ => None,
    });
    let Some(first) = reasons.next() else { return (0, String::new()) };
    let count = reasons.count() as u64 + 1;
    (count, format!("{count} of {} went to the dead letters; the first because: {first}", fates.len()))
}

/// An `ExportLogsServiceResponse`.
fn success(rejected: u64, message: &str) -> Vec<u8> {
    let mut response = Vec::new();
    if rejected > 0 {
        let mut partial = Vec::new();
        wire::put_number(&mut partial, 1, rejected);
        wire::put_bytes(&mut partial, 2, message.as_bytes());
        wire::put_bytes(&mut response, 1, &partial);
    }
    response
}

#[cfg(test)]
pub(super) mod tests;
