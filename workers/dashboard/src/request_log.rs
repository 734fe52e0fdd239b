//! A line for each request.

use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

/// Logs method, path, status and duration under the target `request`; a server's own faults as warnings. The query is
/// left out: it may hold what people search for.
pub(crate) async fn log(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let start = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let duration_ms = start.elapsed().as_secs_f64() * 1000.0;
    if response.status().is_server_error() {
        tracing::warn!(target: "request", %method, path, status, duration_ms, "request");
    } else {
        tracing::info!(target: "request", %method, path, status, duration_ms, "request");
    }
    response
}
