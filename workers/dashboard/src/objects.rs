//! `/api/v1/alerts`, `/rules`, `/dashboards`, `/pipelines`: the objects, and what their workers say of them.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use taffrail_crds::{Kind, Object};
use taffrail_runtime::Entry;

use crate::Shared;
use crate::error::{ApiError, ErrorBody};

fn spec(object: &Object) -> Value {
    // These types hold nothing that JSON can't carry; null stands for the impossible.
    match object {
        Object::LogPipeline(object) => serde_json::to_value(&object.spec),
        Object::AlertRule(object) => serde_json::to_value(&object.spec),
        Object::Dashboard(object) => serde_json::to_value(&object.spec),
        Object::Secret(_) => Ok(Value::Null),
    }
    .unwrap_or_default()
}

/// Whether the worker says `Ready`, and its message.
fn readiness(status: Option<&Value>) -> (bool, Option<String>) {
    let conditions = status.and_then(|status| status["conditions"].as_array());
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    match ready {
        Some(ready) => {
            let message = ready["message"].as_str().filter(|message| !message.is_empty());
            (ready["status"] == "True", message.map(str::to_owned))
        }
        None => (false, Some("no worker has loaded it yet".to_owned())),
    }
}

fn shown_name(object: &Object) -> String {
    let title = match object {
        Object::AlertRule(rule) => rule.spec.name.clone(),
        Object::Dashboard(dashboard) => dashboard.spec.title.clone(),
        Object::LogPipeline(_) | Object::Secret(_) => None,
    };
    title.unwrap_or_else(|| object.key().name)
}

fn with_status(entry: &Entry) -> Value {
    let key = entry.object.key();
    let (ready, message) = readiness(entry.status.as_ref());
    json!({
        "namespace": key.namespace,
        "name": key.name,
        "title": shown_name(&entry.object),
        "spec": spec(&entry.object),
        "status": entry.status,
        "ready": ready,
        "message": message,
    })
}

/// List alerts.
///
/// Firing, pending, and those that resolved not long ago; the gravest and newest first.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts",
    responses((status = 200, description = "`{\"alerts\": [{rule, namespace, state, labels, annotations, value, activeAt, firedAt, resolvedAt, query, threshold, operator}]}`")))]
pub(crate) async fn alerts(State(shared): State<Shared>) -> Json<Value> {
    let mut alerts = Vec::new();
    for entry in shared.board.list(Kind::AlertRule) {
        let Object::AlertRule(rule) = &entry.object else { continue };
        let found = entry.status.as_ref().and_then(|status| status["alerts"].as_array());
        for alert in found.into_iter().flatten() {
            let mut alert = alert.clone();
            alert["rule"] = shown_name(&entry.object).into();
            alert["namespace"] = entry.object.key().namespace.into();
            alert["query"] = rule.spec.query.clone().or_else(|| rule.spec.expr.clone()).into();
            alert["threshold"] = rule.spec.threshold.into();
            alert["operator"] = rule.spec.operator.map(taffrail_crds::Comparison::symbol).into();
            alerts.push(alert);
        }
    }
    let gravity = |alert: &Value| match alert["state"].as_str() {
        Some("Firing") => 0,
        Some("Pending") => 1,
        _ => 2,
    };
    let since = |alert: &Value| {
        let key = if gravity(alert) == 2 { "resolvedAt" } else { "activeAt" };
        alert[key].as_str().unwrap_or_default().to_owned()
    };
    alerts.sort_by_cached_key(|alert| (gravity(alert), std::cmp::Reverse(since(alert))));
    Json(json!({"alerts": alerts}))
}

/// List rules.
///
/// Each with its spec and the status that the rule worker reports, and what is wrong with files that hold objects.
#[utoipa::path(get, path = "/api/v1/rules", tag = "alerts",
    responses((status = 200, description = "`{\"rules\": [{namespace, name, title, spec, status, ready, message}], \"problems\": [{file, line, column, message}]}`")))]
pub(crate) async fn rules(State(shared): State<Shared>) -> Json<Value> {
    let rules: Vec<_> = shared.board.list(Kind::AlertRule).iter().map(with_status).collect();
    Json(json!({"rules": rules, "problems": shared.board.problems()}))
}

/// List pipelines.
///
/// Each with its spec and the status that its ingestion workers report.
#[utoipa::path(get, path = "/api/v1/pipelines", tag = "pipelines",
    responses((status = 200, description = "`{\"pipelines\": [{namespace, name, title, spec, status, ready, message}], \"problems\": [{file, line, column, message}]}`")))]
pub(crate) async fn pipelines(State(shared): State<Shared>) -> Json<Value> {
    let pipelines: Vec<_> = shared.board.list(Kind::LogPipeline).iter().map(with_status).collect();
    Json(json!({"pipelines": pipelines, "problems": shared.board.problems()}))
}

/// List dashboards.
#[utoipa::path(get, path = "/api/v1/dashboards", tag = "dashboards",
    responses((status = 200, description = "`{\"dashboards\": [{namespace, name, title, panels}]}`")))]
pub(crate) async fn dashboards(State(shared): State<Shared>) -> Json<Value> {
    let summary = |entry: &Entry| {
        let key = entry.object.key();
        let panels = match &entry.object {
            Object::Dashboard(dashboard) => dashboard.spec.panels.len(),
            _ => 0,
        };
        json!({"namespace": key.namespace, "name": key.name, "title": shown_name(&entry.object), "panels": panels})
    };
    let dashboards: Vec<_> = shared.board.list(Kind::Dashboard).iter().map(summary).collect();
    Json(json!({"dashboards": dashboards}))
}

/// Get a dashboard.
///
/// By name; where several namespaces have one of that name, by `<namespace>.<name>`.
#[utoipa::path(get, path = "/api/v1/dashboards/{name}", tag = "dashboards",
    params(("name" = String, Path, description = "The object's name")),
    responses((status = 200, description = "`{namespace, name, title, spec, generation}`"), (status = 404, body = ErrorBody)))]
pub(crate) async fn dashboard(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let found = shared.board.list(Kind::Dashboard).into_iter().find(|entry| {
        let key = entry.object.key();
        key.name == name || format!("{}.{}", key.namespace, key.name) == name
    });
    let entry = found.ok_or_else(|| ApiError::not_found(format!("there is no dashboard `{name}`")))?;
    let key = entry.object.key();
    Ok(Json(json!({
        "namespace": key.namespace,
        "name": key.name,
        "title": shown_name(&entry.object),
        "spec": spec(&entry.object),
        "generation": entry.object.metadata().generation,
    })))
}
