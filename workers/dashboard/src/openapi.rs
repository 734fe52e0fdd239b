//! The document that describes the REST API.

use axum::Json;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Taffrail",
        description = "Logs, metrics, alerts and dashboards. Errors are `{\"error\": {\"code\", \"message\"}}`. Where an \
                       API key is set, send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`."
    ),
    paths(
        crate::logs::search,
        crate::logs::histogram,
        crate::logs::fields,
        crate::metrics::query,
        crate::metrics::range,
        crate::metrics::names,
        crate::metrics::label_values,
        crate::objects::alerts,
        crate::objects::rules,
        crate::objects::pipelines,
        crate::letters::list,
        crate::letters::redrive,
        crate::objects::dashboards,
        crate::objects::dashboard,
        crate::health::health,
    )
)]
struct Document;

/// The OpenAPI document of all endpoints.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) async fn serve() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
