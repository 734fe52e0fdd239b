//! Webhooks: a JSON document by POST.
//!
//! At the top stands what all alerts of the notification have in common, which is everything where it tells of one;
//! `alerts` has each of them. The header `Idempotency-Key` is the same for every attempt, so that a receiver whose answer
//! got lost can tell a repetition. With a `key` in the secret, `X-Taffrail-Signature` is `sha256=` and the HMAC-SHA256
//! (RFC 2104) of the body in hexadecimal digits.

use std::collections::BTreeMap;

use reqwest::Client;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::{Value, json};
use taffrail_crds::{SecretData, Webhook};

use super::{Outcome, send, text};
use crate::notice::{Notice, Notification, hex};

/// The version of the document.
const VERSION: &str = "1";

pub(super) async fn deliver(
    client: &Client,
    to: &Webhook,
    secrets: &SecretData,
    notification: &Notification,
) -> Outcome {
    let body = document(notification).to_string();
    let header = |(name, value): (&String, &String)| Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?));
    let Some(headers) = to.headers.iter().map(header).collect::<Option<HeaderMap>>() else {
        return Outcome::Refused { reason: "request", message: "its headers hold what no header may hold".to_owned() };
    };
    // Headers of the receiver's own win, but for those by which it knows us.
    let request = client.post(&to.url).header(CONTENT_TYPE, "application/json").headers(headers);
    let mut request = request.header("Idempotency-Key", &notification.id);
    if let Some(key) = secrets.get("key") {
        let signature = sign(&Key::new(HMAC_SHA256, key), body.as_bytes());
        request = request.header("X-Taffrail-Signature", format!("sha256={}", hex(signature.as_ref())));
    }
    if let Some(token) = text(secrets, "token") {
        request = request.bearer_auth(token);
    }
    send(request.body(body)).await
}

fn document(notification: &Notification) -> Value {
    let facts = &notification.facts;
    let mut document = json!({
        "version": VERSION,
        "status": notification.status(),
        "rule": facts.title,
        "name": facts.name,
        "namespace": facts.namespace,
        "query": facts.query,
        "operator": facts.operator.symbol(),
        "threshold": facts.threshold,
        "labels": common(notification, |notice| &notice.labels),
        "annotations": common(notification, |notice| &notice.annotations),
        "groupLabels": notification.group,
        "alerts": notification.notices.iter().map(alert).collect::<Vec<_>>(),
    });
    if let [only] = notification.notices.as_slice()
        && let (Value::Object(document), Value::Object(alert)) = (&mut document, alert(only))
    {
        document.extend(alert);
    }
    document
}

fn alert(notice: &Notice) -> Value {
    let mut alert = json!({
        "status": notice.status,
        "labels": notice.labels,
        "annotations": notice.annotations,
        "value": notice.value,
        "startsAt": notice.starts_at,
        "endsAt": notice.ends_at,
        "fingerprint": notice.fingerprint,
    });
    if let Some(reason) = notice.reason {
        alert["reason"] = json!(reason);
    }
    alert
}

/// What all alerts have in common.
fn common(
    notification: &Notification,
    texts: impl Fn(&Notice) -> &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = notification.notices.iter().map(texts);
    let mut common = all.next().cloned().unwrap_or_default();
    for other in all {
        common.retain(|name, text| other.get(name) == Some(text));
    }
    common
}
