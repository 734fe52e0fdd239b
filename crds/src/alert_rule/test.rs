//! Tests of a rule, written beside it.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{AlertState, default_interval};
use crate::patterns::{ANY_METRIC_NAME, LONGER_THAN_ZERO, labels};
use crate::{Duration, MetricType};

/// A test of a rule.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleTest {
    /// What it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// The time between two values of a series.
    #[serde(default = "default_interval")]
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub interval: Duration,
    /// What there is to evaluate.
    #[schemars(length(max = 64))]
    pub series: Vec<TestSeries>,
    /// What must come of it.
    #[schemars(length(min = 1, max = 64))]
    pub expect: Vec<Expectation>,
}

/// A series of a test.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestSeries {
    /// The metric.
    #[schemars(length(min = 1, max = 200), regex(pattern = ANY_METRIC_NAME))]
    pub metric: String,
    /// Its type. A counter's values are increments.
    #[serde(default = "default_series_type", rename = "type")]
    pub kind: MetricType,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Its values, in the notation of promtool: `0+10x5 _x3 7`.
    #[schemars(length(min = 1, max = 16_384))]
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
