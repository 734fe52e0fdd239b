//! `LogPipeline`: from where logs come, what is made of them, and where they go.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Duration};

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
    derive = "PartialEq"
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
    pub transform: Option<String>,
    /// Metrics derived from each log at the log's own timestamp.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
    pub replicas: Option<u32>,
    /// Scales the workers by how far they lag behind the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// A partial pod template, merged over what the operator renders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "preserved_object")]
    pub template: Option<serde_json::Map<String, serde_json::Value>>,
}

fn preserved_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Where logs come from; exactly one is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// A Kafka topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSource>,
    /// Logs that others send over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSource>,
    /// Files that are followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
    /// The standard input of a single process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<StdinSource>,
    /// Generated traffic of a small web shop, for trying things out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demo: Option<DemoSource>,
}

/// A Kafka topic.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaSource {
    /// Bootstrap servers, `host:port`.
    pub brokers: Vec<String>,
    /// The topic to read.
    pub topic: String,
    /// The consumer group. Default: `taffrail-<name of the pipeline>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where a group starts that has committed nothing yet.
    #[serde(default)]
    pub start_from: StartFrom,
    /// Encrypts the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<KafkaTls>,
    /// Authenticates to the brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<KafkaSasl>,
}

/// Where a consumer group without committed offsets starts.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum StartFrom {
    /// At the oldest record there is.
    #[default]
    Earliest,
    /// At records written from now on.
    Latest,
}

/// TLS to Kafka brokers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaTls {
    /// Secret whose `ca.crt` signs the brokers' certificates. Default: the system's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_name: Option<String>,
    /// Secret with `tls.crt` and `tls.key`, shown to the brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_name: Option<String>,
}

/// SASL to Kafka brokers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaSasl {
    /// The mechanism.
    pub mechanism: SaslMechanism,
    /// Secret with `username` and `password`; for OAUTHBEARER `tokenEndpoint`, `clientId`, `clientSecret`.
    pub secret_name: String,
}

/// A SASL mechanism.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// User and password in the clear; use it with TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Challenge and response with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Challenge and response with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// OAuth 2 client credentials.
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
}

/// Logs over HTTP: NDJSON, JSON arrays, Elasticsearch `_bulk`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpSource {
    /// The port to listen on.
    #[serde(default = "default_http_port")]
    pub port: u16,
}

fn default_http_port() -> u16 {
    8081
}

/// Files that are followed, through rotation and restarts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSource {
    /// Paths; `*` and `?` match within a name, `**` across folders.
    pub paths: Vec<String>,
}

/// The standard input of a single process.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StdinSource {}

/// Generated traffic of a small web shop.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DemoSource {
    /// Logs per second, on average.
    #[serde(default = "default_demo_rate")]
    pub rate: u32,
}

fn default_demo_rate() -> u32 {
    50
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DerivedMetric {
    /// The metric's name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: MetricType,
    /// Only logs whose keys (`level`, `service`, `host`, `tags.<k>`, `fields.<k>`) have these values are counted.
    #[serde(default, rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    pub matches: BTreeMap<String, String>,
    /// Only logs that fit all of these are counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<MatchExpression>,
    /// The key that holds the value. Needed for gauges and histograms; a counter without it counts logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The metric's labels, each with the key it is taken from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Upper bounds of a histogram's buckets. Default: 5 ms to 10 s in milliseconds, 1-2.5-5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<f64>,
    /// How many series the metric may have; what comes beyond is counted in one series whose labels are all
    /// `__overflow__`.
    #[serde(default = "default_max_series")]
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchExpression {
    /// `level`, `service`, `host`, `message`, `tags.<k>` or `fields.<k>`.
    pub key: String,
    /// How the key's value is compared.
    pub operator: MatchOperator,
    /// What it is compared with: any of them for `In`, one number for `Gt`, `Gte`, `Lt`, `Lte`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
    pub size: u32,
    /// How long the first record of a batch waits.
    #[serde(default = "default_batch_timeout")]
    pub timeout: Duration,
    /// Bytes that a batch never exceeds, unless one record does.
    #[serde(default = "default_batch_bytes")]
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

/// Where logs go; exactly one is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sink {
    /// Elasticsearch or OpenSearch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<ElasticsearchSink>,
    /// The built-in store of a single process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<EmbeddedSink>,
}

/// Elasticsearch or OpenSearch.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ElasticsearchSink {
    /// Addresses of the nodes, `http://host:9200`.
    pub urls: Vec<String>,
    /// What the daily indices' names begin with: `logs` gives `logs-2024.08.16`.
    #[serde(default = "default_index")]
    pub index: String,
    /// Credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<ElasticsearchAuth>,
    /// Whom to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ElasticsearchTls>,
}

fn default_index() -> String {
    "logs".to_owned()
}

/// Credentials for Elasticsearch.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ElasticsearchAuth {
    /// Secret with `username` and `password`, or with `apiKey` (the base64 form that Elasticsearch gives out).
    pub secret_name: String,
}

/// TLS to Elasticsearch.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ElasticsearchTls {
    /// Secret whose `ca.crt` signs the server's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_name: Option<String>,
    /// Accepts any certificate. For trying things out only.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// The built-in store of a single process.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmbeddedSink {
    /// How long logs are kept, by their own day.
    #[serde(default = "default_embedded_retention")]
    pub retention: Duration,
}

fn default_embedded_retention() -> Duration {
    Duration::from_secs(7 * 86_400)
}

/// Where records go that can't be read or are refused; exactly one is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadLetter {
    /// A Kafka topic on the source's brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<DeadLetterTopic>,
    /// An index of the sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
}

/// A Kafka topic for dead letters.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadLetterTopic {
    /// The topic.
    pub topic: String,
}

/// Scaling by lag.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaling {
    /// At least so many workers.
    #[serde(default = "default_min_replicas")]
    pub min_replicas: u32,
    /// At most so many workers; never more than the topic has partitions.
    pub max_replicas: u32,
    /// Records that one worker may lag behind.
    #[serde(default = "default_target_lag")]
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
    /// Up to which event time the pipeline has delivered, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
}
