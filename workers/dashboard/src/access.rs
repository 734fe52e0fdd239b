//! Who may ask: API keys, and pages from elsewhere.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::Shared;
use crate::error::ApiError;

/// Lets only those pass who know an API key, where there is one. Health is for everybody.
pub(crate) async fn require_key(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    // The path as it is below `/api/v1`.
    let open = shared.api_keys.is_empty() || request.uri().path() == "/health";
    if !open && !presented(&request).is_some_and(|key| shared.api_keys.iter().any(|known| same(known, key))) {
        return ApiError::unauthorized().into_response();
    }
    next.run(request).await
}

fn presented(request: &Request) -> Option<&[u8]> {
    let headers = request.headers();
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    bearer.or_else(|| headers.get("x-api-key").map(HeaderValue::as_bytes))
}

/// Compares in a time that does not tell how much of the key was right.
fn same(known: &str, given: &[u8]) -> bool {
    let known = known.as_bytes();
    known.len() == given.len() && known.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// Pages of these origins may ask from a browser; `*` is any, and pages on this machine always may.
pub(crate) fn cors(origins: &[String]) -> CorsLayer {
    let any = origins.iter().any(|origin| origin == "*");
    let origins = origins.to_vec();
    let allowed = AllowOrigin::predicate(move |origin: &HeaderValue, _| {
        let Ok(origin) = origin.to_str() else { return false };
        any || origins.iter().any(|allowed| allowed.trim_end_matches('/') == origin) || is_local(origin)
    });
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::OPTIONS])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::HeaderName::from_static("x-api-key")])
        .max_age(std::time::Duration::from_secs(3600))
}

fn is_local(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).unwrap_or_default();
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { "" });
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::{is_local, same};

    #[test]
    fn keys_are_compared_whole() {
        assert!(same("secret", b"secret"));
        assert!(!same("secret", b"secre") && !same("secret", b"secrets") && !same("secret", b"Secret"));
    }

    #[test]
    fn only_this_machine_is_local() {
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:8080"] {
            assert!(is_local(origin), "{origin}");
        }
        for origin in ["http://localhost.evil.example", "http://evil.example:80", "null", "file://localhost"] {
            assert!(!is_local(origin), "{origin}");
        }
    }
}
