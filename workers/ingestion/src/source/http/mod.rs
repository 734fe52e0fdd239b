//! The http source: logs that others send.
//!
//! - `POST /` and `POST /logs` take a line per log, a JSON array of objects, or one object over several lines. In a
//!   pipeline of format `text` every line is a log, whatever it looks like.
//! - `POST /_bulk` and `POST /<index>/_bulk` speak as Elasticsearch does, and so do `GET /` and `GET /_cluster/health`
//!   as far as log shippers look at them.
//!
//! A request is answered when the sink has acknowledged all of it; what went to the dead letters counts as taken, and
//! the answer says so. Bodies may be compressed by gzip. Where too much is under way the answer is 429 with
//! `Retry-After`. A client that gives up waiting and sends again has its logs twice, unless it chose their ids.

mod bodies;
mod bulk;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use taffrail_crds::{Format, HttpSource};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::local::{Local, now};
use super::{Checkpoint, Intake, Records};
use crate::config::{PipelineConfig, StartError};
use crate::record::{Chunk, Fate, Filling, Ticket};

/// The largest body, before and after decompression.
const MAX_BODY: usize = 32 << 20;

/// Bytes of bodies that are under way at the same time; beyond it the answer is 429.
const MAX_UNDER_WAY: usize = 64 << 20;

/// How long the sink is waited for before the client is asked to come back.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many refused logs an answer names.
const NAMED: usize = 10;

#[derive(Clone)]
struct Shared {
    local: Arc<Mutex<Local>>,
    /// Goes when the pipeline stops, whatever connections are still there.
    records: mpsc::WeakSender<Chunk>,
    format: Format,
    room: Arc<Semaphore>,
    stopping: CancellationToken,
}

pub(super) async fn start(
    spec: &HttpSource,
    config: &PipelineConfig,
    intake: Intake,
    records: Records,
) -> Result<(JoinHandle<()>, Checkpoint), StartError> {
    let local = Local::new("http", config, &intake)?;
    let checkpoint = local.checkpoint();
    let address = config.http_address.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, spec.port)));
    let listener = taffrail_runtime::http::bind(address, "http source", "spec.source.http.port")
        .await
        .map_err(|error| StartError::Source(error.to_string()))?;
    let local = Arc::new(Mutex::new(local));
    let shared = Shared {
        local: local.clone(),
        records: records.downgrade(),
        format: config.object.spec.format,
        room: Arc::new(Semaphore::new(MAX_UNDER_WAY)),
        stopping: intake.stopping.clone(),
    };
    let router = router(shared);
    let task = tokio::spawn(async move {
        let closing = async {
            intake.stopping.cancelled().await;
            drop(records);
        };
        let serving = taffrail_runtime::http::serve(listener, router, intake.stopping.clone());
        if let (Err(error), ()) = tokio::join!(serving, closing) {
            let message = format!("the http source can't take connections any more: {error}");
            intake.health.fail(crate::health::Part::Source, crate::health::SOURCE_UNAVAILABLE, message);
        }
        intake.drained.cancelled().await;
        local.lock().save();
    });
    Ok((task, checkpoint))
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", post(take).put(take).get(bulk::about))
        .route("/logs", post(take))
        .route("/_cluster/health", get(bulk::cluster_health))
        .route("/_bulk", post(bulk::take).put(bulk::take))
        .route("/{index}/_bulk", post(bulk::take_into).put(bulk::take_into))
        .with_state(shared)
}

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the body has more than {MAX_BODY} bytes; send less at once")]
    TooLarge,
    #[error("the body could not be read: {0}")]
    Broken(String),
    #[error("Content-Encoding `{0}` is not known; send gzip or no compression")]
    Encoding(String),
    #[error("too much is under way; come back in a second")]
    Full,
    #[error("the log store did not acknowledge in time; send again later")]
    Unacknowledged,
    #[error("the pipeline is stopping; send again later")]
    Stopping,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Full => StatusCode::TOO_MANY_REQUESTS,
            Self::Unacknowledged | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Broken(_) => "bad_body",
            Self::Encoding(_) => "bad_encoding",
            Self::Full => "full",
            Self::Unacknowledged => "unacknowledged",
            Self::Stopping => "stopping",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = json!({"error": {"code": self.code(), "message": self.to_string()}});
        let mut response = (status, axum::Json(body)).into_response();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

