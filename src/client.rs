//! Asking a running Taffrail over its REST API.

use anyhow::{Context, bail};
use reqwest::{RequestBuilder, Url};
use serde_json::Value;

/// Where a running Taffrail is, and how to be let in.
#[derive(clap::Args, Clone)]
pub(crate) struct Server {
    /// Address of the REST API
    #[arg(long, env = "TAFFRAIL_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// API key, where the server asks for one
    #[arg(long, env = "TAFFRAIL_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

impl Server {
    /// The answer to a GET of `/api/v1/<path>`.
    pub(crate) async fn get(
        &self,
        client: &reqwest::Client,
        path: &str,
        parameters: &[(&str, String)],
    ) -> anyhow::Result<Value> {
        self.send(client.get(self.address(path)?).query(parameters)).await
    }

    /// The answer to a POST to `/api/v1/<path>`.
    pub(crate) async fn post(&self, client: &reqwest::Client, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(client.post(self.address(path)?).json(body)).await
    }

    fn address(&self, path: &str) -> anyhow::Result<Url> {
        let address = format!("{}/api/v1/{path}", self.url.trim_end_matches('/'));
        address.parse().with_context(|| format!("`{}` is no address (see --url)", self.url))
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let request = match &self.api_key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let url = &self.url;
        let response = request
            .send()
            .await
            .with_context(|| format!("could not ask {url}; is Taffrail running there (see --url)?"))?;
        let (status, address) = (response.status(), response.url().clone());
        let body: Value =
            response.json().await.with_context(|| format!("{address} answered {status}, and not in JSON"))?;
        match body["error"]["message"].as_str() {
            Some(message) => bail!("{message}"),
            None if status.is_success() => Ok(body),
            None => bail!("{address} answered {status}"),
        }
    }
}
