//! The store as an engine that answers queries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use taffrail_query::{EngineError, InstantSeries, MetricsEngine, RangeSeries, ShortQuery, TimeRange};

use crate::evaluate::{Limits, evaluate};
use crate::store::{Core, Store};

impl Store {
    /// Runs something that may take long away from the threads that serve connections, few at a time.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let core = Arc::clone(self.core());
        let _permit =
            self.core().queries.acquire().await.map_err(|error| EngineError::Unavailable(error.to_string()))?;
        let done = tokio::task::spawn_blocking(move || work(&core)).await;
        done.unwrap_or_else(|error| Err(EngineError::Unavailable(format!("the work broke off: {error}"))))
    }
}

#[async_trait]
impl MetricsEngine for Store {
    async fn instant(&self, query: &ShortQuery, window: Duration, at: i64) -> Result<Vec<InstantSeries>, EngineError> {
        let found = self.range(query, window, TimeRange { from: at, to: at, step: 1 }).await?;
        let value =
            |series: RangeSeries| Some(InstantSeries { value: series.points.first()?.1, labels: series.labels });
        Ok(found.into_iter().filter_map(value).collect())
    }

    async fn range(
        &self,
        query: &ShortQuery,
        window: Duration,
        range: TimeRange,
    ) -> Result<Vec<RangeSeries>, EngineError> {
        let query = query.clone();
        let start = Instant::now();
        let outcome = self.run(move |core| evaluate(core, &query, window, range, &Limits::default())).await;
        let word = match &outcome {
            Ok(_) => "answered",
            Err(EngineError::TooLarge(_)) => "too_large",
            Err(EngineError::Invalid(_)) => "invalid",
            Err(EngineError::Unavailable(_)) => "failed",
        };
        self.core().own.query(word, start.elapsed().as_secs_f64());
        outcome
    }

    async fn metric_names(&self) -> Result<Vec<String>, EngineError> {
        Ok(self.core().index.read().metric_names())
    }

    async fn label_values(&self, metric: Option<&str>, label: &str) -> Result<Vec<String>, EngineError> {
        Ok(self.core().index.read().label_values(metric, label))
    }
}
