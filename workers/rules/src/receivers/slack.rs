//! Slack, by an incoming webhook.

use reqwest::Client;
use serde_json::{Value, json};
use taffrail_crds::{SecretData, Slack};

use super::{Outcome, send, text};
use crate::notice::{Notice, Notification, Status};

/// Alerts that one message shows.
const MOST: usize = 20;

pub(super) async fn deliver(client: &Client, to: &Slack, secrets: &SecretData, notification: &Notification) -> Outcome {
    let Some(url) = text(secrets, "url") else { return Outcome::again("secret", "its secret has no `url`") };
    send(client.post(url).json(&message(to, notification))).await
}

fn message(to: &Slack, notification: &Notification) -> Value {
    let facts = &notification.facts;
    let firing = notification.notices.iter().filter(|notice| notice.status == Status::Firing).count();
    let title = match notification.status() {
        Status::Firing if notification.notices.len() > 1 => format!("[FIRING: {firing}] {}", facts.title),
        Status::Firing => format!("[FIRING] {}", facts.title),
        Status::Resolved => format!("[RESOLVED] {}", facts.title),
    };
    let mut lines: Vec<String> =
        notification.notices.iter().take(MOST).map(|notice| line(notification, notice)).collect();
    if notification.notices.len() > MOST {
        lines.push(format!("and {} more", notification.notices.len() - MOST));
    }
    let color = match notification.status() {
        Status::Firing => "danger",
        Status::Resolved => "good",
    };
    let mut message = json!({
        "text": escaped(&title),
        "attachments": [{"color": color, "fallback": title, "text": lines.join("\n"), "mrkdwn_in": ["text"]}],
    });
    if let Some(channel) = &to.channel {
        message["channel"] = channel.as_str().into();
    }
    message
}

fn line(notification: &Notification, notice: &Notice) -> String {
    let facts = &notification.facts;
    let value = notice.value.map_or_else(|| "no data".to_owned(), |value| value.to_string());
    let what = notice.annotations.get("summary").or_else(|| notice.annotations.values().next()).cloned();
    let what =
        what.unwrap_or_else(|| format!("{} is {value}, {} {}", facts.query, facts.operator.symbol(), facts.threshold));
    let labels: Vec<String> = notice
        .labels
        .iter()
        .filter(|(name, _)| *name != "alertname")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let over = if notice.status == Status::Resolved { "resolved: " } else { "" };
    format!("{over}{}\n_{}_", escaped(&what), escaped(&labels.join(" ")))
}

/// The three characters that Slack gives a meaning.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
