//! `/api/v1/health`.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// That the process answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `healthy`: who is not does not answer.
    status: &'static str,
    /// The present, Unix seconds.
    timestamp: i64,
    /// Taffrail's version.
    version: &'static str,
}

/// Ask whether the process answers.
#[utoipa::path(get, path = "/api/v1/health", tag = "health", responses((status = 200, body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    let timestamp = jiff::Timestamp::now().as_second();
    Json(Health { status: "healthy", timestamp, version: taffrail_runtime::VERSION })
}
