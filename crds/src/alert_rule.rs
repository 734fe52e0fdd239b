//! `AlertRule`: a condition on metrics or logs, and whom to tell when it holds.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, MetricType};

/// Watches a number and tells somebody when it is wrong.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "taffrail.dev",
    version = "v1alpha1",
    kind = "AlertRule",
    namespaced,
    shortname = "ar",
    category = "taffrail",
    status = "AlertRuleStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertRuleSpec {
    /// The name that people see. Default: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A query in the short form, `rate error_count service=api`. Exactly one of `query`, `expr` and `logs` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A query in PromQL. It may carry its own comparison instead of `operator` and `threshold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expr: Option<String>,
    /// A count of logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogsQuery>,
    /// How the value is compared with the threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Comparison>,
    /// What the value is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// A firing alert resolves only once the value is past this one, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve_threshold: Option<f64>,
    /// The window that the function looks back over.
    #[serde(default = "default_window")]
    pub duration: Duration,
    /// How long the condition must hold before the alert fires.
    #[serde(default, rename = "for")]
    pub hold: Duration,
    /// How long the alert goes on firing after the condition has ceased.
    #[serde(default)]
    pub keep_firing_for: Duration,
    /// How often the rule is evaluated.
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// How far behind the present the window ends.
    #[serde(default)]
    pub eval_delay: Duration,
    /// What it means when there is nothing to evaluate.
    #[serde(default)]
    pub no_data: NoData,
    /// Labels of the alerts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Texts of the alerts, as minijinja templates over `labels`, `value`, `threshold` and `rule`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whom to tell. Default: the operator's receivers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Receiver>,
    /// How alerts are gathered into notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Grouping>,
    /// Alerts that nobody is told of for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silences: Vec<Silence>,
    /// Tests that are run when the rule is loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<RuleTest>,
    /// Stops the evaluation; a firing alert resolves.
    #[serde(default)]
    pub suspend: bool,
}

fn default_window() -> Duration {
    Duration::from_secs(300)
}

fn default_interval() -> Duration {
    Duration::from_secs(30)
}

/// A count of logs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogsQuery {
    /// Which logs, in Lucene's syntax: `level:error AND timeout`.
    pub q: String,
    /// What is made of them.
    #[serde(default)]
    pub function: LogsFunction,
    /// One alert for each value of these keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}

/// What is made of matching logs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum LogsFunction {
    /// How many there are in the window.
    #[default]
    Count,
    /// How many there are per second.
    Rate,
}

/// A comparison of a value with a threshold.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Greater than.
    #[serde(rename = ">")]
    Greater,
    /// Greater than or equal to.
    #[serde(rename = ">=")]
    GreaterOrEqual,
    /// Less than.
    #[serde(rename = "<")]
    Less,
    /// Less than or equal to.
    #[serde(rename = "<=")]
    LessOrEqual,
    /// Equal to.
    #[serde(rename = "==")]
    Equal,
    /// Not equal to.
    #[serde(rename = "!=")]
    NotEqual,
}

impl Comparison {
    /// Whether `value` compares so with `threshold`. Never, when either is not a number.
    #[must_use]
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        if value.is_nan() || threshold.is_nan() {
            return false;
        }
        match self {
            Self::Greater => value > threshold,
            Self::GreaterOrEqual => value >= threshold,
            Self::Less => value < threshold,
            Self::LessOrEqual => value <= threshold,
            Self::Equal => value == threshold,
            Self::NotEqual => value != threshold,
        }
    }

    /// As it is written in an object.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }
}

/// What it means when there is nothing to evaluate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum NoData {
    /// All is well: a firing alert resolves.
    #[default]
    Ok,
    /// It counts as if the condition held.
    Alert,
    /// The alert stays as it is.
    Keep,
}

/// Whom to tell; exactly one kind is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
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
    pub url: String,
    /// Headers sent with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Secret whose `key` signs the body, and whose `token` is sent as a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
}

/// A Slack channel.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slack {
    /// Secret whose `url` is the incoming webhook.
    pub secret_name: String,
    /// The channel, where the webhook allows a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

/// Prometheus' Alertmanager.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alertmanager {
    /// Addresses of all its replicas.
    pub urls: Vec<String>,
    /// Secret with `username` and `password`, or `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
}

/// PagerDuty Events v2.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PagerDuty {
    /// Secret whose `routingKey` names the integration.
    pub secret_name: String,
    /// Where events go. Default: PagerDuty's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// E-mail.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Email {
    /// To whom.
    pub to: Vec<String>,
    /// From whom.
    pub from: String,
    /// The mail server, `host:port`.
    pub smarthost: String,
    /// Secret with `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
}

/// The worker's own log.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogReceiver {}

/// How alerts are gathered into notifications.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grouping {
    /// One notification for each value of these labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// How long the first alert of a group waits for others.
    #[serde(default = "default_group_wait")]
    pub wait: Duration,
    /// How long a group that was told of waits before it tells of new alerts.
    #[serde(default = "default_group_interval")]
    pub interval: Duration,
    /// How often an unchanged group is told of again.
    #[serde(default = "default_group_repeat")]
    pub repeat: Duration,
}

fn default_group_wait() -> Duration {
    Duration::from_secs(10)
}

fn default_group_interval() -> Duration {
    Duration::from_secs(300)
}

fn default_group_repeat() -> Duration {
    Duration::from_secs(4 * 3600)
}

/// Alerts that nobody is told of for a while.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Silence {
    /// Labels that an alert must have.
    #[serde(default, rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    pub matches: BTreeMap<String, String>,
    /// When it ends.
    pub until: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A test of a rule.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleTest {
    /// What it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The time between two values of a series.
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// What there is to evaluate.
    pub series: Vec<TestSeries>,
    /// What must come of it.
    pub expect: Vec<Expectation>,
}

/// A series of a test.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestSeries {
    /// The metric.
    pub metric: String,
    /// Its type. A counter's values are increments.
    #[serde(default = "default_series_type", rename = "type")]
    pub kind: MetricType,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its values, in the notation of promtool: `0+10x5 _x3 7`.
    pub values: String,
}

fn default_series_type() -> MetricType {
    MetricType::Counter
}

/// What a test expects at one time.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expectation {
    /// When, since the start of the series.
    pub at: Duration,
    /// The state of the rule.
    pub state: AlertState,
    /// The value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// The state of a rule; of several alerts the gravest.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlertState {
    /// The condition does not hold.
    #[default]
    Inactive,
    /// The condition holds, but not long enough yet.
    Pending,
    /// The condition holds.
    Firing,
    /// There is nothing to evaluate.
    NoData,
    /// What feeds the rule lags or is down; nothing changes meanwhile.
    Stalled,
    /// The rule can't be evaluated.
    Error,
}

/// What the rule worker reports of a rule.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AlertRuleStatus {
    /// The state.
    #[serde(default)]
    pub state: AlertState,
    /// The value of the last evaluation; of several alerts that of the gravest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The first few alerts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertStatus>,
    /// Since when the condition holds, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_at: Option<String>,
    /// When the rule was last evaluated, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_evaluation: Option<String>,
    /// `Ready`, with a reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// One alert of a rule.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatus {
    /// The labels of the series and of the rule.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The rendered texts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its state; `Inactive` is an alert that has resolved.
    #[serde(default)]
    pub state: AlertState,
    /// Its value at the last evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Since when the condition holds, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_at: Option<String>,
    /// When it began to fire, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<String>,
    /// When it resolved, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<String>,
}