async fn take(State(shared): State<Shared>, request: Request<Body>) -> Result<Response, Refusal> {
    let (body, _room) = read_body(&shared, request).await?;
    let logs = bodies::logs(&body, shared.format);
    let fates = shared.hand_over(logs.into_iter().map(|log| (None, log)).collect()).await?;
    let dead = fates.iter().enumerate().filter_map(|(index, (_, fate))| match fate {
        Fate::DeadLetter { reason, .. } => Some(json!({"index": index, "reason": reason})),
        _ => None,
    });
    let dead: Vec<Value> = dead.collect();
    let mut answer = json!({"accepted": fates.len(), "deadLettered": dead.len()});
    if !dead.is_empty() {
        answer["errors"] = dead.into_iter().take(NAMED).collect();
    }
    Ok(axum::Json(answer).into_response())
}

/// Reads a body, and takes room for it.
async fn read_body(shared: &Shared, request: Request<Body>) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    let is_gzip = match encoding.map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "identity") => false,
        Some("gzip" | "x-gzip") => true,
        Some(other) => return Err(Refusal::Encoding(other.to_owned())),
    };
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > MAX_BODY) {
        return Err(Refusal::TooLarge);
    }
    // Before the body is read: room for what it says it has, or for some of what it does not say.
    let expected = declared.unwrap_or(1 << 20).max(1);
    let room = |bytes: usize| {
        let bytes = u32::try_from(bytes).map_err(|_| Refusal::TooLarge)?;
        shared.room.clone().try_acquire_many_owned(bytes).map_err(|_| Refusal::Full)
    };
    let mut permit = room(expected)?;
    let body = axum::body::to_bytes(request.into_body(), MAX_BODY).await.map_err(|error| {
        let is_too_large =
            std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("length limit"));
        if is_too_large { Refusal::TooLarge } else { Refusal::Broken(error.to_string()) }
    })?;
    let body = if is_gzip { bodies::decompress(&body, MAX_BODY)? } else { body };
    if body.len() > expected {
        permit.merge(room(body.len() - expected)?);
    }
    Ok((body, permit))
}

impl Shared {
    /// Hands logs over, some with ids of their own, and waits for what becomes of each. Gives that with their ids.
    async fn hand_over(&self, logs: Vec<(Option<String>, Bytes)>) -> Result<Vec<(String, Fate)>, Refusal> {
        let count = logs.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let records = self.records.upgrade().ok_or(Refusal::Stopping)?;
        let mut ids = Vec::with_capacity(count);
        let ticket = Ticket::new(count);
        let at = now();
        let mut logs = logs.into_iter().enumerate().peekable();
        while logs.peek().is_some() {
            // Numbers are given when there is a place, so that they are handed over in order.
            let place = tokio::select! {
                () = self.stopping.cancelled() => return Err(Refusal::Stopping),
                place = tokio::time::timeout(PATIENCE, records.reserve()) => place,
            };
            let place = place.map_err(|_| Refusal::Unacknowledged)?.map_err(|_| Refusal::Stopping)?;
            let mut filling = Filling::default();
            let mut local = self.local.lock();
            while !filling.is_full() {
                let Some((index, (id, log))) = logs.next() else { break };
                ids.push(local.push_for(&mut filling, (&ticket, index), id, &log, at));
            }
            if let Some(chunk) = filling.take() {
                place.send(chunk);
            }
        }
        drop(records);
        // Stopping drains: what it does not get to is not acknowledged.
        match tokio::time::timeout(PATIENCE, ticket.all()).await {
            Ok(fates) => Ok(ids.into_iter().zip(fates).collect()),
            Err(_) => Err(Refusal::Unacknowledged),
        }
    }
}
