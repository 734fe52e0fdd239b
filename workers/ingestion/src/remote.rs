//! The metrics worker, asked over the network.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use taffrail_runtime::deltas::{Changes, Counted, Message, PATH};

use crate::{DeltaBatch, MetricsSink, PushError};

/// The longest that a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A metrics worker at an address.
pub struct RemoteMetrics {
    client: Client,
    address: Url,
}

impl RemoteMetrics {
    /// `base` is the worker's address, such as `http://taffrail-metrics:9090`.
    ///
    /// # Errors
    /// When the address can't be one, or there is no HTTP client.
    pub fn new(base: &Url) -> Result<Self, PushError> {
        let unusable = |error: String| PushError::Refused(format!("no way to {base}: {error}"));
        let client = Client::builder().timeout(PATIENCE).build().map_err(|error| unusable(error.to_string()))?;
        let address = base.join(PATH).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { client, address })
    }

    async fn ask(&self, request: RequestBuilder) -> Result<reqwest::Response, PushError> {
        let unavailable = |error: reqwest::Error| PushError::Unavailable(error.without_url().to_string());
        let response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        if status == StatusCode::CONFLICT
            && let Ok(Counted { counted: Some(counted) }) = serde_json::from_str(&text)
        {
            return Err(PushError::Overlap(counted));
        }
        let message = format!("{} answered {status}: {}", self.address, text.trim());
        // Anything else may be a proxy on the way, or a worker that is about to start.
        let is_final = matches!(
            status,
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
        );
        Err(if is_final { PushError::Refused(message) } else { PushError::Unavailable(message) })
    }
}

#[async_trait]
impl MetricsSink for RemoteMetrics {
    async fn push(&self, batch: &DeltaBatch) -> Result<(), PushError> {
        self.ask(self.client.post(self.address.clone()).json(&message(batch))).await.map(drop)
    }

    async fn counted(&self, source: &str) -> Result<Option<u64>, PushError> {
        let response = self.ask(self.client.get(self.address.clone()).query(&[("source", source)])).await?;
        let answer: Result<Counted, _> = response.json().await;
        answer.map(|answer| answer.counted).map_err(|error| PushError::Unavailable(error.without_url().to_string()))
    }
}

fn message(batch: &DeltaBatch) -> Message {
    let mut series: Vec<(Changes, i64)> = batch.series.iter().map(|series| (Changes::new(series.clone()), 0)).collect();
    for delta in &batch.deltas {
        let (changes, last) = &mut series[delta.series as usize];
        changes.push(last, delta.timestamp, delta.value);
    }
    Message { origin: batch.origin.clone(), series: series.into_iter().map(|(changes, _)| changes).collect() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::{Delta, DeltaKind, Series};

    #[test]
    fn deltas_of_one_series_name_it_once() {
        let series = |service: &str| Series {
            metric: "errors".into(),
            kind: DeltaKind::Counter,
            labels: Arc::new(BTreeMap::from([("service".to_owned(), service.to_owned())])),
        };
        let delta = |series, timestamp, value| Delta { series, timestamp, value, offset: 3 };
        let batch = DeltaBatch {
            origin: Some(crate::Origin { source: "s".into(), first: 3, next: 6 }),
            series: vec![series("api"), series("web")],
            deltas: vec![delta(0, 100, 1.0), delta(1, 200, 1.0), delta(0, 103, 2.5)],
        };
        let text = serde_json::to_string(&message(&batch)).expect("JSON");
        let expected = concat!(
            r#"{"origin":{"source":"s","first":3,"next":6},"series":["#,
            r#"{"metric":"errors","kind":"counter","labels":{"service":"api"},"times":[100,3],"values":[1.0,2.5]},"#,
            r#"{"metric":"errors","kind":"counter","labels":{"service":"web"},"times":[200]}]}"#,
        );
        assert_eq!(text, expected);
    }
}
