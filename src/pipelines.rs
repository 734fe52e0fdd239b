//! Runs a pipeline for each `LogPipeline` on the board, and starts it anew when it or a secret of it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use parking_lot::RwLock;
use taffrail_crds::{Kind, LogPipeline, Object, ObjectKey};
use taffrail_ingestion::{IngestionMetrics, MetricsSink, Pipeline, PipelineConfig, PipelineHandle};
use taffrail_logstore::elasticsearch::ElasticsearchStore;
use taffrail_logstore::{EmbeddedStore, LogStore};
use taffrail_runtime::{Board, Change};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long stopping waits for what is under way: the whole process stops in less than two seconds.
const DRAIN: Duration = Duration::from_millis(1_000);

/// How often a pipeline that could not start is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What pipelines of one process share.
pub(crate) struct Pipelines {
    pub(crate) board: Board,
    pub(crate) embedded: Arc<EmbeddedStore>,
    pub(crate) metrics: Arc<dyn MetricsSink>,
    pub(crate) telemetry: IngestionMetrics,
    /// The folder in which each pipeline has its own.
    pub(crate) data: PathBuf,
    /// Where http sources listen.
    pub(crate) http_address: IpAddr,
    /// A port that stands for port 8081 of an http source.
    pub(crate) http_port: Option<u16>,
    pub(crate) stores: Stores,
}

/// The log stores that pipelines write to, by what tells them apart.
#[derive(Clone, Default)]
pub(crate) struct Stores(Arc<RwLock<BTreeMap<ObjectKey, (String, Arc<dyn LogStore>)>>>);

impl Stores {
    /// Each store once.
    pub(crate) fn all(&self) -> Vec<Arc<dyn LogStore>> {
        let mut seen = BTreeSet::new();
        let stores = self.0.read();
        stores.values().filter(|(id, _)| seen.insert(id.clone())).map(|(_, store)| store.clone()).collect()
    }

    fn set(&self, key: &ObjectKey, id: String, store: Arc<dyn LogStore>) {
        self.0.write().insert(key.clone(), (id, store));
    }

    fn remove(&self, key: &ObjectKey) {
        self.0.write().remove(key);
    }
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
                change = changes.next() => self.follow(change, &mut running).await,
                _ = again.tick() => {
                    let failed: Vec<_> = running.iter().filter(|(_, handle)| handle.is_none()).map(|(key, _)| key.clone()).collect();
                    for key in failed {
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
        let Some(Object::LogPipeline(object)) = self.board.get(pipeline).map(|entry| entry.object) else { return false };
        pipeline.namespace == secret.namespace && secrets_of(&object).contains(&secret.name)
    }

    async fn restart(&self, key: &ObjectKey, running: &mut BTreeMap<ObjectKey, Option<PipelineHandle>>) {
        if let Some(Some(handle)) = running.remove(key) {
            handle.stop().await;
        }
        let Some(Object::LogPipeline(object)) = self.board.get(key).map(|entry| entry.object) else { return };
        let generation = object.metadata.generation;
        let handle = match self.start(key, object).await {
            Ok(handle) => Some(handle),
            Err(error) => {
                let message = format!("{error:#}");
                tracing::warn!(pipeline = %key, "can't start: {message}");
                let conditions = taffrail_runtime::ready(false, "NotStarted", &message, generation, &Timestamp::now().to_string());
                self.board.report(key, serde_json::json!({"conditions": conditions, "observedGeneration": generation}));
                None
            }
        };
        running.insert(key.clone(), handle);
    }

    async fn start(&self, key: &ObjectKey, object: Arc<LogPipeline>) -> anyhow::Result<PipelineHandle> {
        let (board, namespace) = (self.board.clone(), key.namespace.clone());
        let secrets: taffrail_ingestion::Secrets = Arc::new(move |name: &str| board.secret(&namespace, name));
        let store: Arc<dyn LogStore> = match &object.spec.sink.elasticsearch {
            None => {
                self.stores.set(key, "embedded".to_owned(), self.embedded.clone());
                self.embedded.clone()
            }
            Some(sink) => {
                let options = taffrail_ingestion::elasticsearch_options(&object.spec, &secrets)?;
                let store = Arc::new(ElasticsearchStore::new(options).context("can't use the Elasticsearch sink")?);
                self.stores.set(key, format!("{}/{}", sink.urls.join(","), sink.index), store.clone());
                store
            }
        };
        let (board, reported) = (self.board.clone(), key.clone());
        let http_address = object.spec.source.http.as_ref().map(|http| {
            let port = self.http_port.filter(|_| http.port == 8081).unwrap_or(http.port);
            SocketAddr::new(self.http_address, port)
        });
        let config = PipelineConfig {
            secrets,
            store,
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
            drain: DRAIN,
            object,
        };
        Ok(Pipeline::start(config).await?)
    }
}

/// The names of the secrets that a pipeline refers to.
fn secrets_of(pipeline: &LogPipeline) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(kafka) = &pipeline.spec.source.kafka {
        names.extend(kafka.sasl.as_ref().map(|sasl| sasl.secret_name.clone()));
        let tls = kafka.tls.iter().flat_map(|tls| [tls.ca_secret_name.clone(), tls.cert_secret_name.clone()]);
        names.extend(tls.flatten());
    }
    if let Some(sink) = &pipeline.spec.sink.elasticsearch {
        names.extend(sink.auth.as_ref().map(|auth| auth.secret_name.clone()));
        names.extend(sink.tls.as_ref().and_then(|tls| tls.ca_secret_name.clone()));
    }
    names
}
