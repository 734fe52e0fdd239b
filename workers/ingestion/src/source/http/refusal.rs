//! Why requests are not taken, and how that is answered.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{BODY_WITHIN, MAX_BODY, MAX_RECORDS};

/// When a client that is sent away for a while may come back, in seconds.
pub(super) const COME_BACK: u32 = 1;

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the body has more than {MAX_BODY} bytes, or becomes that large; send less at once")]
    TooLarge,
    #[error("the body has more than {MAX_RECORDS} logs; send fewer at once")]
    TooMany,
    #[error("the body could not be read: {0}")]
    Broken(String),
    #[error("Content-Encoding `{0}` is not known; send gzip, zstd, deflate, snappy or no compression")]
    Encoding(String),
    #[error("Content-Type `{0}` is not known; send application/x-protobuf or application/json")]
    Type(String),
    #[error("this pipeline has `format: text`, and takes lines; OTLP and Loki need `format: json`")]
    Text,
    #[error("the body did not arrive within {} seconds", BODY_WITHIN.as_secs())]
    Slow,
    #[error("too much is under way; come back in a second")]
    Full,
    #[error("the log store did not acknowledge in time; send again later")]
    Unacknowledged,
    #[error("the pipeline is stopping; send again later")]
    Stopping,
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge | Self::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken(_) | Self::Text => StatusCode::BAD_REQUEST,
            Self::Encoding(_) | Self::Type(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Full => StatusCode::TOO_MANY_REQUESTS,
            Self::Unacknowledged | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether the same request may be taken later.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Full | Self::Unacknowledged | Self::Stopping)
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
            Self::Broken(_) => "bad_body",
            Self::Encoding(_) => "bad_encoding",
            Self::Type(_) => "bad_type",
            Self::Text => "text_pipeline",
            Self::Slow => "too_slow",
            Self::Full => "full",
            Self::Unacknowledged => "unacknowledged",
            Self::Stopping => "stopping",
        }
    }

    /// Adds to an answer when to come back.
    pub(super) fn when_to_come_back(&self, response: &mut Response) {
        if self.is_passing() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(COME_BACK));
        }
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code(), "message": self.to_string()}});
        let mut response = (self.status(), axum::Json(body)).into_response();
        self.when_to_come_back(&mut response);
        response
    }
}
