//! Tokens for SASL OAUTHBEARER, by the grant "client credentials" of OAuth 2 (RFC 6749, section 4.4).

use std::time::Duration;

use rdkafka::client::OAuthToken;
use serde::Deserialize;

use super::settings::OauthSettings;

const WITHIN: Duration = Duration::from_secs(10);

/// How long a token is used whose issuer does not say how long it is good.
const LIFETIME: i64 = 300;

#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("could not ask {endpoint} for a token: {source}")]
    Request { endpoint: String, source: reqwest::Error },
    #[error("{endpoint} gave no token: status {status}")]
    Refused { endpoint: String, status: u16 },
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<i64>,
}

/// Asks for a token.
pub(super) async fn token(settings: &OauthSettings) -> Result<OAuthToken, TokenError> {
    let OauthSettings { endpoint, client_id, client_secret } = settings;
    let failed = |source| TokenError::Request { endpoint: endpoint.clone(), source };
    let client = reqwest::Client::builder().timeout(WITHIN).build().map_err(failed)?;
    let request = client.post(endpoint).basic_auth(client_id, Some(client_secret));
    let response = request.form(&[("grant_type", "client_credentials")]).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(TokenError::Refused { endpoint: endpoint.clone(), status: response.status().as_u16() });
    }
    let answer: Answer = response.json().await.map_err(failed)?;
    let lifetime = answer.expires_in.unwrap_or(LIFETIME).max(1);
    Ok(OAuthToken {
        token: answer.access_token,
        principal_name: client_id.clone(),
        lifetime_ms: jiff::Timestamp::now().as_millisecond() + lifetime * 1_000,
    })
}
