//! Receivers: how a notification is delivered to each kind of them.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use taffrail_crds::{Receiver, SecretData};

use crate::compile::Fault;
use crate::notice::Notification;

pub(crate) mod alertmanager;
mod log;
mod slack;
mod webhook;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read to tell people of it.
const ANSWER: usize = 200;

/// What came of an attempt to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// It is no use to try again.
    Refused {
        reason: &'static str,
        message: String,
    },
    /// It is to be tried again, not before some time has passed if the receiver says so.
    Again {
        reason: &'static str,
        message: String,
        after: Option<Duration>,
    },
}

impl Outcome {
    fn again(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Again { reason, message: message.into(), after: None }
    }
}

/// The word for a receiver's kind.
pub(crate) fn kind(receiver: &Receiver) -> &'static str {
    let Receiver { webhook, slack, alertmanager, pagerduty, email, log } = receiver;
    match () {
        () if webhook.is_some() => "webhook",
        () if slack.is_some() => "slack",
        () if alertmanager.is_some() => "alertmanager",
        () if pagerduty.is_some() => "pagerduty",
        () if email.is_some() => "email",
        () if log.is_some() => "log",
        () => "none",
    }
}

/// Whether a receiver can be told at all.
///
/// # Errors
/// What to use instead.
pub(crate) fn check(receiver: &Receiver) -> Result<(), Fault> {
    match kind(receiver) {
        kind @ ("pagerduty" | "email") => {
            let message =
                format!("receivers of kind {kind} can't be told yet; use webhook, slack, alertmanager or log");
            Err(Fault::new("UnsupportedReceiver", message))
        }
        "none" => {
            let message = "a receiver names no kind; use webhook, slack, alertmanager or log";
            Err(Fault::new("UnsupportedReceiver", message))
        }
        _ => Ok(()),
    }
}

/// The secret of a receiver; nothing where it needs none.
///
/// # Errors
/// When it is not there, or lacks what the receiver needs.
pub(crate) fn secrets(receiver: &Receiver, secret: impl Fn(&str) -> Option<SecretData>) -> Result<SecretData, Fault> {
    let Some(name) = receiver.secret_name() else { return Ok(SecretData::new()) };
    let kind = kind(receiver);
    let fault = |message: String| Fault::new("SecretNotFound", message);
    let Some(data) = secret(name) else {
        return Err(fault(format!("there is no secret `{name}`, which a receiver of kind {kind} needs")));
    };
    let has = |key: &str| data.contains_key(key);
    let (complete, wanted) = match kind {
        "slack" => (has("url"), "`url`"),
        "alertmanager" => {
            (has("token") || (has("username") && has("password")), "`username` and `password`, or `token`")
        }
        _ => (has("key") || has("token"), "`key` or `token`"),
    };
    if complete {
        Ok(data)
    } else {
        Err(fault(format!("secret `{name}` has no {wanted}, which a receiver of kind {kind} needs")))
    }
}

/// The client that all deliveries share.
///
/// # Errors
/// When TLS can't be set up.
pub(crate) fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .timeout(PATIENCE)
        // A redirected POST would arrive as a GET without its body.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("taffrail/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Tries once to deliver a notification.
pub(crate) async fn deliver(
    client: &Client,
    receiver: &Receiver,
    secrets: Result<SecretData, Fault>,
    notification: &Notification,
    now: Timestamp,
) -> Outcome {
    let secrets = match secrets {
        Ok(secrets) => secrets,
        Err(fault) => return Outcome::again("secret", fault.message),
    };
    if let Some(to) = &receiver.webhook {
        return webhook::deliver(client, to, &secrets, notification).await;
    }
    if let Some(to) = &receiver.alertmanager {
        return alertmanager::deliver(client, to, &secrets, notification, now).await;
    }
    if let Some(to) = &receiver.slack {
        return slack::deliver(client, to, &secrets, notification).await;
    }
    if receiver.log.is_some() {
        log::deliver(notification);
        return Outcome::Delivered;
    }
    Outcome::Refused { reason: "unsupported", message: "this kind of receiver can't be told yet".to_owned() }
}

/// A value of a secret as text.
fn text<'a>(secrets: &'a SecretData, key: &str) -> Option<&'a str> {
    secrets.get(key).and_then(|value| std::str::from_utf8(value).ok()).map(str::trim)
}

/// Sends a request, and sorts what comes of it.
async fn send(request: RequestBuilder) -> Outcome {
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_builder() => {
            return Outcome::Refused { reason: "request", message: chain(&error) };
        }
        Err(error) => {
            let reason = if error.is_timeout() { "timeout" } else { "network" };
            return Outcome::again(reason, chain(&error));
        }
    };
    let status = response.status();
    if status.is_success() {
        return Outcome::Delivered;
    }
    let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let mut answer = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        answer.extend_from_slice(&chunk[..chunk.len().min(ANSWER - answer.len())]);
        if answer.len() == ANSWER {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let message = format!("it answered {status}: {}", answer.trim());
    let message = message.trim_end_matches([':', ' ']).to_owned();
    if status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) {
        return Outcome::Again { reason: "status", message, after: after.map(Duration::from_secs) };
    }
    Outcome::Refused { reason: "status", message }
}

/// An error with its causes. The address is left out: it may hold a secret.
fn chain(error: &reqwest::Error) -> String {
    let mut text = match error {
        error if error.is_timeout() => format!("it did not answer within {} s", PATIENCE.as_secs()),
        error if error.is_connect() => "it can't be reached".to_owned(),
        _ => "the request failed".to_owned(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
