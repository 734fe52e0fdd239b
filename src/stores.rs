//! The log stores that pipelines write to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::RwLock;
use taffrail_crds::{Kind, LogPipeline, Object, ObjectKey};
use taffrail_ingestion::{Secrets, StartError};
use taffrail_logstore::elasticsearch::ElasticsearchStore;
use taffrail_logstore::{DeadLetters, LogStore};
use taffrail_runtime::Board;
use tokio_util::sync::CancellationToken;

/// Why a process does not write to the built-in store.
const NO_EMBEDDED: &str = "the embedded sink is for `taffrail standalone` only: name an elasticsearch sink";

/// A store, and what tells it from others.
#[derive(Clone)]
pub(crate) struct NamedStore {
    pub(crate) id: String,
    pub(crate) store: Arc<dyn LogStore>,
    /// Where the dead letters of the pipeline are.
    pub(crate) letters: Arc<dyn DeadLetters>,
}

impl NamedStore {
    /// The store that a pipeline writes to. `embedded` is the built-in one, in a process that has it.
    pub(crate) fn of(
        pipeline: &LogPipeline,
        secrets: &Secrets,
        embedded: Option<Arc<dyn LogStore>>,
    ) -> Result<Self, StartError> {
        let (id, store) = if let Some(sink) = &pipeline.spec.sink.elasticsearch {
            let options = taffrail_ingestion::elasticsearch_options(&pipeline.spec, secrets)?;
            let store = ElasticsearchStore::new(options).map_err(|error| StartError::Spec(error.to_string()))?;
            let store: Arc<dyn LogStore> = Arc::new(store);
            (format!("{}/{}", sink.urls.join(","), sink.index), store)
        } else {
            let store = embedded.ok_or_else(|| StartError::Spec(NO_EMBEDDED.to_owned()))?;
            ("embedded".to_owned(), store)
        };
        let letters = taffrail_ingestion::dead_letters(pipeline, store.clone(), secrets)?;
        Ok(Self { id, store, letters })
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

    /// The dead letters of a pipeline.
    pub(crate) fn letters(&self, key: &ObjectKey) -> Option<Arc<dyn DeadLetters>> {
        self.0.read().get(key).map(|named| named.letters.clone())
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
                if pipeline.spec.sink.elasticsearch.is_none() {
                    continue;
                }
                match NamedStore::of(pipeline, &secrets(&board, &key.namespace), None) {
                    Ok(store) => stores.extend([(key, store)]),
                    Err(error) => tracing::warn!(pipeline = %key, "its logs can't be searched: {error}"),
                }
            }
            *self.0.write() = stores;
        }
    }
}
