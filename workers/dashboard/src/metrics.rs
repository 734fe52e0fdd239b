//! `/api/v1/metrics/…`: values now and over time.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::Serialize;
use taffrail_query::{Labels, Matcher, ShortQuery, TimeRange};
use utoipa::ToSchema;

use crate::Shared;
use crate::error::{ApiError, ErrorBody};
use crate::params::Params;

const DEFAULT_WINDOW: Duration = Duration::from_secs(300);

/// Points that a series may have; the same as Prometheus'.
const MAX_POINTS: i64 = 11_000;

/// A value now.
#[derive(Serialize, ToSchema)]
pub(crate) struct QueryResponse {
    /// The metric.
    metric: String,
    /// What was made of its samples.
    function: String,
    /// The value; null is *no data*. Of a query with `by` the value of the first series.
    value: Option<f64>,
    /// The window, as it was given.
    duration: String,
    /// The label filters that ask for one value each.
    #[schema(value_type = Object)]
    labels: Labels,
    /// A value for each set of labels, where the query has `by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Vec<ValueOf>>,
}

/// A value of one set of labels.
#[derive(Serialize, ToSchema)]
pub(crate) struct ValueOf {
    /// The labels.
    #[schema(value_type = Object)]
    labels: Labels,
    /// The value.
    value: Option<f64>,
}

/// Values over time.
#[derive(Serialize, ToSchema)]
pub(crate) struct RangeResponse {
    /// The metric.
    metric: String,
    /// First time, Unix seconds.
    from: f64,
    /// Last time, Unix seconds.
    to: f64,
    /// Seconds between values.
    step: f64,
    /// A list of values for each set of labels.
    series: Vec<ValuesOf>,
}

/// Values of one set of labels.
#[derive(Serialize, ToSchema)]
pub(crate) struct ValuesOf {
    /// The labels.
    #[schema(value_type = Object)]
    labels: Labels,
    /// Pairs of Unix seconds and value; times without data are left out.
    #[schema(value_type = Vec<Vec<f64>>)]
    values: Vec<(f64, f64)>,
}

/// What is asked: `query`, or `metric` and `function` and a filter for each label.
fn short_query(params: &mut Params, default_function: Option<&str>) -> Result<ShortQuery, ApiError> {
    if let Some(text) = params.text("query") {
        return Ok(text.parse()?);
    }
    let metric = params.required("metric")?;
    let function = match (params.text("function"), default_function) {
        (Some(function), _) => function,
        (None, Some(function)) => function.to_owned(),
        (None, None) => params.required("function")?,
    };
    let function = function.parse().map_err(|problem| ApiError::parameter("function", problem))?;
    // The parser judges what a metric's name is; nothing but a name may stand there.
    let parsed: ShortQuery = format!("last {metric}").parse().map_err(|error: taffrail_query::QueryError| {
        ApiError::parameter("metric", format!("`{metric}`: {}", error.message))
    })?;
    if parsed.metric != metric {
        return Err(ApiError::parameter("metric", format!("`{metric}` is not the name of a metric")));
    }
    let by = params.text("by").map_or_else(Vec::new, |by| by.split(',').map(|label| label.trim().to_owned()).collect());
    // Every other parameter is a label filter.
    let matchers = params.prefixed("").into_iter().map(|(label, value)| Matcher::equal(label, value)).collect();
    Ok(ShortQuery { function, metric, matchers, by })
}

fn equal_labels(query: &ShortQuery) -> Labels {
    let equal = query.matchers.iter().filter(|matcher| matcher.op.symbol() == "=");
    equal.map(|matcher| (matcher.label.clone(), matcher.value.clone())).collect()
}

/// A number that JSON can carry.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Ask for a value now.
///
/// Either `query` in the short form, or `metric` and `function`; then every other parameter is a label filter.
#[utoipa::path(
    get,
    path = "/api/v1/metrics/query",
    tag = "metrics",
    params(
        ("query" = Option<String>, Query, description = "`rate error_count service=api by host`"),
        ("metric" = Option<String>, Query, description = "The metric, where there is no `query`"),
        ("function" = Option<String>, Query, description = "sum, count, avg, min, max, last, rate, p50 … p99.9"),
        ("by" = Option<String>, Query, description = "Labels, with commas between them"),
        ("duration" = Option<String>, Query, description = "The window: 1h, 30m, 5s; default 5m"),
        ("time" = Option<String>, Query, description = "The end of the window; default now"),
        ("<label>" = Option<String>, Query, description = "Only series whose label has this value"),
    ),
    responses(
        (status = 200, body = QueryResponse),
        (status = 400, body = ErrorBody, description = "A parameter is wrong; the message names it"),
        (status = 422, body = ErrorBody, description = "The query is larger than the engine allows"),
        (status = 503, body = ErrorBody, description = "The metrics engine does not answer"),
    )
)]
pub(crate) async fn query(State(shared): State<Shared>, mut params: Params) -> Result<Json<QueryResponse>, ApiError> {
    let given = params.given().remove("duration").filter(|text| !text.is_empty());
    let window = params.duration("duration")?.unwrap_or(DEFAULT_WINDOW);
    let at = params.time("time")?.unwrap_or_else(|| Timestamp::now().as_millisecond());
    let query = short_query(&mut params, None)?;
    params.finish("query, metric, function, by, duration, time, and labels where there is no `query`")?;
    let found = shared.engine.instant(&query, window, at).await?;
    let value = found.first().and_then(|series| finite(series.value));
    let series = (!query.by.is_empty()).then(|| {
        found.into_iter().map(|series| ValueOf { labels: series.labels, value: finite(series.value) }).collect()
    });
    Ok(Json(QueryResponse {
        function: query.function.to_string(),
        value,
        duration: given.unwrap_or_else(|| taffrail_crds::Duration(window).to_string()),
        labels: equal_labels(&query),
        metric: query.metric,
        series,
    }))
}

