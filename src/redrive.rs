//! Sending dead letters again: by the pipelines of this process, or by their workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use reqwest::StatusCode;
use taffrail_crds::ObjectKey;
use taffrail_ingestion::Redriver;
use taffrail_runtime::redrive::{Order, PATH, Redrive, RedriveError, Report};

/// An order takes less than that.
const PATIENCE: Duration = Duration::from_secs(28);

/// The pipelines that run in this process.
#[derive(Clone, Default)]
pub(crate) struct Redrivers(Arc<RwLock<BTreeMap<ObjectKey, Redriver>>>);

impl Redrivers {
    pub(crate) fn set(&self, key: &ObjectKey, redriver: Redriver) {
        self.0.write().insert(key.clone(), redriver);
    }

    pub(crate) fn remove(&self, key: &ObjectKey) {
        self.0.write().remove(key);
    }
}

#[async_trait]
impl Redrive for Redrivers {
    async fn redrive(&self, order: Order) -> Result<Report, RedriveError> {
        let redriver = self.0.read().get(&order.pipeline()).cloned();
        let not_running =
            || RedriveError::Unavailable("the pipeline does not run; see what is wrong with it".to_owned());
        redriver.ok_or_else(not_running)?.redrive(order).await
    }
}

/// Workers in processes of their own.
pub(crate) struct RemoteRedrive {
    client: reqwest::Client,
    /// Their address, with `{name}` and `{namespace}` for the pipeline's.
    address: String,
}

impl RemoteRedrive {
    pub(crate) fn new(address: String) -> anyhow::Result<Self> {
        Ok(Self { client: reqwest::Client::builder().timeout(PATIENCE).build()?, address })
    }
}

#[async_trait]
impl Redrive for RemoteRedrive {
    async fn redrive(&self, order: Order) -> Result<Report, RedriveError> {
        let address = self.address.replace("{name}", &order.name).replace("{namespace}", &order.namespace);
        let address = format!("{}{PATH}", address.trim_end_matches('/'));
        let unavailable = |error: reqwest::Error| {
            let error = anyhow::Error::new(error.without_url());
            RedriveError::Unavailable(format!("the pipeline's worker at {address} does not answer: {error:#}"))
        };
        let response = self.client.post(&address).json(&order).send().await.map_err(unavailable)?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map_err(unavailable);
        }
        let text = response.text().await.unwrap_or_default();
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let message = answer["error"]["message"].as_str().map_or(text.trim(), str::trim).to_owned();
        Err(match status {
            StatusCode::CONFLICT => RedriveError::Busy,
            StatusCode::BAD_REQUEST => RedriveError::Invalid(message),
            StatusCode::SERVICE_UNAVAILABLE => RedriveError::Unavailable(message),
            _ => RedriveError::Unavailable(format!("the pipeline's worker answered {status}: {message}")),
        })
    }
}
