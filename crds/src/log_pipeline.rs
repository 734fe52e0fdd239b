//! `LogPipeline`: from where logs come, what is made of them, and where they go.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::patterns::{LOG_KEY, LONGER_THAN_ZERO, METRIC_NAME, derived_labels, log_matches, preserved_object};
use crate::{ByteSize, Duration};

mod sink;
mod source;

pub use sink::*;
pub use source::*;

/// Moves logs from one source into one log store, and derives metrics from them on the way.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "taffrail.dev",
    version = "v1alpha1",
    kind = "LogPipeline",
    namespaced,
    shortname = "lp",
    category = "taffrail",
    status = "LogPipelineStatus",
    derive = "PartialEq",
    doc = "Moves logs from one source into one log store, and derives metrics from them on the way.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.lag"),
    printcolumn(name = "Consumed", type_ = "integer", json_path = ".status.consumed"),
    printcolumn(name = "DeadLetters", type_ = "integer", json_path = ".status.deadLettered"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("!has(self.deadLetter) || !has(self.deadLetter.kafka) || has(self.source.kafka)")
        .message("a Kafka topic for dead letters needs a Kafka source, because it is on the source's brokers")
        .field_path(".deadLetter"),
    validation = Rule::new(
        "!has(self.deadLetter) || !has(self.deadLetter.kafka) || !has(self.source.kafka) \
         || !((has(self.source.kafka.topic) ? [self.source.kafka.topic] : []) \
         + (has(self.source.kafka.topics) ? self.source.kafka.topics : [])).exists(topic, topic == self.deadLetter.kafka.topic)"
    )
    .message("a pipeline must not read its own dead letters: name another topic")
    .field_path(".deadLetter"),
    validation = Rule::new("!has(self.replicas) || !has(self.autoscaling)")
        .message("set either `replicas` or `autoscaling`: the autoscaler chooses the number of workers")
        .field_path(".replicas"),
    validation = Rule::new("!has(self.autoscaling) || has(self.source.kafka)")
        .message("autoscaling goes by the lag behind Kafka, and so needs a Kafka source")
        .field_path(".autoscaling"),
    validation = Rule::new(
        "!has(self.replicas) || self.replicas <= 1 || has(self.source.kafka) || has(self.source.http)"
    )
    .message("only a Kafka or http source can be shared by several workers")
    .field_path(".replicas")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogPipelineSpec {
    /// Where logs come from. Exactly one kind of source.
    pub source: Source,
    /// How a record is read: `json` (an object per record) or `text` (the record is the message). Anything else is
    /// parsed in `transform`.
    #[serde(default)]
    pub format: Format,
    /// A Vector Remap Language program that is run on every log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536))]
    pub transform: Option<String>,
    /// Metrics derived from each log at the log's own timestamp.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = (
        "self.all(a, self.all(b, a.name != b.name || a.type == b.type))",
        "metrics of one name must be of one type"
    ))]
    pub metrics: Vec<DerivedMetric>,
    /// When a batch is sent.
    #[serde(default)]
    pub batch: Batch,
    /// Where logs go. Exactly one kind of sink.
    pub sink: Sink,
    /// Where records go that can't be read or are refused. Default for an Elasticsearch sink: the index
    /// `<index>-dead-letter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
    /// How many ingestion workers share the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000))]
    pub replicas: Option<u32>,
    /// Scales the workers by how far they lag behind the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// A partial pod template, merged over what the operator renders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "preserved_object")]
    pub template: Option<serde_json::Map<String, serde_json::Value>>,
}

/// How a record is read.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// An object per record.
    #[default]
    Json,
    /// The record is the message.
    Text,
}

/// A metric derived from logs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = (
        "self.type == 'counter' || has(self.value)",
        "a gauge or a histogram needs `value`, the part of a log that holds the number, such as fields.duration_ms"
    ),
    validation = Rule::new("self.type == 'histogram' || !has(self.buckets) || size(self.buckets) == 0")
        .message("only a histogram has buckets")
        .field_path(".buckets")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DerivedMetric {
    /// The metric's name.
    #[schemars(length(min = 1, max = 200), regex(pattern = METRIC_NAME))]
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: MetricType,
    /// Only logs whose keys (`level`, `service`, `host`, `tags.<k>`, `fields.<k>`) have these values are counted.
    #[serde(default, rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "log_matches")]
    pub matches: BTreeMap<String, String>,
    /// Only logs that fit all of these are counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<MatchExpression>,
    /// The key that holds the value. Needed for gauges and histograms; a counter without it counts logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = LOG_KEY))]
    pub value: Option<String>,
    /// The metric's labels, each with the key it is taken from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "derived_labels")]
    pub labels: BTreeMap<String, String>,
    /// Upper bounds of a histogram's buckets. Default: 5 ms to 10 s in milliseconds, 1-2.5-5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = ("self.isSorted()", "bounds of buckets must ascend"))]
    pub buckets: Vec<f64>,
    /// How many series the metric may have; what comes beyond is counted in one series whose labels are all
    /// `__overflow__`.
    #[serde(default = "default_max_series")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_series: u32,
}

fn default_max_series() -> u32 {
    10_000
}

/// The type of a derived metric.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum MetricType {
    /// Counts, or adds up.
    Counter,
    /// The last value.
    Gauge,
    /// A distribution of values.
    Histogram,
}