/// Ask for values over time.
///
/// Without `function` the mean of the samples in each step.
#[utoipa::path(
    get,
    path = "/api/v1/metrics/range",
    tag = "metrics",
    params(
        ("query" = Option<String>, Query, description = "`rate error_count service=api by host`"),
        ("metric" = Option<String>, Query, description = "The metric, where there is no `query`"),
        ("function" = Option<String>, Query, description = "sum, count, avg, min, max, last, rate, p50 … p99.9; default avg"),
        ("by" = Option<String>, Query, description = "Labels, with commas between them"),
        ("from" = String, Query, description = "First time"),
        ("to" = String, Query, description = "Last time"),
        ("step" = Option<String>, Query, description = "Seconds between values, or 30s, 1m; default a 240th of the range"),
        ("duration" = Option<String>, Query, description = "The window; default one step"),
        ("<label>" = Option<String>, Query, description = "Only series whose label has this value"),
    ),
    responses(
        (status = 200, body = RangeResponse),
        (status = 400, body = ErrorBody, description = "A parameter is wrong; the message names it"),
        (status = 422, body = ErrorBody, description = "The query is larger than the engine allows"),
        (status = 503, body = ErrorBody, description = "The metrics engine does not answer"),
    )
)]
pub(crate) async fn range(State(shared): State<Shared>, mut params: Params) -> Result<Json<RangeResponse>, ApiError> {
    let span = params.span()?;
    let from = span.from.ok_or_else(|| ApiError::parameter("from", "is missing"))?;
    let to = span.to.ok_or_else(|| ApiError::parameter("to", "is missing"))?;
    let step = params.step("step")?.unwrap_or_else(|| default_step(to - from));
    let window = params.duration("duration")?.unwrap_or(step);
    let query = short_query(&mut params, Some("avg"))?;
    params.finish("query, metric, function, by, from, to, step, duration, and labels where there is no `query`")?;
    let step_millis = i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1);
    let points = (to - from) / step_millis + 1;
    if points > MAX_POINTS {
        return Err(ApiError::parameter(
            "step",
            format!("makes {points} points, {MAX_POINTS} are the most; make it longer"),
        ));
    }
    let found = shared.engine.range(&query, window, TimeRange { from, to, step: step_millis }).await?;
    let series = found
        .into_iter()
        .map(|series| ValuesOf {
            labels: series.labels,
            values: series
                .points
                .into_iter()
                .filter(|(_, value)| value.is_finite())
                .map(|(time, value)| (seconds(time), value))
                .collect(),
        })
        .collect();
    Ok(Json(RangeResponse {
        metric: query.metric,
        from: seconds(from),
        to: seconds(to),
        step: step.as_secs_f64(),
        series,
    }))
}

/// A 240th of the range, in whole seconds.
fn default_step(length: i64) -> Duration {
    Duration::from_secs(u64::try_from(length / 240_000).unwrap_or(0).max(1))
}

#[allow(clippy::cast_precision_loss)] // Milliseconds since 1970 are far below 2^53.
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

/// List the names of all metrics.
#[utoipa::path(get, path = "/api/v1/metrics/names", tag = "metrics",
    responses((status = 200, description = "`{\"metrics\": [name, …]}`"), (status = 503, body = ErrorBody)))]
pub(crate) async fn names(State(shared): State<Shared>) -> Result<Json<BTreeMap<&'static str, Vec<String>>>, ApiError> {
    Ok(Json(BTreeMap::from([("metrics", shared.engine.metric_names().await?)])))
}

/// List the values of a label.
#[utoipa::path(get, path = "/api/v1/metrics/labels/{label}/values", tag = "metrics",
    params(
        ("label" = String, Path, description = "The label"),
        ("metric" = Option<String>, Query, description = "Only of this metric"),
    ),
    responses((status = 200, description = "`{\"values\": [value, …]}`"), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn label_values(
    State(shared): State<Shared>,
    Path(label): Path<String>,
    mut params: Params,
) -> Result<Json<BTreeMap<&'static str, Vec<String>>>, ApiError> {
    let metric = params.text("metric");
    params.finish("metric")?;
    Ok(Json(BTreeMap::from([("values", shared.engine.label_values(metric.as_deref(), &label).await?)])))
}
