//! Objects of one kind, watched.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use kube::core::DeserializeGuard;
use kube::core::object::HasStatus;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use taffrail_crds::{Kind, Object, ObjectKey};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Cluster;
use crate::{Board, LoadProblem};

/// Keeps the board as the API server has the objects of a kind. `loaded` is told when it has them for the first time.
pub(super) async fn follow<K>(
    cluster: Cluster,
    board: Board,
    (kind, wrap): (Kind, fn(Arc<K>) -> Object),
    loaded: oneshot::Sender<()>,
    stop: CancellationToken,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + HasStatus + DeserializeOwned,
    K: Clone + Debug + Send + Sync + 'static,
{
    let api: Api<DeserializeGuard<K>> = Api::namespaced(cluster.client, &cluster.namespace);
    let mut events = pin!(watcher(api, Config::default()).default_backoff());
    let key = |object: &DeserializeGuard<K>| ObjectKey {
        kind,
        namespace: object.namespace().unwrap_or_else(|| cluster.namespace.clone()),
        name: object.name_any(),
    };
    let mut listed = BTreeSet::new();
    let mut loaded = Some(loaded);
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(Event::Init)) => listed.clear(),
            Some(Ok(Event::InitApply(object))) => {
                listed.insert(key(&object));
                place(&board, &key(&object), object, wrap);
            }
            Some(Ok(Event::InitDone)) => {
                for entry in board.list(kind) {
                    let key = entry.object.key();
                    if !listed.contains(&key) {
                        board.delete(&key);
                        board.set_problems(&key.to_string(), Vec::new());
                    }
                }
                if let Some(loaded) = loaded.take() {
                    // Nobody waits any more where the process is about to stop.
                    let _ = loaded.send(());
                }
            }
            Some(Ok(Event::Apply(object))) => place(&board, &key(&object), object, wrap),
            Some(Ok(Event::Delete(object))) => {
                board.delete(&key(&object));
                board.set_problems(&key(&object).to_string(), Vec::new());
            }
            Some(Err(error)) => {
                tracing::warn!(%kind, "watching failed, and begins again; what was loaded stays in effect: {error}");
            }
            None => return,
        }
    }
}

/// Puts an object on the board. One that can't be read leaves there what was loaded last, and is named as a problem.
fn place<K>(board: &Board, key: &ObjectKey, DeserializeGuard(object): DeserializeGuard<K>, wrap: fn(Arc<K>) -> Object)
where
    K: Resource + HasStatus,
{
    match object {
        Ok(mut object) => {
            // What others write into it is no news: status, and who wrote what.
            *object.status_mut() = None;
            object.meta_mut().managed_fields = None;
            object.meta_mut().resource_version = None;
            board.set_problems(&key.to_string(), Vec::new());
            board.apply_counted(wrap(Arc::new(object)));
        }
        Err(invalid) => {
            tracing::warn!(object = %key, "the object can't be read; what was loaded last stays in effect: {invalid}");
            let problem = LoadProblem { file: key.to_string(), line: 1, column: 1, message: invalid.to_string() };
            board.set_problems(&key.to_string(), vec![problem]);
        }
    }
}
