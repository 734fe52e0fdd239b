//! The REST API and the web page.
//!
//! Everything is read: objects and their status from the board, logs from the stores, values from the metrics engine.
//! Only dead letters can be sent again, by the worker of their pipeline.
//! `/api/v1/openapi.json` describes each request.

#![forbid(unsafe_code)]

mod access;
mod error;
mod health;
mod letters;
mod logs;
mod metrics;
mod objects;
mod openapi;
mod page;
mod params;
mod request_log;
mod stores;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use parking_lot::Mutex;
use taffrail_query::MetricsEngine;
use taffrail_runtime::{Board, ObjectKey};
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;

pub use error::ApiError;
pub use letters::{Letters, Redriving};
pub use openapi::document;
pub use stores::LogStores;

/// The longest that a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the dashboard worker reads, and who may ask it.
pub struct Config {
    /// Objects and their status.
    pub board: Board,
    /// Where values come from.
    pub engine: Arc<dyn MetricsEngine>,
    /// Where logs are.
    pub stores: LogStores,
    /// Where dead letters are.
    pub letters: Letters,
    /// Who sends them again.
    pub redrive: Redriving,
    /// Keys of which a request must have one; everybody may ask where there are none.
    pub api_keys: Vec<String>,
    /// Origins of other pages that may ask from a browser; `*` is any.
    pub cors_origins: Vec<String>,
    /// The path under which browsers see the page, where no proxy says it in `X-Forwarded-Prefix`.
    pub base_path: String,
}

/// What requests share.
struct State {
    config: Config,
    /// The pipelines whose dead letters are being sent again.
    redriving: Mutex<BTreeSet<ObjectKey>>,
}

impl Deref for State {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.config
    }
}

type Shared = Arc<State>;

/// The routes of the dashboard worker.
pub fn router(config: Config) -> Router {
    let cors = access::cors(&config.cors_origins);
    let shared = Arc::new(State { config, redriving: Mutex::default() });
    let api = Router::new()
        .route("/logs/search", get(logs::search))
        .route("/logs/histogram", get(logs::histogram))
        .route("/logs/fields", get(logs::fields))
        .route("/metrics/query", get(metrics::query))
        .route("/metrics/range", get(metrics::range))
        .route("/metrics/names", get(metrics::names))
        .route("/metrics/labels/{label}/values", get(metrics::label_values))
        .route("/alerts", get(objects::alerts))
        .route("/rules", get(objects::rules))
        .route("/pipelines", get(objects::pipelines))
        .route("/pipelines/{namespace}/{name}/dead-letters", get(letters::list))
        .route("/pipelines/{namespace}/{name}/dead-letters/redrive", post(letters::redrive))
        .route("/dashboards", get(objects::dashboards))
        .route("/dashboards/{name}", get(objects::dashboard))
        .route("/health", get(health::health))
        .route("/openapi.json", get(openapi::serve))
        .fallback(|| async { ApiError::not_found("there is no such endpoint; see /api/v1/openapi.json".to_owned()) });
    Router::new()
        .nest("/api/v1", api.layer(from_fn_with_state(shared.clone(), access::require_key)))
        .fallback(get(page::asset))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, REQUEST_TIMEOUT))
        .layer(cors)
        .layer(CompressionLayer::new())
        .layer(from_fn(request_log::log))
        .with_state(shared)
}
