//! Sending dead letters again: what is asked of an ingestion worker, and what it answers. The form that it and the
//! dashboard worker agree on: `POST` [`PATH`] takes an [`Order`] and answers with a [`Report`].
//!
//! One order sends as many letters as there is time for, and says where to go on: whoever wants them all repeats it with
//! the [`Report::cursor`] until there is none.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Kind, ObjectKey};

/// Where an ingestion worker takes orders.
pub const PATH: &str = "/api/v1/dead-letters/redrive";

/// Which dead letters of a pipeline to send again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// The pipeline's namespace.
    pub namespace: String,
    /// The pipeline's name.
    pub name: String,
    /// A part of their reason.
    #[serde(default)]
    pub reason: Option<String>,
    /// Their status.
    #[serde(default)]
    pub status: Option<u16>,
    /// Not before this time, milliseconds since 1970.
    #[serde(default)]
    pub from: Option<i64>,
    /// Before this time, milliseconds since 1970.
    #[serde(default)]
    pub to: Option<i64>,
    /// This one alone, by its id.
    #[serde(default)]
    pub id: Option<String>,
    /// Where the order before has ended.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// What became of dead letters that were sent again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// They are stored now.
    pub indexed: u64,
    /// They were stored before: by an earlier order that was cut off, for example.
    pub duplicate: u64,
    /// The transform drops them on purpose.
    pub filtered: u64,
    /// They are dead letters again, with what is wrong with them now.
    pub refused: u64,
    /// What is wrong with those.
    pub refusals: Vec<Group>,
    /// What becomes of them was not known when the time was over. They may be sent once more.
    pub unsettled: u64,
    /// Where to go on; none at the end.
    pub cursor: Option<String>,
}

/// Dead letters of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What is wrong with them; quoted texts and numbers are left out.
    pub reason: String,
    /// The store's status for them; 0 where they never came to the store.
    pub status: u16,
    /// How many.
    pub count: u64,
}

/// Why no dead letter was sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedriveError {
    /// The pipeline does not run, or its worker can't be asked, or what it needs is away.
    #[error("{0}")]
    Unavailable(String),
    /// Another order is being carried out.
    #[error("dead letters of this pipeline are being sent again already; wait until that is over")]
    Busy,
    /// The order can't be understood.
    #[error("{0}")]
    Invalid(String),
}

/// Sends dead letters again.
#[async_trait]
pub trait Redrive: Send + Sync {
    /// Carries out an order for a pipeline. An order that is given up by whoever waits for it is carried out all the
    /// same.
    ///
    /// # Errors
    /// When no letter was sent.
    async fn redrive(&self, order: Order) -> Result<Report, RedriveError>;
}

impl Order {
    /// The pipeline.
    #[must_use]
    pub fn pipeline(&self) -> ObjectKey {
        ObjectKey { kind: Kind::LogPipeline, namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// What a worker serves under [`PATH`].
pub fn routes(redrive: Arc<dyn Redrive>) -> Router {
    let carry_out = move |Json(order): Json<Order>| {
        let redrive = redrive.clone();
        async move { redrive.redrive(order).await.map(Json) }
    };
    Router::new().route(PATH, post(carry_out))
}

impl IntoResponse for RedriveError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Busy => StatusCode::CONFLICT,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
        };
        (status, Json(json!({"error": {"message": self.to_string()}}))).into_response()
    }
}
