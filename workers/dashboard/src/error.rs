//! Errors as the REST API tells them: `{"error": {"code", "message"}}`.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use taffrail_logstore::SearchError;
use taffrail_query::{EngineError, QueryError};
use taffrail_runtime::redrive::RedriveError;
use utoipa::ToSchema;

/// What went wrong with a request. The code never changes; the message is for people and says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    column: Option<usize>,
}

/// The body of an error.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// A word that never changes: `invalid_parameter`, `invalid_query`, `invalid_body`, `not_found`, `unauthorized`,
    /// `too_large`, `busy`, `unavailable`.
    code: &'static str,
    /// What went wrong, and what to do.
    message: String,
    /// Where in the query, in characters from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

impl ApiError {
    /// A parameter that can't be understood; the message names it.
    pub(crate) fn parameter(name: &str, problem: impl std::fmt::Display) -> Self {
        let message = format!("parameter `{name}`: {problem}");
        Self { status: StatusCode::BAD_REQUEST, code: "invalid_parameter", message, column: None }
    }

    /// A query that is wrong at a column.
    pub(crate) fn query(name: &str, column: usize, problem: &str) -> Self {
        let message = format!("parameter `{name}`: column {column}: {problem}");
        Self { status: StatusCode::BAD_REQUEST, code: "invalid_query", message, column: Some(column) }
    }

    /// Something that is not there.
    pub(crate) fn not_found(message: String) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "not_found", message, column: None }
    }

    /// Nobody we know.
    pub(crate) fn unauthorized() -> Self {
        let message = "send the API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`".to_owned();
        Self { status: StatusCode::UNAUTHORIZED, code: "unauthorized", message, column: None }
    }

    /// A body that can't be read.
    pub(crate) fn body(status: StatusCode, message: String) -> Self {
        Self { status, code: "invalid_body", message, column: None }
    }

    /// Something that is away.
    pub(crate) fn unavailable(message: String) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: "unavailable", message, column: None }
    }
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> Self {
        let message = error.to_string();
        match error {
            SearchError::Unavailable(_) => Self::unavailable(message),
            SearchError::Cursor => Self::parameter("cursor", message),
            SearchError::Invalid(_) => {
                Self { status: StatusCode::BAD_REQUEST, code: "invalid_query", message, column: None }
            }
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        let (status, code) = match error {
            EngineError::Unavailable(_) => return Self::unavailable(message),
            EngineError::TooLarge(_) => (StatusCode::UNPROCESSABLE_ENTITY, "too_large"),
            EngineError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_query"),
        };
        Self { status, code, message, column: None }
    }
}

impl From<RedriveError> for ApiError {
    fn from(error: RedriveError) -> Self {
        let message = error.to_string();
        match error {
            RedriveError::Unavailable(_) => Self::unavailable(message),
            RedriveError::Busy => Self { status: StatusCode::CONFLICT, code: "busy", message, column: None },
            RedriveError::Invalid(_) => Self::parameter("cursor", message),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self::query("query", error.column, &error.message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let detail = ErrorDetail { code: self.code, message: self.message, column: self.column };
        let mut response = (self.status, Json(ErrorBody { error: detail })).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
