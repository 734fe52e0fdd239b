//! Asking a running Taffrail over its REST API.

use anyhow::{Context, bail};
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
        let address = format!("{}/api/v1/{path}", self.url.trim_end_matches('/'));
        let mut request = client.get(&address).query(parameters);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("could not ask {address}; is Taffrail running there (see --url)?"))?;
        let status = response.status();
        let body: Value =
            response.json().await.with_context(|| format!("{address} answered {status}, and not in JSON"))?;
        match body["error"]["message"].as_str() {
            Some(message) => bail!("{message}"),
            None if status.is_success() => Ok(body),
            None => bail!("{address} answered {status}"),
        }
    }
}
