//! The log stores that pipelines write to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::RwLock;
use taffrail_crds::{Kind, LogPipelineSpec, Object, ObjectKey};
use taffrail_ingestion::{Secrets, StartError};
use taffrail_logstore::LogStore;
use taffrail_logstore::elasticsearch::ElasticsearchStore;
use taffrail_runtime::Board;
use tokio_util::sync::CancellationToken;

/// A store, and what tells it from others.
#[derive(Clone)]
pub(crate) struct NamedStore {
    pub(crate) id: String,
    pub(crate) store: Arc<dyn LogStore>,
}

impl NamedStore {
    /// The Elasticsearch that a pipeline writes to; none where it writes to the embedded store.
    pub(crate) fn elasticsearch(spec: &LogPipelineSpec, secrets: &Secrets) -> Result<Option<Self>, StartError> {
        let Some(sink) = &spec.sink.elasticsearch else { return Ok(None) };
        let options = taffrail_ingestion::elasticsearch_options(spec, secrets)?;
        let store = ElasticsearchStore::new(options).map_err(|error| StartError::Spec(error.to_string()))?;
        Ok(Some(Self { id: format!("{}/{}", sink.urls.join(","), sink.index), store: Arc::new(store) }))
    }
}

/// The secrets of a namespace, as the board has them.
pub(crate) fn secrets(board: &Board, namespace: &str) -> Secrets {
    let (board, namespace) = (board.clone(), namespace.to_owned());
    Arc::new(move |name: &str| board.secret(&namespace, name))
}

/// The log stores that pipelines write to.
#[derive(Clone, Default)]
pub(crate) struct Stores(Arc<RwLock<BTreeMap<ObjectKey, NamedStore>>>);

impl Stores {
    /// Each store once.
    pub(crate) fn all(&self) -> Vec<Arc<dyn LogStore>> {
        let mut seen = BTreeSet::new();
        let stores = self.0.read();
        stores.values().filter(|named| seen.insert(named.id.clone())).map(|named| named.store.clone()).collect()
    }

    pub(crate) fn set(&self, key: &ObjectKey, store: NamedStore) {
        self.0.write().insert(key.clone(), store);
    }

    pub(crate) fn remove(&self, key: &ObjectKey) {
        self.0.write().remove(key);
    }

    /// Keeps the stores as the pipelines and secrets on a board say, until `stop` is cancelled: for who searches in them
    /// and runs no pipelines.
    pub(crate) async fn follow(self, board: Board, stop: CancellationToken) {
        let mut changes = board.subscribe(&[Kind::LogPipeline, Kind::Secret]);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.next() => {}
            }
            while changes.try_next().is_some() {}
            let mut stores = BTreeMap::new();
            for entry in board.list(Kind::LogPipeline) {
                let (key, Object::LogPipeline(pipeline)) = (entry.object.key(), &entry.object) else { continue };
                match NamedStore::elasticsearch(&pipeline.spec, &secrets(&board, &key.namespace)) {
                    Ok(store) => stores.extend(store.map(|store| (key, store))),
                    Err(error) => tracing::warn!(pipeline = %key, "its logs can't be searched: {error}"),
                }
            }
            *self.0.write() = stores;
        }
    }
}
