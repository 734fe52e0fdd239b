//! The workers of one LogPipeline.

use serde_json::{Value, json};
use taffrail_crds::LogPipeline;

use super::pod::{CONFIG_DIR, DATA_DIR, SECRETS_DIR, Worker};
use super::{Component, Identity, Owner, Rendered, TELEMETRY_PORT, metrics_url, network, service};
use crate::child::ChildKind;
use crate::config::Config;
use crate::hash;
use crate::merge::{self, TemplateError};

/// The file in the ConfigMap, and so in [`CONFIG_DIR`].
const FILE: &str = "pipeline.yaml";
/// The name of the port of an http source.
const HTTP: &str = "http";

/// What the rendering needs to know beside the pipeline.
pub(crate) struct Surroundings<'a> {
    pub(crate) config: &'a Config,
    /// The Secrets that the pipeline names, in order.
    pub(crate) secrets: &'a [String],
    /// The hash of what is in them.
    pub(crate) secrets_hash: &'a str,
}

/// All objects of a pipeline, and the hash of what its workers are started with.
///
/// # Errors
/// When the pod template of the pipeline does not fit over what is rendered.
pub(crate) fn render(
    pipeline: &LogPipeline,
    namespace: &str,
    owner: &Owner,
    around: &Surroundings<'_>,
) -> Result<(Vec<Rendered>, String), TemplateError> {
    let of = Identity { namespace, component: Component::Ingestion, instance: &owner.name };
    let name = of.workload();
    let owners = std::slice::from_ref(owner);
    let http = pipeline.spec.source.http.as_ref().map(|http| (HTTP, http.port));
    let content_hash = content_hash(pipeline, around.secrets_hash);
    let args = [
        "ingestion",
        &format!("{CONFIG_DIR}/{FILE}"),
        "--metrics",
        &metrics_url(namespace),
        "--secrets",
        SECRETS_DIR,
        "--data",
        DATA_DIR,
        "--listen",
        &format!("0.0.0.0:{TELEMETRY_PORT}"),
    ];
    let worker = Worker {
        of,
        args: args.map(str::to_owned).to_vec(),
        ports: http.into_iter().collect(),
        account: None,
        config_map: Some(name.clone()),
        secrets: around.secrets,
        claim: None,
        content_hash: content_hash.clone(),
    };
    let mut template = worker.template(around.config);
    if let Some(patch) = &pipeline.spec.template {
        let fixed = template["metadata"].clone();
        template = merge::template(template, &Value::Object(patch.clone()))?;
        // By these the operator knows its pods; a template adds to them.
        merge::over(&mut template["metadata"], &fixed);
    }
    let mut spec = json!({
        "selector": {"matchLabels": of.selector()},
        "revisionHistoryLimit": 3,
        // One more before one less: partitions move once, and a new version that does not start harms nothing.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": template,
    });
    // Where the pipeline does not say how many, somebody else may: an autoscaler, or `kubectl scale`.
    if let Some(replicas) = pipeline.spec.replicas {
        spec["replicas"] = replicas.into();
    }
    let budget = json!({"spec": {"maxUnavailable": 1, "selector": {"matchLabels": of.selector()}}});
    let file = json!({"data": {FILE: file(pipeline, namespace)}});
    let open: Vec<_> = http.iter().map(|(_, port)| *port).collect();
    let all = vec![
        // First, so that no pod runs without it.
        network::policy(&of, owners, &open, around.config),
        Rendered::new(ChildKind::ConfigMap, &name, &of, owners, file),
        Rendered::new(ChildKind::DisruptionBudget, &name, &of, owners, budget),
        Rendered::new(ChildKind::Deployment, &name, &of, owners, json!({"spec": spec})),
        // The dashboard worker asks it to send dead letters again.
        service(&of, owners, &http.into_iter().collect::<Vec<_>>()),
    ];
    Ok((all, content_hash))
}

/// The pipeline as its workers read it. JSON is YAML, and the same text every time.
fn file(pipeline: &LogPipeline, namespace: &str) -> String {
    let metadata = &pipeline.metadata;
    let object = json!({
        "apiVersion": "taffrail.dev/v1alpha1",
        "kind": "LogPipeline",
        "metadata": {"name": metadata.name, "namespace": namespace, "generation": metadata.generation},
        "spec": worker_spec(pipeline),
    });
    serde_json::to_string_pretty(&object).unwrap_or_default()
}

/// The part of the spec that workers go by: not how many there are, nor how their pods look.
fn worker_spec(pipeline: &LogPipeline) -> Value {
    let mut spec = serde_json::to_value(&pipeline.spec).unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        for key in ["replicas", "autoscaling", "template"] {
            spec.remove(key);
        }
    }
    spec
}

/// What workers are started anew for. The generation is not part of it: scaling harms no worker.
fn content_hash(pipeline: &LogPipeline, secrets_hash: &str) -> String {
    hash::of_json(&json!([worker_spec(pipeline), secrets_hash]))
}
