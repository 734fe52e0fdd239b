//! Parameters of requests, and answers, as the Prometheus HTTP API has them.

use std::time::Duration;

use axum::extract::{Form, FromRequest, Query, Request};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, RequestExt};
use serde_json::{Value, json};
use taffrail_query::EngineError;

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl ApiError {
    /// What the client sent is wrong.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "bad_data", message: message.into() }
    }

    /// A parameter is wrong.
    pub(super) fn parameter(name: &str, problem: impl std::fmt::Display) -> Self {
        Self::bad(format!("invalid parameter \"{name}\": {problem}"))
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind: "internal", message: message.into() }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let (status, kind) = match error {
            EngineError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            EngineError::TooLarge(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
            EngineError::Invalid(_) => (StatusCode::BAD_REQUEST, "bad_data"),
        };
        Self { status, kind, message: error.to_string() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"status": "error", "errorType": self.kind, "error": self.message}))).into_response()
    }
}

/// An answer.
pub(super) fn success(data: Value) -> Json<Value> {
    Json(json!({"status": "success", "data": data}))
}

/// The parameters in the address and, of a POST, in the form.
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let Query(mut pairs) = Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map_err(|error| ApiError::bad(error.body_text()))?;
        if request.method() == Method::POST && request.headers().contains_key(header::CONTENT_TYPE) {
            let Form(more) = request.extract::<Form<Vec<(String, String)>>, _>().await.map_err(|error| ApiError {
                status: error.status(),
                kind: "bad_data",
                message: error.body_text(),
            })?;
            pairs.extend(more);
        }
        Ok(Self(pairs))
    }
}

impl Params {
    /// The parameter's last value; none where it is missing or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|pair| pair.0 == name);
        found.map(|pair| pair.1.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter that may be given more than once.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|pair| pair.0 == name).map(|pair| pair.1.as_str()).collect()
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::parameter(name, "it is missing"))
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name).map(|text| parse_time(text).map_err(|problem| ApiError::parameter(name, problem))).transpose()
    }

    pub(super) fn required_time(&self, name: &str) -> Result<i64, ApiError> {
        self.required(name)?;
        self.time(name)?.ok_or_else(|| ApiError::parameter(name, "it is missing"))
    }

    /// A duration such as `5m`, or a number of seconds.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let duration = match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
            Err(_) => {
                let parsed = text.parse::<taffrail_runtime::Duration>();
                parsed.map(|duration| duration.0).map_err(|error| error.to_string())
            }
        };
        match duration {
            Ok(duration) if duration >= Duration::from_millis(1) => Ok(Some(duration)),
            Ok(_) => Err(ApiError::parameter(name, format!("`{text}` is too short: it must be longer than 0"))),
            Err(problem) => Err(ApiError::parameter(name, problem)),
        }
    }

    /// A positive number of things; `default` where it is missing.
    pub(super) fn limit(&self, name: &str, default: usize) -> Result<usize, ApiError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        match text.parse::<usize>() {
            Ok(limit) if (1..=default).contains(&limit) => Ok(limit),
            _ => Err(ApiError::parameter(name, format!("`{text}` is not a whole number from 1 to {default}"))),
        }
    }
}

/// Unix seconds, milliseconds (from 10^11 on) or RFC 3339, as milliseconds since 1970.
pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    let problem = || format!("`{text}` is no time: write Unix seconds or milliseconds, or RFC 3339");
    if let Ok(number) = text.parse::<f64>() {
        return from_number(number).ok_or_else(problem);
    }
    text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).map_err(|_| problem())
}

/// Seconds, or milliseconds from 10^11 on, as milliseconds.
pub(super) fn from_number(number: f64) -> Option<i64> {
    // Seconds of the year 5138, milliseconds of 1973.
    const MILLISECONDS_FROM: f64 = 1e11;
    let milliseconds = if number.abs() < MILLISECONDS_FROM { number * 1000.0 } else { number };
    (milliseconds.abs() < 1e16).then(|| milliseconds.round() as i64)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1692176400", Some(1_692_176_400_000))]
    #[case("1692176400.25", Some(1_692_176_400_250))]
    #[case("1692176400250", Some(1_692_176_400_250))]
    #[case("2023-08-16T09:00:00Z", Some(1_692_176_400_000))]
    #[case("2023-08-16T11:00:00.5+02:00", Some(1_692_176_400_500))]
    #[case("-5", Some(-5_000))]
    #[case("now", None)]
    #[case("", None)]
    #[case("NaN", None)]
    #[case("1e300", None)]
    #[case("2023-08-16", None)]
    fn times(#[case] text: &str, #[case] expected: Option<i64>) {
        assert_eq!(parse_time(text).ok(), expected);
    }

    #[rstest]
    #[case("5m", Ok(300_000))]
    #[case("1h30m", Ok(5_400_000))]
    #[case("0.5", Ok(500))]
    #[case("0s", Err("too short"))]
    #[case("0.0001", Err("too short"))]
    #[case("-1", Err("negative"))]
    #[case("NaN", Err("overflow"))]
    #[case("5 minutes", Err("is not a duration"))]
    fn durations(#[case] text: &str, #[case] expected: Result<u128, &str>) {
        let params = Params(vec![("window".to_owned(), text.to_owned())]);
        match (params.duration("window"), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.map(|found| found.as_millis()), Some(expected)),
            (Err(error), Err(expected)) => {
                assert!(error.message.starts_with("invalid parameter \"window\""), "{}", error.message);
                assert!(error.message.contains(expected) || expected == "overflow", "{}", error.message);
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }
}
