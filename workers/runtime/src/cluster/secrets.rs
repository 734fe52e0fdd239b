//! Secrets that rules refer to, each watched by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use taffrail_crds::{Kind, Object, ObjectKey};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Cluster;
use crate::Board;

/// Keeps some secrets on the board, and those that the rules on it name.
pub(super) async fn follow(cluster: Cluster, always: BTreeSet<String>, board: Board, stop: CancellationToken) {
    let mut changes = board.subscribe(&[Kind::AlertRule]);
    let mut watched: BTreeMap<String, AbortOnDropHandle<()>> = BTreeMap::new();
    loop {
        while changes.try_next().is_some() {}
        let mut wanted = always.clone();
        for entry in board.list(Kind::AlertRule) {
            if let Object::AlertRule(rule) = entry.object {
                wanted.extend(rule.spec.secret_names());
            }
        }
        watched.retain(|name, _| {
            let is_wanted = wanted.contains(name);
            if !is_wanted {
                board.delete(&key(&cluster, name));
            }
            is_wanted
        });
        for name in wanted {
            watched.entry(name).or_insert_with_key(|name| {
                AbortOnDropHandle::new(tokio::spawn(follow_one(cluster.clone(), board.clone(), name.clone())))
            });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = changes.next() => {}
        }
    }
}

fn key(cluster: &Cluster, name: &str) -> ObjectKey {
    ObjectKey { kind: Kind::Secret, namespace: cluster.namespace.clone(), name: name.to_owned() }
}

async fn follow_one(cluster: Cluster, board: Board, name: String) {
    let key = key(&cluster, &name);
    let api: Api<Secret> = Api::namespaced(cluster.client, &cluster.namespace);
    let only = Config::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(api, only).default_backoff());
    let mut is_there = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => is_there = false,
            Ok(Event::InitApply(mut secret) | Event::Apply(mut secret)) => {
                is_there = true;
                secret.metadata.managed_fields = None;
                secret.metadata.resource_version = None;
                board.apply(Object::Secret(Arc::new(secret)));
            }
            Ok(Event::InitDone) if is_there => {}
            Ok(Event::InitDone | Event::Delete(_)) => board.delete(&key),
            Err(error) => tracing::warn!(secret = name, "watching failed, and begins again: {error}"),
        }
    }
}
