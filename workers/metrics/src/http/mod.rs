//! The metrics worker's HTTP interface: `POST /api/v1/metrics`, `/metrics`, health, and the Prometheus HTTP API with
//! queries in the short form.

mod api;
mod deltas;
mod exposition;
mod params;
mod push;
mod query;
mod selector;
mod text;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use taffrail_runtime::{Telemetry, VERSION};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;

#[cfg(any(test, fuzzing))]
pub(crate) use self::{deltas::read as read_deltas, push::check as check_pushed};
use crate::Store;

/// Bytes of a request's body, at most, after decompression.
const MAX_BODY_BYTES: usize = 16 << 20;

#[derive(Clone)]
struct App {
    store: Store,
    telemetry: Telemetry,
}

/// The metrics worker's HTTP interface over a store. `telemetry` is what `/metrics` shows beside the store's series.
///
/// `/api/v1/query` and `query_range` answer in Prometheus' shape; `query` is in the short form, `window` (such as `5m`,
/// the default) is what its function looks back over. Times are Unix seconds, milliseconds or RFC 3339.
pub fn router(store: Store, telemetry: Telemetry) -> Router {
    let app = App { store, telemetry };
    Router::new()
        .route("/api/health", get(health))
        .route("/-/healthy", get(|| async { "Taffrail's metrics worker is healthy.\n" }))
        .route("/-/ready", get(ready))
        .route("/metrics", get(exposition::metrics))
        .route("/api/v1/metrics", post(push::push))
        .route(taffrail_runtime::deltas::PATH, get(deltas::counted).post(deltas::push))
        .route("/api/v1/query", get(query::instant).post(query::instant))
        .route("/api/v1/query_range", get(query::range).post(query::range))
        .route("/api/v1/labels", get(api::labels).post(api::labels))
        .route("/api/v1/label/{name}/values", get(api::label_values))
        .route("/api/v1/series", get(api::series).post(api::series))
        .route("/api/v1/metadata", get(api::metadata))
        .route("/api/v1/status/buildinfo", get(api::build_info))
        .route("/api/v1/status/tsdb", get(api::store_status))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(RequestDecompressionLayer::new())
        .layer(CompressionLayer::new())
        .with_state(app)
}

async fn health(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let timestamp = app.store.now() / 1000;
    match app.store.check() {
        Ok(()) => (StatusCode::OK, Json(json!({"status": "healthy", "timestamp": timestamp, "version": VERSION}))),
        Err(error) => {
            let body = json!({"status": "unhealthy", "timestamp": timestamp, "version": VERSION, "error": error});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}

async fn ready(State(app): State<App>) -> (StatusCode, String) {
    match app.store.check() {
        Ok(()) => (StatusCode::OK, "Taffrail's metrics worker is ready.\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests;
