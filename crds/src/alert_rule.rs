//! `AlertRule`: a condition on metrics or logs, and whom to tell when it holds.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::patterns::{LABEL_NAME, LOG_KEY, LONGER_THAN_ZERO, annotations, labels};

mod receiver;
mod status;
mod test;

pub use receiver::*;
pub use status::*;
pub use test::*;

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
    derive = "PartialEq",
    doc = "Watches a number and tells somebody when it is wrong.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Value", type_ = "number", json_path = ".status.value"),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.activeAt"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = (
        "[has(self.query), has(self.expr), has(self.logs)].exists_one(set, set)",
        "name exactly one of `query` (short form), `expr` (PromQL) and `logs`"
    ),
    validation = (
        "has(self.operator) == has(self.threshold)",
        "`operator` and `threshold` belong together: set both, or neither where `expr` compares"
    ),
    validation = (
        "has(self.expr) || has(self.operator) || has(self.threshold)",
        "`query` and `logs` need `operator` and `threshold`, such as operator: \">\" and threshold: 10"
    ),
    validation = Rule::new(
        "!has(self.resolveThreshold) || (has(self.operator) && self.operator in ['>', '>=', '<', '<='])"
    )
    .message("`resolveThreshold` needs one of the operators > >= < <=")
    .field_path(".resolveThreshold"),
    validation = Rule::new(
        "!has(self.resolveThreshold) || !has(self.operator) || !has(self.threshold) \
         || !(self.operator in ['>', '>=']) || double(self.resolveThreshold) <= double(self.threshold)"
    )
    .message("`resolveThreshold` must not be above `threshold` when the operator is > or >=")
    .field_path(".resolveThreshold"),
    validation = Rule::new(
        "!has(self.resolveThreshold) || !has(self.operator) || !has(self.threshold) \
         || !(self.operator in ['<', '<=']) || double(self.resolveThreshold) >= double(self.threshold)"
    )
    .message("`resolveThreshold` must not be below `threshold` when the operator is < or <=")
    .field_path(".resolveThreshold")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertRuleSpec {
    /// The name that people see. Default: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// A query in the short form, `rate error_count service=api`. Exactly one of `query`, `expr` and `logs` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub query: Option<String>,
    /// A query in PromQL. It may carry its own comparison instead of `operator` and `threshold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536))]
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
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub duration: Duration,
    /// How long the condition must hold before the alert fires.
    #[serde(default, rename = "for")]
    pub hold: Duration,
    /// How long the alert goes on firing after the condition has ceased.
    #[serde(default)]
    pub keep_firing_for: Duration,
    /// How often the rule is evaluated.
    #[serde(default = "default_interval")]
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub interval: Duration,
    /// How far behind the present the window ends.
    #[serde(default)]
    pub eval_delay: Duration,
    /// What it means when there is nothing to evaluate.
    #[serde(default)]
    pub no_data: NoData,
    /// Labels of the alerts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Texts of the alerts, as minijinja templates over `labels`, `value`, `threshold` and `rule`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Whom to tell. Default: the operator's receivers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub notify: Vec<Receiver>,
    /// How alerts are gathered into notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Grouping>,
    /// Alerts that nobody is told of for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub silences: Vec<Silence>,
    /// Tests that are run when the rule is loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tests: Vec<RuleTest>,
    /// Stops the evaluation; a firing alert resolves.
    #[serde(default)]
    pub suspend: bool,
}

impl Default for AlertRuleSpec {
    fn default() -> Self {
        Self {
            name: None,
            query: None,
            expr: None,
            logs: None,
            operator: None,
            threshold: None,
            resolve_threshold: None,
            duration: default_window(),
            hold: Duration::default(),
            keep_firing_for: Duration::default(),
            interval: default_interval(),
            eval_delay: Duration::default(),
            no_data: NoData::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            notify: Vec::new(),
            group: None,
            silences: Vec::new(),
            tests: Vec::new(),
            suspend: false,
        }
    }
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
    #[schemars(length(min = 1, max = 4096))]
    pub q: String,
    /// What is made of them.
    #[serde(default)]
    pub function: LogsFunction,
    /// One alert for each value of these keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 256), regex(pattern = LOG_KEY)))]
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

/// How alerts are gathered into notifications.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grouping {
    /// One notification for each value of these labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 256), regex(pattern = LABEL_NAME)))]
    pub by: Vec<String>,
    /// How long the first alert of a group waits for others.
    #[serde(default = "default_group_wait")]
    pub wait: Duration,
    /// How long a group that was told of waits before it tells of new alerts.
    #[serde(default = "default_group_interval")]
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub interval: Duration,
    /// How often an unchanged group is told of again.
    #[serde(default = "default_group_repeat")]
    #[x_kube(validation = LONGER_THAN_ZERO)]
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
    #[schemars(schema_with = "labels")]
    pub matches: BTreeMap<String, String>,
    /// When it ends.
    pub until: Time,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub comment: Option<String>,
}
