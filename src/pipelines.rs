//! Runs a pipeline for each `LogPipeline` on the board, and starts it anew when it or a secret of it changes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use taffrail_crds::{Kind, LogPipeline, Object, ObjectKey};
use taffrail_ingestion::{IngestionMetrics, MetricsSink, Pipeline, PipelineConfig, PipelineHandle, StartError};
use taffrail_logstore::{EmbeddedStore, LogStore};
use taffrail_runtime::{Board, Change};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::redrive::Redrivers;
use crate::stores::{self, NamedStore, Stores};

/// The port of http sources that the command line may move.
pub(crate) const HTTP_PORT: u16 = 8081;

/// How long the embedded store keeps logs where no pipeline says how long.
const LOG_RETENTION: Duration = Duration::from_secs(7 * 86_400);

/// How often a pipeline that could not start is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What pipelines of one process share.
pub(crate) struct Pipelines {
    pub(crate) board: Board,
    /// The built-in store, in a process that has one.
    pub(crate) embedded: Option<Arc<EmbeddedStore>>,
    pub(crate) metrics: Arc<dyn MetricsSink>,
    pub(crate) telemetry: IngestionMetrics,
    /// The folder in which each pipeline has its own.
    pub(crate) data: PathBuf,
    /// Where http sources listen: on this address, and on this port where the object says [`HTTP_PORT`].
    pub(crate) http_address: SocketAddr,
    pub(crate) stores: Stores,
    pub(crate) redrivers: Redrivers,
    /// How long stopping waits for what is under way.
    pub(crate) drain: Duration,
}

impl Pipelines {
    /// Follows the board until `stop` is cancelled; then drains all pipelines.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut changes = self.board.subscribe(&[Kind::LogPipeline, Kind::Secret]);
        let mut running: BTreeMap<ObjectKey, Option<PipelineHandle>> = BTreeMap::new();
        let mut again = tokio::time::interval(TRY_AGAIN);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                change = changes.next() => {
                    if let Some(embedded) = &self.embedded {
                        embedded.set_retention(retention(&self.board));
                    }
                    self.follow(change, &mut running).await;
                }
                _ = again.tick() => {
                    let failed = running.iter().filter(|(_, handle)| handle.is_none()).map(|(key, _)| key.clone());
                    for key in failed.collect::<Vec<_>>() {
                        self.restart(&key, &mut running).await;
                    }
                }
            }
        }
        let mut stopping: JoinSet<()> = running.into_values().flatten().map(PipelineHandle::stop).collect();
        while stopping.join_next().await.is_some() {}
    }

    async fn follow(&self, change: Change, running: &mut BTreeMap<ObjectKey, Option<PipelineHandle>>) {
        match change {
            Change::Applied(Object::LogPipeline(pipeline)) => {
                self.restart(&Object::LogPipeline(pipeline).key(), running).await;
            }
            Change::Deleted(key) if key.kind == Kind::LogPipeline => {
                if let Some(Some(handle)) = running.remove(&key) {
                    handle.stop().await;
                }
                self.stores.remove(&key);
                self.redrivers.remove(&key);
            }
            Change::Applied(_) | Change::Deleted(_) => {
                let secret = match &change {
                    Change::Applied(object) => object.key(),
                    Change::Deleted(key) => key.clone(),
                };
                let users: Vec<_> = running.keys().filter(|key| self.uses(key, &secret)).cloned().collect();
                for key in users {
                    self.restart(&key, running).await;
                }
            }
        }
    }

    fn uses(&self, pipeline: &ObjectKey, secret: &ObjectKey) -> bool {
        let Some(Object::LogPipeline(object)) = self.board.get(pipeline).map(|entry| entry.object) else {
            return false;
        };
        pipeline.namespace == secret.namespace && object.spec.secret_names().contains(&secret.name)
    }

    async fn restart(&self, key: &ObjectKey, running: &mut BTreeMap<ObjectKey, Option<PipelineHandle>>) {
        self.redrivers.remove(key);
        if let Some(Some(handle)) = running.remove(key) {
            handle.stop().await;
        }
        let Some(Object::LogPipeline(object)) = self.board.get(key).map(|entry| entry.object) else { return };
        let generation = object.metadata.generation;
        let handle = match self.start(key, object).await {
            Ok(handle) => Some(handle),
            Err(error) => {
                self.report_failure(key, generation, &error);
                None
            }
        };
        running.insert(key.clone(), handle);
    }

    /// Keeps what status said of earlier runs: a pipeline that can't start has lost nothing of what it has done.
    fn report_failure(&self, key: &ObjectKey, generation: Option<i64>, error: &StartError) {
        let message = error.to_string();
        let mut status = self.board.get(key).and_then(|entry| entry.status).unwrap_or_else(|| json!({}));
        let before = &status["conditions"][0];
        if before["reason"] == error.reason() && before["message"] == message.as_str() {
            return;
        }
        tracing::warn!(pipeline = %key, reason = error.reason(), "the pipeline can't start: {message}");
        let now = Timestamp::now().to_string();
        status["conditions"] = taffrail_runtime::ready(false, error.reason(), &message, generation, &now);
        status["observedGeneration"] = generation.into();
        self.board.report(key, status);
    }

    async fn start(&self, key: &ObjectKey, object: Arc<LogPipeline>) -> Result<PipelineHandle, StartError> {
        let secrets = stores::secrets(&self.board, &key.namespace);
        let embedded = self.embedded.clone().map(|store| -> Arc<dyn LogStore> { store });
        let store = NamedStore::of(&object, &secrets, embedded)?;
        self.stores.set(key, store.clone());
        let (board, reported) = (self.board.clone(), key.clone());
        let http_address = object.spec.source.http.as_ref().map(|http| {
            let port = if http.port == HTTP_PORT { self.http_address.port() } else { http.port };
            SocketAddr::new(self.http_address.ip(), port)
        });
        let config = PipelineConfig {
            secrets,
            store: store.store,
            metrics: self.metrics.clone(),
            data_dir: self.data.join(format!("{}.{}", key.namespace, key.name)),
            report: Arc::new(move |status| {
                if let Ok(status) = serde_json::to_value(status) {
                    board.report(&reported, status);
                }
            }),
            telemetry: self.telemetry.clone(),
            http_address,
            stdin: None,
            drain: self.drain,
            object,
        };
        let handle = Pipeline::start(config).await?;
        self.redrivers.set(key, handle.redriver());
        Ok(handle)
    }
}

/// How long the embedded store keeps logs. Pipelines share it; the one that wants to keep logs longest decides.
pub(crate) fn retention(board: &Board) -> Duration {
    let wanted = board.list(Kind::LogPipeline).into_iter().filter_map(|entry| match entry.object {
        Object::LogPipeline(pipeline) => pipeline.spec.sink.embedded.as_ref().map(|sink| sink.retention.0),
        _ => None,
    });
    wanted.max().unwrap_or(LOG_RETENTION)
}