/// A condition on one key of a log.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = (
        "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
        "`In` and `NotIn` need at least one of `values`"
    ),
    validation = (
        "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || size(self.values) == 0",
        "`Exists` and `DoesNotExist` take no `values`"
    ),
    validation = (
        "!(self.operator in ['Gt', 'Gte', 'Lt', 'Lte']) || (has(self.values) && size(self.values) == 1 \
         && self.values[0].matches(r'^[-+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][-+]?[0-9]+)?$'))",
        "`Gt`, `Gte`, `Lt` and `Lte` need exactly one of `values`, and it must be a number"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchExpression {
    /// `level`, `service`, `host`, `message`, `tags.<k>` or `fields.<k>`.
    #[schemars(length(min = 1, max = 256), regex(pattern = LOG_KEY))]
    pub key: String,
    /// How the key's value is compared.
    pub operator: MatchOperator,
    /// What it is compared with: any of them for `In`, one number for `Gt`, `Gte`, `Lt`, `Lte`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    pub values: Vec<String>,
}

/// How a key's value is compared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOperator {
    /// Is one of the values.
    In,
    /// Is none of the values.
    NotIn,
    /// The key is there.
    Exists,
    /// The key is not there.
    DoesNotExist,
    /// Is a number greater than the value.
    Gt,
    /// Is a number greater than or equal to the value.
    Gte,
    /// Is a number less than the value.
    Lt,
    /// Is a number less than or equal to the value.
    Lte,
}

/// When a batch is sent: at `size` records, after `timeout`, or at `maxBytes`, whichever comes first.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Batch {
    /// Records.
    #[serde(default = "default_batch_size")]
    #[schemars(range(min = 1, max = 100_000))]
    pub size: u32,
    /// How long the first record of a batch waits.
    #[serde(default = "default_batch_timeout")]
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub timeout: Duration,
    /// Bytes that a batch never exceeds, unless one record does.
    #[serde(default = "default_batch_bytes")]
    #[x_kube(validation = ("self.matches('[1-9]')", "must be more than 0"))]
    pub max_bytes: ByteSize,
}

fn default_batch_size() -> u32 {
    100
}

fn default_batch_timeout() -> Duration {
    Duration::from_secs(5)
}

fn default_batch_bytes() -> ByteSize {
    ByteSize(8 << 20)
}

impl Default for Batch {
    fn default() -> Self {
        Self { size: default_batch_size(), timeout: default_batch_timeout(), max_bytes: default_batch_bytes() }
    }
}

/// Scaling by lag.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas")
        .message("`minReplicas` must not be above `maxReplicas`")
        .field_path(".minReplicas")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaling {
    /// At least so many workers.
    #[serde(default = "default_min_replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: u32,
    /// At most so many workers; never more than the topic has partitions.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: u32,
    /// Records that one worker may lag behind.
    #[serde(default = "default_target_lag")]
    #[schemars(range(min = 1, max = 1_000_000_000_000u64))]
    pub target_lag: u64,
}

fn default_min_replicas() -> u32 {
    1
}

fn default_target_lag() -> u64 {
    10_000
}

/// What the ingestion workers of a pipeline report. Counts are since the pipeline was created;
/// `consumed = indexed + deduplicated + deadLettered + filtered`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LogPipelineStatus {
    /// `Ready`, `Progressing`, `Degraded`, each with a reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Workers that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Records in the source that are not yet accounted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Records taken from the source and accounted for.
    #[serde(default)]
    pub consumed: u64,
    /// What became of them.
    #[serde(flatten)]
    pub counts: RecordCounts,
    /// Up to which event time the pipeline has delivered, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
    /// What the counts above consist of where the source is Kafka, by topic and partition. The counts of a
    /// partition go with it from worker to worker. A topic that was read before keeps its entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub partitions: Vec<PartitionStatus>,
}

/// What became of records.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RecordCounts {
    /// Records that the store acknowledged as new.
    #[serde(default)]
    pub indexed: u64,
    /// Records that the store had already.
    #[serde(default)]
    pub deduplicated: u64,
    /// Records that the dead-letter target acknowledged.
    #[serde(default)]
    pub dead_lettered: u64,
    /// Records that the transform dropped on purpose.
    #[serde(default)]
    pub filtered: u64,
    /// Records that Kafka's retention removed before they were read. They are not among those consumed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl RecordCounts {
    fn each(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            indexed: combine(self.indexed, other.indexed),
            deduplicated: combine(self.deduplicated, other.deduplicated),
            dead_lettered: combine(self.dead_lettered, other.dead_lettered),
            filtered: combine(self.filtered, other.filtered),
            lost: combine(self.lost, other.lost),
        }
    }

    /// Both together. Counts come from anybody, and so end at the largest number instead of beyond it.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// What these have beyond others, and never less than nothing.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        self.each(other, u64::saturating_sub)
    }

    /// All records that were consumed.
    #[must_use]
    pub fn total(self) -> u64 {
        let parts = [self.deduplicated, self.dead_lettered, self.filtered];
        parts.into_iter().fold(self.indexed, u64::saturating_add)
    }
}

/// What became of the records of one partition of a Kafka topic.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PartitionStatus {
    /// The topic.
    pub topic: String,
    /// Its number. An entry without one is the sum of the topic's partitions that are not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub partition: Option<i32>,
    /// What became of them.
    #[serde(flatten)]
    pub counts: RecordCounts,
    /// Records in the partition that are not yet accounted for, as its owner said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
}
