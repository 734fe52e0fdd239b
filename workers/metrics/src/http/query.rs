//! `/api/v1/query` and `/api/v1/query_range`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use taffrail_query::{MetricsEngine, ShortQuery, TimeRange};

use super::App;
use super::params::{ApiError, Params, success};
use super::text::number;

/// What a function looks back over where the request does not say.
const DEFAULT_WINDOW: Duration = Duration::from_secs(300);

fn query(params: &Params) -> Result<(ShortQuery, Duration), ApiError> {
    let query = params.required("query")?.parse().map_err(|error| ApiError::parameter("query", error))?;
    Ok((query, params.duration("window")?.unwrap_or(DEFAULT_WINDOW)))
}

/// Time in seconds and value, as Prometheus writes them.
fn point(time: i64, value: f64) -> Value {
    let seconds = if time % 1000 == 0 { json!(time / 1000) } else { json!(time as f64 / 1000.0) };
    json!([seconds, number(value)])
}

pub(super) async fn instant(State(app): State<App>, params: Params) -> Result<Json<Value>, ApiError> {
    let (query, window) = query(&params)?;
    let at = params.time("time")?.unwrap_or_else(|| app.store.now());
    let found = app.store.instant(&query, window, at).await?;
    let result: Vec<Value> =
        found.iter().map(|series| json!({"metric": series.labels, "value": point(at, series.value)})).collect();
    Ok(success(json!({"resultType": "vector", "result": result})))
}

pub(super) async fn range(State(app): State<App>, params: Params) -> Result<Json<Value>, ApiError> {
    let (query, window) = query(&params)?;
    let from = params.required_time("start")?;
    let to = params.required_time("end")?;
    if from > to {
        return Err(ApiError::parameter("start", "it is after \"end\""));
    }
    params.required("step")?;
    let step = params.duration("step")?.unwrap_or(DEFAULT_WINDOW);
    let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    let found = app.store.range(&query, window, TimeRange { from, to, step }).await?;
    let result: Vec<Value> = found
        .iter()
        .map(|series| {
            let values: Vec<Value> = series.points.iter().map(|(time, value)| point(*time, *value)).collect();
            json!({"metric": series.labels, "values": values})
        })
        .collect();
    Ok(success(json!({"resultType": "matrix", "result": result})))
}
