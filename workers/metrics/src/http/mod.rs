//! The metrics worker's HTTP interface: `POST /api/v1/metrics`, `/metrics`, health, and the Prometheus HTTP API with
//! queries in the short form.

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};
use taffrail_runtime::{Telemetry, VERSION};
use tower_http::decompression::RequestDecompressionLayer;

use crate::Store;

/// Bytes of a request's body, at most, after decompression.
const MAX_BODY_BYTES: usize = 16 << 20;

#[derive(Clone)]
struct App {
    store: Store,
    telemetry: Telemetry,
}

/// The metrics worker's HTTP interface over a store. `telemetry` is what `/metrics` shows beside the store's series.
pub fn router(store: Store, telemetry: Telemetry) -> Router {
    let app = App { store, telemetry };
    Router::new()
        .route("/api/health", get(health))
        .route("/-/healthy", get(|| async { "Taffrail metrics is healthy.\n" }))
        .route("/-/ready", get(|| async { "Taffrail metrics is ready.\n" }))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(RequestDecompressionLayer::new())
        .with_state(app)
}

async fn health(State(app): State<App>) -> Json<Value> {
    Json(json!({"status": "healthy", "timestamp": app.store.now() / 1000, "version": VERSION}))
}
