//! Serving HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

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

/// `/healthz` (the process runs) and `/readyz` (`ready` says yes, or why not), which every worker has.
pub fn health_routes(ready: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static) -> Router {
    let readyz = move |_: Request| {
        let answer = match ready() {
            Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        };
        async move { answer }
    };
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(readyz))
}
