//! Whom to tell of an alert.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::patterns::{DNS_NAME, E_MAIL, HOST_PORT, URL, headers};

/// Whom to tell; exactly one kind is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = (
    "[has(self.webhook), has(self.slack), has(self.alertmanager), has(self.pagerduty), has(self.email), \
      has(self.log)].exists_one(set, set)",
    "name exactly one kind of receiver: webhook, slack, alertmanager, pagerduty, email or log"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Receiver {
    /// A JSON document by POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// A Slack channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<Slack>,
    /// Prometheus' Alertmanager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<Alertmanager>,
    /// PagerDuty Events v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pagerduty: Option<PagerDuty>,
    /// E-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// The worker's own log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogReceiver>,
}

/// A JSON document by POST.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Webhook {
    /// Where to send it.
    #[schemars(length(max = 2048), regex(pattern = URL))]
    pub url: String,
    /// Headers sent with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "headers")]
    pub headers: BTreeMap<String, String>,
    /// Secret whose `key` signs the body, and whose `token` is sent as a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub secret_name: Option<String>,
}

/// A Slack channel.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slack {
    /// Secret whose `url` is the incoming webhook.
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub secret_name: String,
    /// The channel, where the webhook allows a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub channel: Option<String>,
}

/// Prometheus' Alertmanager.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alertmanager {
    /// Addresses of all its replicas.
    #[schemars(length(min = 1, max = 16), inner(length(max = 2048), regex(pattern = URL)))]
    pub urls: Vec<String>,
    /// Secret with `username` and `password`, or `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub secret_name: Option<String>,
}

/// PagerDuty Events v2.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PagerDuty {
    /// Secret whose `routingKey` names the integration.
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub secret_name: String,
    /// Where events go. Default: PagerDuty's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = URL))]
    pub url: Option<String>,
}

/// E-mail.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Email {
    /// To whom.
    #[schemars(length(min = 1, max = 64), inner(length(max = 320), regex(pattern = E_MAIL)))]
    pub to: Vec<String>,
    /// From whom.
    #[schemars(length(max = 320), regex(pattern = E_MAIL))]
    pub from: String,
    /// The mail server, `host:port`.
    #[schemars(length(max = 260), regex(pattern = HOST_PORT))]
    pub smarthost: String,
    /// Secret with `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub secret_name: Option<String>,
}

/// The worker's own log.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogReceiver {}
