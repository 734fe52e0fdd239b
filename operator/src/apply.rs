//! The one thin layer that writes: partial objects, by server-side apply, and only where something is not as rendered.

use std::collections::BTreeSet;

use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use serde_json::{Value, json};

use crate::FIELD_MANAGER;
use crate::child::{Child, ChildKind};
use crate::context::Context;
use crate::error::Error;
use crate::hash;
use crate::owned;
use crate::resources::{Component, MANAGED_BY, MANAGER, Rendered};

/// The annotation with the hash of what was applied last.
const APPLIED: &str = "taffrail.dev/applied";

/// Brings one object to what was rendered. Returns its UID; nothing while an older one of the name is about to go.
///
/// # Errors
/// When the API server refuses, or somebody else's object has the name.
pub(crate) async fn apply(context: &Context, rendered: &Rendered) -> Result<Option<String>, Error> {
    let kind = rendered.kind;
    let mut body = rendered.body.clone();
    body["metadata"]["annotations"][APPLIED] = hash::of_json(&rendered.body).into();
    let api: Api<Child> = Api::namespaced_with(context.client.clone(), &rendered.namespace, &kind.resource());
    match context.children(kind).get(&rendered.namespace, &rendered.name) {
        // Its end is news that brings us here again.
        Some(live) if live.metadata.deletion_timestamp.is_some() => return Ok(None),
        Some(live) if is_as_applied(&live, &body) => return Ok(live.metadata.uid.clone()),
        Some(_) => {}
        None => {
            let found = context.call("read", kind.kind(), &rendered.name, api.get_opt(&rendered.name)).await?;
            if found.is_some_and(|live| live.owned.is_none() && live.label(MANAGED_BY) != Some(MANAGER)) {
                return Err(Error::NameTaken { kind, name: rendered.name.clone() });
            }
        }
    }
    // Fields that somebody else has set meanwhile are taken back: they are ours.
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&body);
    let applied =
        context.call("apply", kind.kind(), &rendered.name, api.patch(&rendered.name, &params, &patch)).await?;
    context.metrics.wrote("apply");
    tracing::debug!(namespace = rendered.namespace, "applied {kind} {}", rendered.name);
    let uid = applied.metadata.uid.clone();
    context.children(kind).put(applied);
    Ok(uid)
}

/// Brings all objects to what was rendered, in order. One that is refused does not keep the others waiting.
///
/// # Errors
/// The first there was, after all have had their turn.
pub(crate) async fn apply_all(context: &Context, rendered: &[Rendered]) -> Result<(), Error> {
    let mut outcome = Ok(());
    for object in rendered {
        let applied = apply(context, object).await;
        outcome = outcome.and(applied.map(|_| ()));
    }
    outcome
}

/// Deletes the objects of an instance that are of these kinds and were not rendered.
///
/// # Errors
/// When the API server refuses.
pub(crate) async fn prune(
    context: &Context,
    (namespace, component, instance): (&str, Component, &str),
    kinds: &[ChildKind],
    rendered: &[Rendered],
) -> Result<(), Error> {
    let keep: BTreeSet<_> = rendered.iter().map(|object| (object.kind, object.name.as_str())).collect();
    for kind in kinds {
        for child in context.children_of(*kind, namespace, component, instance) {
            let name = child.metadata.name.as_deref().unwrap_or_default();
            // What only looks like the operator's is not its to delete.
            if keep.contains(&(*kind, name)) || child.owned.is_none() || child.metadata.deletion_timestamp.is_some() {
                continue;
            }
            delete(context, *kind, namespace, &child).await?;
        }
    }
    Ok(())
}

async fn delete(context: &Context, kind: ChildKind, namespace: &str, child: &Child) -> Result<(), Error> {
    let name = child.metadata.name.as_deref().unwrap_or_default();
    let api: Api<Child> = Api::namespaced_with(context.client.clone(), namespace, &kind.resource());
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions { uid: child.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    match context.call("delete", kind.kind(), name, api.delete(name, &params)).await {
        Ok(_) => {
            context.metrics.wrote("delete");
            tracing::debug!(namespace, "deleted {kind} {name}");
            Ok(())
        }
        Err(error) if error.is_moot() => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_as_applied(live: &Child, body: &Value) -> bool {
    if live.annotation(APPLIED) != body["metadata"]["annotations"][APPLIED].as_str() {
        return false;
    }
    let fields = live.owned.as_deref().and_then(|fields| serde_json::from_str::<Value>(fields).ok());
    fields.is_some_and(|fields| owned::covers(&fields, body))
}

/// A status to be applied: the object's identity, and what is said of it.
pub(crate) fn status_body(kind: &str, namespace: &str, name: &str, uid: &str, status: &Value) -> Value {
    json!({
        "apiVersion": format!("{}/{}", taffrail_crds::GROUP, taffrail_crds::VERSION),
        "kind": kind,
        // The UID makes sure that it is said of the object that was looked at, and of no later one of its name.
        "metadata": {"namespace": namespace, "name": name, "uid": uid},
        "status": status,
    })
}
