//! What there is: labels, series, metadata, status; as the Prometheus HTTP API has them.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use taffrail_query::{EngineError, Labels};
use taffrail_runtime::VERSION;

use super::params::{ApiError, Params, success};
use super::{App, selector};
use crate::evaluate::matching_series;
use crate::store::Core;

/// Series in one answer, at most.
const MAX_SERIES: usize = 100_000;

/// The most interesting of a ranking.
const TOP: usize = 10;

/// The series that any `match[]` selects.
async fn selected(app: &App, params: &Params) -> Result<Vec<(String, Labels)>, ApiError> {
    let selectors = params.all("match[]").into_iter().map(selector::parse).collect::<Result<Vec<_>, _>>()?;
    let work = move |core: &Core| {
        let mut found = BTreeSet::new();
        for selector in selectors {
            found.extend(matching_series(core, selector.metric.as_deref(), &selector.matchers, MAX_SERIES)?);
        }
        Ok(found.into_iter().collect())
    };
    Ok(app.store.run(work).await?)
}

pub(super) async fn labels(State(app): State<App>, params: Params) -> Result<Json<Value>, ApiError> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    if params.get("match[]").is_none() {
        names.extend(app.store.core().index.read().label_names().into_iter().map(|(name, _)| name));
    } else {
        names.extend(selected(&app, &params).await?.into_iter().flat_map(|(_, labels)| labels.into_keys()));
    }
    names.insert("__name__".to_owned());
    Ok(success(json!(names)))
}

pub(super) async fn label_values(
    State(app): State<App>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    if params.get("match[]").is_some() {
        let series = selected(&app, &params).await?;
        let value = |(metric, mut labels): (String, Labels)| match name.as_str() {
            "__name__" => Some(metric),
            name => labels.remove(name),
        };
        return Ok(success(json!(series.into_iter().filter_map(value).collect::<BTreeSet<_>>())));
    }
    let index = app.store.core().index.read();
    let values = if name == "__name__" { index.metric_names() } else { index.label_values(None, &name) };
    Ok(success(json!(values)))
}

pub(super) async fn series(State(app): State<App>, params: Params) -> Result<Json<Value>, ApiError> {
    params.required("match[]")?;
    let series = selected(&app, &params).await?;
    let with_name = |(metric, mut labels): (String, Labels)| {
        labels.insert("__name__".to_owned(), metric);
        labels
    };
    Ok(success(json!(series.into_iter().map(with_name).collect::<Vec<_>>())))
}

pub(super) async fn metadata(State(app): State<App>, params: Params) -> Result<Json<Value>, ApiError> {
    let limit = params.limit("limit", MAX_SERIES)?;
    let only = params.get("metric");
    let core = app.store.core();
    let metrics = core.index.read().metrics();
    let descriptions = core.descriptions.read();
    let wanted = metrics.iter().filter(|(name, _, _)| only.is_none_or(|only| only == name)).take(limit);
    let data: BTreeMap<&String, Value> = wanted
        .map(|(name, kind, _)| {
            let help = descriptions.get(name).map_or("", |description| &description.help);
            (name, json!([{"type": kind.type_name(), "help": help, "unit": ""}]))
        })
        .collect();
    Ok(success(json!(data)))
}

pub(super) async fn build_info() -> Json<Value> {
    success(json!({"application": "taffrail", "version": VERSION}))
}

pub(super) async fn store_status(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let usage = app.store.clone();
    let (usage, metrics, labels) = app
        .store
        .run(move |core| {
            let index = core.index.read();
            let (metrics, labels) = (index.metrics(), index.label_names());
            drop(index);
            Ok::<_, EngineError>((usage.usage(), metrics, labels))
        })
        .await?;
    let top = |mut counts: Vec<(String, usize)>| {
        counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counts.truncate(TOP);
        counts.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>()
    };
    Ok(success(json!({
        "headStats": {
            "numSeries": usage.series,
            "chunkCount": usage.chunks,
            "numSymbols": usage.symbols,
            "chunkBytes": usage.bytes,
        },
        "seriesCountByMetricName": top(metrics.into_iter().map(|(name, _, series)| (name, series)).collect()),
        "labelValueCountByLabelName": top(labels),
    })))
}
