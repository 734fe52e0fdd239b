//! The controllers: one file each, and what they share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{DeserializeGuard, error_boundary::InvalidObject};
use serde_json::{Value, json};
use taffrail_crds::Object;

use crate::FIELD_MANAGER;
use crate::apply::status_body;
use crate::child::Child;
use crate::config::Config;
use crate::context::{Context, Own};
use crate::error::Error;
use crate::queue::Work;
use crate::resources::Owner;
use crate::status::{Verdict, Why};
use crate::watch;

mod dashboard;
mod namespace;
mod pipeline;
mod rollout;
mod rule;
pub(crate) mod tally;

/// When to look again at an object whose workers have just been asked.
const SOON: Duration = Duration::from_secs(1);

/// When to look again whether a namespace can be looked after.
const LATER: Duration = Duration::from_secs(5);

/// What the operator objects to in an object, whatever else there is in the cluster.
pub(crate) fn objection(config: &Config, object: &Object) -> Option<String> {
    let objection = match object {
        Object::LogPipeline(pipeline) => pipeline::objection(config, pipeline),
        Object::Dashboard(dashboard) => dashboard::validate(dashboard).err(),
        Object::AlertRule(_) | Object::Secret(_) => None,
    };
    objection.map(|why| why.message)
}

/// Does work as it becomes due, for good.
pub(crate) async fn work(context: Arc<Context>) {
    loop {
        let work = context.queue.next().await;
        context.metrics.queued(context.queue.len());
        if !watch::looks_after(&context, work.namespace()) {
            context.queue.done(&work, Ok(Some(LATER)));
            continue;
        }
        let began = Instant::now();
        let outcome = match &work {
            Work::Pipeline { namespace, name } => pipeline::reconcile(&context, namespace, name).await,
            Work::Rule { namespace, name } => rule::reconcile(&context, namespace, name).await,
            Work::Dashboard { namespace, name } => dashboard::reconcile(&context, namespace, name).await,
            Work::Namespace { namespace } => namespace::reconcile(&context, namespace).await,
        };
        let failure = outcome.as_ref().err().filter(|error| !error.is_moot());
        context.metrics.reconciled(work.controller(), began.elapsed(), failure.map(Error::label));
        let outcome = match outcome {
            Ok(again) => Ok(again),
            Err(error) if error.is_moot() => {
                tracing::debug!(%work, %error, "there is nothing left to do");
                // The namespace may yet be made anew, or the object not be gone after all.
                Ok(Some(Duration::from_secs(60)))
            }
            Err(error) => {
                tracing::warn!(%work, %error, "will be tried again");
                Err(())
            }
        };
        context.queue.done(&work, outcome);
    }
}

/// Who an object is.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    kind: &'static str,
    namespace: String,
    name: String,
    uid: String,
    generation: Option<i64>,
}

impl Subject {
    fn new<K: Own>(metadata: &ObjectMeta) -> Self {
        Self {
            kind: K::KIND,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation,
        }
    }

    fn api_version() -> String {
        format!("{}/{}", taffrail_crds::GROUP, taffrail_crds::VERSION)
    }

    /// The object as the owner of others.
    fn owner(&self) -> Owner {
        Owner { api_version: Self::api_version(), kind: self.kind, name: self.name.clone(), uid: self.uid.clone() }
    }

    fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(Self::api_version()),
            kind: Some(self.kind.to_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(self.name.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// An object to look at, or what to say where it can't be read; nothing when it is gone or about to go.
async fn find<K: Own>(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<(Arc<DeserializeGuard<K>>, Subject)>, Error> {
    let Some(object) = K::cache(context).get(namespace, name) else { return Ok(None) };
    let metadata = kube::Resource::meta(object.as_ref());
    if metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let subject = Subject::new::<K>(metadata);
    if let DeserializeGuard(Err(invalid)) = object.as_ref() {
        report_invalid::<K>(context, &subject, invalid).await?;
        return Ok(None);
    }
    Ok(Some((object, subject)))
}

/// Says in the status of an object that it can't be read. What was made of it before is left as it is.
///
/// Such an object is nothing the API server could merge by its schema, so this is a plain patch of what is said.
async fn report_invalid<K: Own>(context: &Context, subject: &Subject, invalid: &InvalidObject) -> Result<(), Error> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &subject.namespace, &kube::api::ApiResource::erase::<K>(&()));
    let Some(live) = context.call("read", subject.kind, &subject.name, api.get_opt(&subject.name)).await? else {
        return Ok(());
    };
    let status = live.data.get("status").cloned().unwrap_or_default();
    let before: Vec<Condition> = serde_json::from_value(status["conditions"].clone()).unwrap_or_default();
    let why = Why::new("InvalidSpec", format!("the object can't be read: {}", invalid.error));
    let after = Verdict::degraded(why).conditions(&before, subject.generation, Timestamp::now());
    if before == after && status["observedGeneration"].as_i64() == subject.generation {
        return Ok(());
    }
    let patch = json!({
        "metadata": {"uid": subject.uid},
        "status": {"conditions": after, "observedGeneration": subject.generation},
    });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(&patch);
    let write = api.patch_status(&subject.name, &params, &patch);
    let written = context.call("write the status of", subject.kind, &subject.name, write).await;
    if written.is_ok() {
        context.metrics.wrote("status");
    }
    // What the API server holds against the object it may hold against any write to it: an Event is what is left then.
    context.events.tell(&subject.reference(), &before, &after).await;
    written.map(drop)
}

/// Applies a status, and tells of what has turned.
async fn write_status<K: Own>(
    context: &Context,
    subject: &Subject,
    status: &Value,
    before: &[Condition],
    after: &[Condition],
) -> Result<(), Error> {
    let api: Api<DeserializeGuard<K>> = Api::namespaced(context.client.clone(), &subject.namespace);
    let body = status_body(subject.kind, &subject.namespace, &subject.name, &subject.uid, status);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&body);
    let write = api.patch_status(&subject.name, &params, &patch);
    let mut written = context.call("write the status of", subject.kind, &subject.name, write).await?;
    context.metrics.wrote("status");
    kube::Resource::meta_mut(&mut written).managed_fields = None;
    K::cache(context).put(written);
    context.events.tell(&subject.reference(), before, after).await;
    Ok(())
}

/// What keeps a pod from running that does not pass by itself.
pub(crate) fn trouble(pod: &Child) -> Option<Why> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(scheduled) = pod.condition("PodScheduled")
        && scheduled["status"] == "False"
        && scheduled["reason"] == "Unschedulable"
    {
        return Some(Why::new("Unschedulable", format!("pod {name} finds no node: {}", text(scheduled, "message"))));
    }
    let lists =
        ["initContainerStatuses", "containerStatuses"].into_iter().filter_map(|key| pod.status.get(key)?.as_array());
    lists.flatten().find_map(|container| {
        let waiting = container.get("state")?.get("waiting")?;
        let reason = match waiting.get("reason")?.as_str()? {
            "CrashLoopBackOff" => "CrashLooping",
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => "ImagePullFailed",
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => "ContainerFailed",
            _ => return None,
        };
        let container = text(container, "name");
        let message = text(waiting, "message");
        Some(Why::new(reason, format!("container {container} of pod {name} does not run: {message}")))
    })
}

/// What to say of Secrets that are not there.
fn secret_not_found(missing: &[String]) -> Option<Why> {
    let (first, more) = missing.split_first()?;
    let names = more.iter().fold(format!("`{first}`"), |names, name| format!("{names}, `{name}`"));
    let (noun, verb) = if more.is_empty() { ("Secret", "is") } else { ("Secrets", "are") };
    let message = format!("the {noun} {names} {verb} not there; create what is missing, or name another one");
    Some(Why::new("SecretNotFound", message))
}
