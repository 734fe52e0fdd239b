//! Answering the API server, with the certificate that is in the Secret.
//!
//! All that anybody can make it do is bounded: connections, how long each may be silent, bodies that are held at a time
//! and their size, and how long an object is looked at. What can't be answered in time is allowed, with a warning.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures::StreamExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use parking_lot::RwLock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use taffrail_crds::{Object, SecretData, secret_data};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::certificate::{CERTIFICATE, KEY};
use super::review::{Request, Task};
use super::{Check, Findings, PATH};
use crate::config::Config;
use crate::controllers;
use crate::telemetry::OperatorMetrics;

/// How many connections there may be. An API server keeps a few.
const CONNECTIONS: usize = 64;
/// How many reviews are under way at a time.
const REVIEWS: usize = 4;
/// The largest review: two objects of the largest size that the API server keeps, and a bit.
const LARGEST: usize = 4 << 20;
/// How long the first words of a connection may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a connection may be silent. An API server gives up one that is not needed earlier by itself.
const SILENCE: Duration = Duration::from_secs(120);
/// How long a review may take, which is less than the API server waits.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long answers under way may take when the process stops.
const DRAIN: Duration = Duration::from_millis(500);

/// What looks at objects.
struct Reviewer {
    config: Config,
    check: Check,
    metrics: OperatorMetrics,
    slots: Arc<Semaphore>,
}

/// Answers the API server until it is told to stop.
///
/// # Errors
/// When TLS can't be set up.
pub async fn serve(
    listener: TcpListener,
    client: Client,
    config: Config,
    check: Check,
    metrics: OperatorMetrics,
    stop: CancellationToken,
) -> Result<(), rustls::Error> {
    let Some(webhook) = config.webhook.clone() else { return Ok(()) };
    let certificate = Arc::new(Served::default());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = tls.with_no_client_auth().with_cert_resolver(certificate.clone());
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let secrets = Api::namespaced(client, &config.own_namespace);
    let reviewer = Reviewer { config, check, metrics, slots: Arc::new(Semaphore::new(REVIEWS)) };
    let routes = Router::new().route(PATH, post(review)).with_state(Arc::new(reviewer));
    tokio::select! {
        () = follow(secrets, &webhook.secret, &certificate) => {}
        () = accept(listener, acceptor, routes, stop) => {}
    }
    Ok(())
}

/// The certificate of the moment.
#[derive(Debug, Default)]
struct Served(RwLock<Option<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().clone()
    }
}

/// Takes up whatever certificate is in the Secret, for good. A Secret that is gone or spoilt changes nothing.
async fn follow(secrets: Api<Secret>, name: &str, served: &Served) {
    let mut events = pin!(watch_object(secrets, name).default_backoff());
    while let Some(event) = events.next().await {
        let data = match event {
            Ok(secret) => secret.as_ref().map(secret_data).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "the watch of secret {name} broke off; it is begun again");
                continue;
            }
        };
        match certified(&data) {
            Ok(key) => {
                tracing::info!("took up the certificate of secret {name}");
                *served.0.write() = Some(Arc::new(key));
            }
            Err(_) if data.is_empty() => tracing::info!("the webhook has no certificate in secret {name} yet"),
            Err(error) => tracing::warn!(error, "the webhook's certificate in secret {name} can't be used"),
        }
    }
}

fn certified(data: &SecretData) -> Result<CertifiedKey, String> {
    let pem = |key: &str| data.get(key).ok_or_else(|| format!("it has no `{key}`"));
    let certificate = CertificateDer::from_pem_slice(pem(CERTIFICATE)?).map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(pem(KEY)?).map_err(|error| error.to_string())?;
    CertifiedKey::from_der(vec![certificate], key, &rustls::crypto::ring::default_provider())
        .map_err(|error| error.to_string())
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, routes: Router, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < CONNECTIONS => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, acceptor.clone(), routes.clone(), stop.clone()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: some are given back in a while.
                tracing::warn!(%error, "the webhook could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let _ = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
}

/// Serves one connection. Those that break off, and those who don't trust us, try again by themselves.
async fn converse(stream: TcpStream, acceptor: TlsAcceptor, routes: Router, stop: CancellationToken) {
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "no TLS with the webhook"),
        Err(_) => return,
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn review(State(reviewer): State<Arc<Reviewer>>, body: Body) -> Response {
    let deadline = Instant::now() + PATIENCE;
    let busy = (StatusCode::SERVICE_UNAVAILABLE, "too many reviews at a time\n");
    let Ok(Ok(slot)) = timeout_at(deadline, reviewer.slots.clone().acquire_owned()).await else {
        return busy.into_response();
    };
    let body = match timeout_at(deadline, to_bytes(body, LARGEST)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return (StatusCode::PAYLOAD_TOO_LARGE, format!("{error}\n")).into_response(),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the review did not come in time\n").into_response(),
    };
    let mut request = match Request::read(&body) {
        Ok(request) => request,
        Err(problem) => return (StatusCode::BAD_REQUEST, problem + "\n").into_response(),
    };
    drop(body);
    let findings = match request.task() {
        Task::Answer(findings) => findings,
        Task::Check(object) => match timeout_at(deadline, reviewer.clone().look_at(object, slot)).await {
            Ok(Some(findings)) => findings,
            Ok(None) | Err(_) => {
                reviewer.metrics.reviewed("unchecked");
                return Json(request.answer(not_checked())).into_response();
            }
        },
    };
    reviewer.metrics.reviewed(if findings.problems.is_empty() { "allowed" } else { "refused" });
    Json(request.answer(findings)).into_response()
}

fn not_checked() -> Findings {
    let warning = "taffrail could not check this object; what is wrong with it shows in its status";
    Findings { problems: Vec::new(), warnings: vec![warning.to_owned()] }
}

impl Reviewer {
    /// What is found in an object; nothing when looking at it failed. It keeps its slot for as long as that takes.
    async fn look_at(self: Arc<Self>, object: Object, slot: OwnedSemaphorePermit) -> Option<Findings> {
        let looking = tokio::task::spawn_blocking(move || {
            let mut findings = (self.check)(&object);
            findings.problems.extend(controllers::objection(&self.config, &object));
            drop(slot);
            findings
        });
        looking.await.ok()
    }
}

#[cfg(test)]
mod tests;
