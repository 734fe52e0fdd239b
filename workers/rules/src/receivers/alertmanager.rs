//! Prometheus' Alertmanager, `POST /api/v2/alerts`.
//!
//! Alertmanager takes an alert for resolved when its `endsAt` has passed. A firing one is sent with an `endsAt` some way
//! ahead, and again and again before that; so an alert ends by itself when whoever sent it is gone.

use futures::future::join_all;
use jiff::Timestamp;
use reqwest::Client;
use serde_json::{Value, json};
use taffrail_crds::{Alertmanager, SecretData};

use super::{Outcome, send, text};
use crate::clock::{Millis, timestamp};
use crate::notice::{Notice, Notification};

/// How often a firing alert is sent again.
pub(crate) const REMIND_EVERY: Millis = 60_000;

/// Sends to all replicas; one that takes it is enough, because they tell each other.
pub(super) async fn deliver(
    client: &Client,
    to: &Alertmanager,
    secrets: &SecretData,
    notification: &Notification,
    now: Timestamp,
) -> Outcome {
    let lifetime = 4 * notification.facts.interval.max(REMIND_EVERY);
    let until = timestamp(now.as_millisecond().saturating_add(lifetime));
    let alerts: Vec<_> = notification.notices.iter().map(|notice| alert(notification, notice, until)).collect();
    let outcomes = join_all(to.urls.iter().map(|url| {
        let request = client.post(format!("{}/api/v2/alerts", url.trim_end_matches('/'))).json(&alerts);
        send(match (text(secrets, "token"), text(secrets, "username")) {
            (Some(token), _) => request.bearer_auth(token),
            (None, Some(user)) => request.basic_auth(user, text(secrets, "password")),
            (None, None) => request,
        })
    }))
    .await;
    // Where none took it, one that may take it later is worth another attempt.
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Delivered => 0,
        Outcome::Again { .. } => 1,
        Outcome::Refused { .. } => 2,
    };
    let best = outcomes.into_iter().min_by_key(rank);
    best.unwrap_or_else(|| Outcome::Refused { reason: "request", message: "it names no address".to_owned() })
}

fn alert(notification: &Notification, notice: &Notice, until: Timestamp) -> Value {
    let mut labels = notice.labels.clone();
    // By it Alertmanager routes the alerts of tenants.
    labels.entry("namespace".to_owned()).or_insert_with(|| notification.facts.namespace.clone());
    json!({
        "labels": labels,
        "annotations": notice.annotations,
        "startsAt": notice.starts_at,
        "endsAt": notice.ends_at.unwrap_or(until),
    })
}
