//! The web page, embedded in the binary.

use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use crate::Shared;

#[derive(RustEmbed)]
#[folder = "ui/dist"]
struct Assets;

/// What the page may do: load from where it came from, nothing else.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
     object-src 'none'; base-uri 'self'; frame-ancestors 'self'; form-action 'self'";

/// Where the base address stands in the page.
const BASE: &str = "<base href=\"/\">";

pub(crate) async fn asset(State(shared): State<Shared>, OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    let Some(file) = Assets::get(path) else {
        return (StatusCode::NOT_FOUND, "there is nothing here; the page is at /, the API at /api/v1/\n")
            .into_response();
    };
    let tag = file.metadata.sha256_hash().iter().take(12).map(|byte| format!("{byte:02x}")).collect::<String>();
    let body = if path == "index.html" {
        let page = String::from_utf8_lossy(&file.data).replace(BASE, &base_element(&base_path(&shared, &headers)));
        page.into_bytes()
    } else {
        let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        if known.is_some_and(|known| known.contains(&tag)) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        file.data.into_owned()
    };
    let headers = [
        (header::CONTENT_TYPE, content_type(path).to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, format!("\"{tag}\"")),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "same-origin".to_owned()),
    ];
    (headers, body).into_response()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The path under which browsers see the page: as the proxy says, else as the command line says.
fn base_path(shared: &Shared, headers: &HeaderMap) -> String {
    let forwarded = headers.get("x-forwarded-prefix").and_then(|value| value.to_str().ok());
    let path = forwarded.unwrap_or(&shared.base_path).trim_matches('/');
    // Only what can stand in a path: a header must not write into the page.
    let clean = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./~".contains(&byte));
    if path.is_empty() || !clean { "/".to_owned() } else { format!("/{path}/") }
}

fn base_element(path: &str) -> String {
    format!("<base href=\"{path}\">")
}
