//! Serving HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use taffrail_crds::{Kind, ObjectKey};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{Board, Entry, Telemetry};

/// How long requests under way may go on when the process stops.
const DRAIN: Duration = Duration::from_millis(500);

/// A port that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {address} for the {purpose}: {cause}; choose another address with {option}")]
pub struct BindError {
    address: SocketAddr,
    purpose: &'static str,
    option: &'static str,
    cause: std::io::Error,
}

/// Listens on an address.
///
/// # Errors
/// When the address is taken or not this machine's; the message names the `option` that changes it.
pub async fn bind(address: SocketAddr, purpose: &'static str, option: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|cause| BindError { address, purpose, option, cause })
}

/// Serves until `stop` is cancelled, then lets requests under way finish for half a second.
///
/// # Errors
/// When connections can't be accepted any more.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    let router = router.layer(CatchPanicLayer::new());
    let stopping = stop.clone();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stopping.cancelled().await });
    tokio::select! {
        result = serving => result,
        () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}

/// What every worker has: [`health_routes`], its own metrics under `/metrics`, and under `/api/v1/status` the objects that
/// it has loaded, with what it says of them.
pub fn worker_routes(
    board: Board,
    telemetry: Telemetry,
    alive: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
    ready: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
) -> Router {
    let metrics = move || {
        let headers = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
        let answer = (headers, telemetry.encode());
        async move { answer }
    };
    let status = move || {
        let objects: Vec<Value> = [Kind::LogPipeline, Kind::AlertRule, Kind::Dashboard]
            .into_iter()
            .flat_map(|kind| board.list(kind))
            .map(|Entry { object, status }| {
                let (ObjectKey { kind, namespace, name }, generation) = (object.key(), object.metadata().generation);
                json!({"kind": kind, "namespace": namespace, "name": name, "generation": generation, "status": status})
            })
            .collect();
        async move { Json(json!({"objects": objects})) }
    };
    health_routes(alive, ready).route("/metrics", get(metrics)).route("/api/v1/status", get(status))
}

/// `/healthz` (`alive` says that no new process is needed, or why) and `/readyz` (`ready` says yes, or why not), which
/// every worker has.
pub fn health_routes(
    alive: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
    ready: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
) -> Router {
    let answer = |outcome: Result<(), String>, yes: &str, no: &str| match outcome {
        Ok(()) => (StatusCode::OK, format!("{yes}\n")),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{no}: {reason}\n")),
    };
    let healthz = move || std::future::ready(answer(alive(), "ok", "not alive"));
    let readyz = move || std::future::ready(answer(ready(), "ready", "not ready"));
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}
