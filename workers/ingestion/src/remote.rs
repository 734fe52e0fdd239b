//! The metrics worker, asked over the network.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use taffrail_runtime::deltas::{Counted, Message, PATH, Series};

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
    async fn push(&self, batch: DeltaBatch) -> Result<(), PushError> {
        self.ask(self.client.post(self.address.clone()).json(&message(batch))).await.map(drop)
    }

    async fn counted(&self, source: &str) -> Result<Option<u64>, PushError> {
        let response = self.ask(self.client.get(self.address.clone()).query(&[("source", source)])).await?;
        let answer: Result<Counted, _> = response.json().await;
        answer.map(|answer| answer.counted).map_err(|error| PushError::Unavailable(error.without_url().to_string()))
    }
}

fn message(batch: DeltaBatch) -> Message {
    let mut series: Vec<Series> = Vec::new();
    // Deltas of one series share their labels: the address tells them apart, and is cheaper to look up.
    let mut places: HashMap<(*const u8, *const BTreeMap<String, String>), u32> = HashMap::new();
    let mut samples = Vec::with_capacity(batch.deltas.len());
    for delta in &batch.deltas {
        let key = (delta.metric.as_ptr(), Arc::as_ptr(&delta.labels));
        let place = *places.entry(key).or_insert_with(|| {
            series.push(Series { metric: delta.metric.clone(), kind: delta.kind, labels: delta.labels.clone() });
            // A batch has far fewer records than that.
            u32::try_from(series.len() - 1).unwrap_or(u32::MAX)
        });
        samples.push((place, delta.timestamp, delta.value));
    }
    Message { origin: batch.origin, series, samples }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delta, DeltaKind};

    #[test]
    fn deltas_of_one_series_name_it_once() {
        let metric: Arc<str> = "errors".into();
        let labels = |service: &str| Arc::new(BTreeMap::from([("service".to_owned(), service.to_owned())]));
        let (api, web) = (labels("api"), labels("web"));
        let delta = |labels: &Arc<BTreeMap<String, String>>, timestamp, value| Delta {
            metric: metric.clone(),
            kind: DeltaKind::Counter,
            labels: labels.clone(),
            timestamp,
            value,
            offset: 3,
        };
        let origin = Some(crate::Origin { source: "s".into(), first: 3, next: 6 });
        let batch = DeltaBatch { origin, deltas: vec![delta(&api, 1, 1.0), delta(&web, 2, 1.0), delta(&api, 3, 2.5)] };
        let text = serde_json::to_string(&message(batch)).expect("JSON");
        let expected = concat!(
            r#"{"origin":{"source":"s","first":3,"next":6},"#,
            r#""series":[{"metric":"errors","kind":"counter","labels":{"service":"api"}},"#,
            r#"{"metric":"errors","kind":"counter","labels":{"service":"web"}}],"#,
            r#""samples":[[0,1,1.0],[1,2,1.0],[0,3,2.5]]}"#,
        );
        assert_eq!(text, expected);
    }
}
