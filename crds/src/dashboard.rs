//! `Dashboard`: panels over metrics and logs, and how people reach them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::patterns::{ANY_METRIC_NAME, DNS_NAME, LABEL_NAME, LONGER_THAN_ZERO, URL_PATH};

/// Shows metrics, logs and alerts on one page.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "taffrail.dev",
    version = "v1alpha1",
    kind = "Dashboard",
    namespaced,
    shortname = "dash",
    category = "taffrail",
    status = "DashboardStatus",
    derive = "PartialEq",
    doc = "Shows metrics, logs and alerts on one page.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Title", type_ = "string", json_path = ".spec.title"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DashboardSpec {
    /// The title. Default: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub title: Option<String>,
    /// How far back panels look.
    #[serde(default = "default_range")]
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub range: Duration,
    /// How often panels are drawn anew; `0` is never.
    #[serde(default = "default_refresh")]
    pub refresh: Duration,
    /// Choices that queries refer to as `$name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub variables: Vec<Variable>,
    /// What is shown, from left to right and top to bottom in a grid of twelve columns.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub panels: Vec<Panel>,
    /// Makes the dashboard reachable from outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<DashboardIngress>,
    /// Who may look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
}

fn default_range() -> Duration {
    Duration::from_secs(3600)
}

fn default_refresh() -> Duration {
    Duration::from_secs(10)
}

/// A choice that queries refer to as `$name`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = (
        "has(self.labelValues) != (has(self.values) && size(self.values) > 0)",
        "a variable needs exactly one of `labelValues` and `values`"
    ),
    validation = Rule::new(
        "!has(self.default) || !has(self.values) || size(self.values) == 0 || self.default in self.values"
    )
    .message("`default` must be one of `values`")
    .field_path(".default")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    #[schemars(length(min = 1, max = 64), regex(pattern = LABEL_NAME))]
    pub name: String,
    /// Choices taken from the values of a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_values: Option<LabelValues>,
    /// Choices written down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 256)))]
    pub values: Vec<String>,
    /// What is chosen at first. Default: the first choice.
    #[serde(default, rename = "default", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub initial: Option<String>,
}

/// The values of a label.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelValues {
    /// The metric that has the label.
    #[schemars(length(min = 1, max = 200), regex(pattern = ANY_METRIC_NAME))]
    pub metric: String,
    /// The label.
    #[schemars(length(min = 1, max = 200), regex(pattern = LABEL_NAME))]
    pub label: String,
}

/// One panel.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = (
        "self.type in ['logs', 'alerts', 'text'] || (has(self.queries) && size(self.queries) > 0)",
        "a timeseries, stat, gauge, bar, table or heatmap needs at least one of `queries`"
    ),
    validation = Rule::new(
        "!(self.type in ['logs', 'alerts', 'text']) || !has(self.queries) || size(self.queries) == 0"
    )
    .message("a panel of type logs, alerts or text has no `queries`")
    .field_path(".queries"),
    validation = (
        "(self.type == 'logs') == has(self.logs)",
        "`logs` belongs to a panel of type logs, and such a panel needs it"
    ),
    validation = (
        "(self.type == 'text') == has(self.text)",
        "`text` belongs to a panel of type text, and such a panel needs it"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Panel {
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub title: Option<String>,
    /// How it looks.
    #[serde(default, rename = "type")]
    pub kind: PanelType,
    /// The unit of its values: `short`, `percent` (0 to 100), `percentunit` (0 to 1), `bytes`, `ms`, `s`, `reqps`,
    /// or any word that is written behind the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub unit: Option<String>,
    /// Queries of metrics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub queries: Vec<PanelQuery>,
    /// A search in logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<PanelLogs>,
    /// Markdown, for `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16_384))]
    pub text: Option<String>,
    /// Values from which on a panel warns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub thresholds: Vec<Threshold>,
    /// Columns of twelve.
    #[serde(default = "default_width")]
    #[schemars(range(min = 1, max = 12))]
    pub width: u8,
    /// Height in rows of 40 pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub height: Option<u8>,
}

fn default_width() -> u8 {
    6
}

/// How a panel looks.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum PanelType {
    /// Lines over time.
    #[default]
    Timeseries,
    /// One large number.
    Stat,
    /// A number within its bounds.
    Gauge,
    /// A bar for each series.
    Bar,
    /// A row for each series.
    Table,
    /// A distribution over time.
    Heatmap,
    /// Log lines.
    Logs,
    /// Alerts.
    Alerts,
    /// Markdown.
    Text,
}

/// A query of metrics.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = (
    "has(self.query) != has(self.expr)",
    "name exactly one of `query` (short form) and `expr` (PromQL)"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PanelQuery {
    /// In the short form. Exactly one of `query` and `expr` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub query: Option<String>,
    /// In PromQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536))]
    pub expr: Option<String>,
    /// The window of a query in the short form. Default: one step of the panel, at least a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub duration: Option<Duration>,
    /// The name of a series, with `{{label}}` for the value of a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub legend: Option<String>,
}

/// A search in logs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PanelLogs {
    /// In Lucene's syntax.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub query: String,
    /// How many lines.
    #[serde(default = "default_log_lines")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u32,
}

fn default_log_lines() -> u32 {
    100
}

/// A value from which on a panel warns.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Threshold {
    /// The value.
    pub value: f64,
    /// How bad it is.
    #[serde(default)]
    pub severity: Severity,
}

/// How bad a value is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look.
    #[default]
    Warning,
    /// Worth getting up for.
    Critical,
}

/// How a dashboard is reached from outside the cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DashboardIngress {
    /// The host name.
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub host: String,
    /// The ingress class. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub class_name: Option<String>,
    /// Secret with the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub tls_secret_name: Option<String>,
    /// The path below which the dashboard is served.
    #[serde(default = "default_path")]
    #[schemars(length(max = 256), regex(pattern = URL_PATH))]
    pub path: String,
}

fn default_path() -> String {
    "/".to_owned()
}

/// Who may look at a dashboard.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Access {
    /// Secret whose values are API keys. Default: `taffrail-dashboard`, which the operator makes.
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub api_key_secret_name: String,
}

/// What is reported of a dashboard.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DashboardStatus {
    /// Where it can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `Ready`, with a reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
