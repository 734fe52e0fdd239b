//! An engine in another process, asked over its HTTP interface.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{EngineError, InstantSeries, Labels, MetricsEngine, RangeSeries, ShortQuery, TimeRange};

/// The longest that a question may take; longer than the engine's own limit.
const PATIENCE: Duration = Duration::from_secs(35);

/// A metrics worker at an address.
pub struct RemoteEngine {
    client: Client,
    base: Url,
}

/// An answer in Prometheus' envelope.
#[derive(Deserialize)]
struct Answer<T> {
    data: Option<T>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Found<T> {
    result: Vec<T>,
}

/// Seconds since 1970, and the value as text.
type Point = (f64, String);

#[derive(Deserialize)]
struct Instant {
    metric: Labels,
    value: Point,
}

#[derive(Deserialize)]
struct Range {
    metric: Labels,
    values: Vec<Point>,
}

impl RemoteEngine {
    /// `base` is the worker's address, such as `http://taffrail-metrics:9090`.
    ///
    /// # Errors
    /// When there is no HTTP client.
    pub fn new(base: Url) -> Result<Self, EngineError> {
        let client = Client::builder().timeout(PATIENCE).build();
        Ok(Self { client: client.map_err(|error| EngineError::Unavailable(error.to_string()))?, base })
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, parameters: &[(&str, String)]) -> Result<T, EngineError> {
        let unavailable = |error: reqwest::Error| EngineError::Unavailable(error.without_url().to_string());
        let address = self.base.join(path).map_err(|error| EngineError::Unavailable(error.to_string()))?;
        let response = self.client.get(address).query(parameters).send().await.map_err(unavailable)?;
        let status = response.status().as_u16();
        let answer: Answer<T> = response.json().await.map_err(unavailable)?;
        match (answer.data, status) {
            (Some(data), 200) => Ok(data),
            (_, 400) => Err(EngineError::Invalid(answer.error.unwrap_or_default())),
            (_, 422) => Err(EngineError::TooLarge(answer.error.unwrap_or_default())),
            _ => Err(EngineError::Unavailable(answer.error.unwrap_or_else(|| format!("it answers {status}")))),
        }
    }
}

fn millis(seconds: f64) -> i64 {
    // Times are whole milliseconds, far below 2^53.
    (seconds * 1_000.0).round() as i64
}

fn seconds(millis: i64) -> String {
    let (whole, rest) = (millis.div_euclid(1_000), millis.rem_euclid(1_000));
    if millis < 0 { format!("{}", millis as f64 / 1_000.0) } else { format!("{whole}.{rest:03}") }
}

fn number(text: &str) -> Result<f64, EngineError> {
    text.parse().map_err(|_| EngineError::Unavailable(format!("it answers with `{text}`, which is no number")))
}

#[async_trait]
impl MetricsEngine for RemoteEngine {
    async fn instant(&self, query: &ShortQuery, window: Duration, at: i64) -> Result<Vec<InstantSeries>, EngineError> {
        let parameters =
            [("query", query.to_string()), ("window", format!("{}ms", window.as_millis())), ("time", seconds(at))];
        let found: Found<Instant> = self.ask("/api/v1/query", &parameters).await?;
        found
            .result
            .into_iter()
            .map(|series| Ok(InstantSeries { labels: series.metric, value: number(&series.value.1)? }))
            .collect()
    }

    async fn range(
        &self,
        query: &ShortQuery,
        window: Duration,
        range: TimeRange,
    ) -> Result<Vec<RangeSeries>, EngineError> {
        let parameters = [
            ("query", query.to_string()),
            ("window", format!("{}ms", window.as_millis())),
            ("start", seconds(range.from)),
            ("end", seconds(range.to)),
            ("step", format!("{}ms", range.step)),
        ];
        let found: Found<Range> = self.ask("/api/v1/query_range", &parameters).await?;
        let point = |(time, value): &Point| Ok((millis(*time), number(value)?));
        found
            .result
            .into_iter()
            .map(|series| {
                let points = series.values.iter().map(point).collect::<Result<_, EngineError>>()?;
                Ok(RangeSeries { labels: series.metric, points })
            })
            .collect()
    }

    async fn metric_names(&self) -> Result<Vec<String>, EngineError> {
        self.ask("/api/v1/label/__name__/values", &[]).await
    }

    async fn label_values(&self, metric: Option<&str>, label: &str) -> Result<Vec<String>, EngineError> {
        let parameters: Vec<_> =
            metric.map(|metric| ("match[]", format!("{{__name__={metric:?}}}"))).into_iter().collect();
        self.ask(&format!("/api/v1/label/{label}/values"), &parameters).await
    }
}
