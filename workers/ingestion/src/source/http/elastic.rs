//! What log shippers ask an Elasticsearch server beside its bulk interface.
//!
//! They look at its version, its health and its licence, and set up indices, which is acknowledged and has no effect:
//! the pipeline decides where logs go and how they are mapped.

use axum::Router;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use serde_json::{Value, json};

use super::Shared;

/// Elasticsearch's clients do not speak to a server that does not say this.
pub(super) const PRODUCT: (HeaderName, &str) = (HeaderName::from_static("x-elastic-product"), "Elasticsearch");

/// The version that we behave like.
const VERSION: &str = "8.17.0";

/// What is made before logs are sent.
const SET_UP: [&str; 8] = [
    "/_template/{name}",
    "/_index_template/{name}",
    "/_component_template/{name}",
    "/_ilm/policy/{name}",
    "/_ingest/pipeline/{name}",
    "/_data_stream/{name}",
    "/_data_stream/{name}/_lifecycle",
    "/_alias/{name}",
];

pub(super) fn routes() -> Router<Shared> {
    let health = json!({"cluster_name": "taffrail", "status": "green", "timed_out": false, "number_of_nodes": 1});
    let license = json!({"status": "active", "uid": "taffrail", "type": "basic", "mode": "basic"});
    let available = json!({"available": true, "enabled": true});
    let xpack = json!({"build": {}, "license": license, "features": {"ilm": available}});
    let routes = Router::new()
        .route("/_cluster/health", always(health))
        .route("/_cat/health", get(|| async { ([PRODUCT], "taffrail green\n") }))
        .route("/_license", always(json!({"license": license})))
        .route("/_xpack", always(xpack));
    SET_UP.iter().fold(routes, |routes, path| routes.route(path, any(set_up)))
}

fn always(answer: Value) -> MethodRouter<Shared> {
    get(move || async move { ([PRODUCT], axum::Json(answer)) })
}

/// `GET /`: what this is.
pub(super) async fn about() -> Response {
    let about = json!({
        "name": "taffrail",
        "cluster_name": "taffrail",
        "cluster_uuid": "taffrail",
        "version": {
            "number": VERSION,
            "build_flavor": "default",
            "build_type": "docker",
            "build_hash": "taffrail",
            "build_date": "2024-12-11T00:00:00Z",
            "build_snapshot": false,
            "lucene_version": "9.12.0",
            "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "You Know, for Search",
    });
    ([PRODUCT], axum::Json(about)).into_response()
}

/// Nothing is there, and whatever is put is acknowledged.
async fn set_up(method: axum::http::Method) -> Response {
    if method == axum::http::Method::PUT || method == axum::http::Method::POST {
        ([PRODUCT], axum::Json(json!({"acknowledged": true}))).into_response()
    } else {
        let reason = "nothing is set up here: the pipeline decides where logs go";
        let error = json!({"type": "resource_not_found_exception", "reason": reason});
        (StatusCode::NOT_FOUND, [PRODUCT], axum::Json(json!({"error": error, "status": 404}))).into_response()
    }
}
