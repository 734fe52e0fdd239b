//! The http source: logs that others send.
//!
//! - `POST /` and `POST /logs` take a line per log, a JSON array of objects, or one object over several lines. In a
//!   pipeline of format `text` every line is a log, whatever it looks like.
//! - `POST /_bulk` and `POST /<index>/_bulk` speak as Elasticsearch does, and so do the other paths that log shippers
//!   ask it for ([`elastic`]).
//! - `POST /v1/logs` takes OTLP over HTTP, and [`otlp::grpc::PATH`] OTLP over gRPC, on the same port.
//! - `POST /loki/api/v1/push` takes what is sent to Loki.
//!
//! A request is answered when the sink has acknowledged all of it; what went to the dead letters counts as taken, and
//! the answer says so. Bodies may be compressed by gzip, zstd, deflate or snappy. Where too much is under way the answer
//! is 429 with `Retry-After`. A client that gives up waiting and sends again has its logs twice, unless it chose their
//! ids, or speaks OTLP or Loki.

mod bodies;
mod body;
mod bulk;
mod elastic;
mod entries;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod loki;
mod otlp;
mod refusal;
mod serve;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use taffrail_crds::{Format, HttpSource};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::body::Room;
use self::entries::Entries;
#[cfg(any(test, fuzzing))]
pub(crate) use self::fuzzing::check as check_body;
use self::refusal::Refusal;
use self::serve::Limits;
use super::local::{Local, now};
use super::{Checkpoint, Intake, Records};
use crate::config::{PipelineConfig, StartError};
use crate::record::{Chunk, Fate, Filling, Ticket};

/// The largest body, before and after decompression.
const MAX_BODY: usize = 32 << 20;

/// Bytes of bodies that are under way at the same time; beyond it the answer is 429.
const MAX_UNDER_WAY: usize = 96 << 20;

/// Logs that a body may have.
const MAX_RECORDS: usize = 100_000;

/// How long a body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(60);

/// Connections at the same time.
const MAX_CONNECTIONS: usize = 1_024;

/// How long a connection may have no request under way.
const SILENCE: Duration = Duration::from_secs(75);

/// How long the sink is waited for before the client is asked to come back.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many refused logs an answer names.
const NAMED: usize = 10;

#[derive(Clone)]
struct Shared {
    local: Arc<Mutex<Local>>,
    /// Goes when the pipeline stops, whatever connections are still there.
    records: mpsc::WeakSender<Chunk>,
    /// The pipeline's name.
    pipeline: String,
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
        pipeline: config.name(),
        format: config.object.spec.format,
        room: Arc::new(Semaphore::new(MAX_UNDER_WAY)),
        stopping: intake.stopping.clone(),
    };
    let router = router(shared);
    // What is under way when the pipeline stops is answered as long as it drains.
    let limits = Limits { connections: MAX_CONNECTIONS, silence: SILENCE, drain: config.drain };
    let task = tokio::spawn(async move {
        let closing = async {
            intake.stopping.cancelled().await;
            drop(records);
        };
        tokio::join!(serve::serve(listener, router, limits, intake.stopping.clone()), closing);
        intake.drained.cancelled().await;
        local.lock().save();
    });
    Ok((task, checkpoint))
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", post(take).put(take).get(elastic::about))
        .route("/logs", post(take))
        .route("/_bulk", post(bulk::take).put(bulk::take))
        .route("/{index}/_bulk", post(bulk::take_into).put(bulk::take_into))
        .merge(elastic::routes())
        .route("/v1/logs", post(otlp::take))
        .route(otlp::grpc::PATH, post(otlp::grpc::export))
        .route("/loki/api/v1/push", post(loki::push))
        .route("/ready", get(loki::ready))
        .with_state(shared)
}

async fn take(State(shared): State<Shared>, request: Request<Body>) -> Result<Response, Refusal> {
    let (body, _room) = body::read(&shared.room, request).await?;
    let logs = bodies::logs(&body, shared.format)?;
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

/// What a body is, without parameters.
fn media_type(request: &Request<Body>) -> Option<String> {
    let value = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

impl Shared {
    /// Translates a body of another protocol, hands its logs over, and waits for what becomes of each.
    async fn translate_and_hand_over(
        &self,
        body: Bytes,
        room: Room,
        read: impl FnOnce(&[u8], &mut Entries) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<Vec<(String, Fate)>, Refusal> {
        if self.format == Format::Text {
            return Err(Refusal::Text);
        }
        let (logs, _room) = entries::translate(self.pipeline.clone(), body, room, read).await?;
        self.hand_over(logs).await
    }

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

#[cfg(test)]
mod tests;
