//! Where logs come from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::patterns::{DNS_NAME, HOST_PORT, TOPIC};

/// Where logs come from; exactly one is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = (
    "[has(self.kafka), has(self.http), has(self.file), has(self.stdin), has(self.demo)].exists_one(set, set)",
    "name exactly one source: kafka, http, file, stdin or demo"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// Kafka topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSource>,
    /// Logs that others send: lines and JSON over HTTP, Elasticsearch's `_bulk`, OTLP over HTTP and gRPC, Loki's push.
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

/// Kafka topics.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = (
    "[has(self.topic), has(self.topics), has(self.topicPattern)].exists_one(set, set)",
    "name exactly one of `topic`, `topics` and `topicPattern`"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaSource {
    /// Bootstrap servers, `host:port`.
    #[schemars(length(min = 1, max = 32), inner(length(max = 260), regex(pattern = HOST_PORT)))]
    pub brokers: Vec<String>,
    /// The topic to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = TOPIC))]
    pub topic: Option<String>,
    /// The topics to read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 249), regex(pattern = TOPIC)))]
    pub topics: Vec<String>,
    /// Which topics to read: an extended regular expression (POSIX) that the whole name must match, such as `logs-.*`.
    /// A new topic is noticed within seconds. Topics whose names begin with `__` are Kafka's own and never match, and
    /// neither does the pipeline's topic of dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub topic_pattern: Option<String>,
    /// The consumer group. Default: `taffrail-<name of the pipeline>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub group: Option<String>,
    /// Where a group starts that has committed nothing yet. Partitions and topics that come later are read from their
    /// beginning.
    #[serde(default)]
    pub start_from: StartFrom,
    /// Encrypts the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<KafkaTls>,
    /// Authenticates to the brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<KafkaSasl>,
}

impl KafkaSource {
    /// Whether a topic is named. Nobody but Kafka can tell where there is a pattern: then it is none.
    #[must_use]
    pub fn names(&self, topic: &str) -> Option<bool> {
        let named = || self.topic.iter().chain(&self.topics).any(|named| named == topic);
        self.topic_pattern.is_none().then(named)
    }
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
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub ca_secret_name: Option<String>,
    /// Secret with `tls.crt` and `tls.key`, shown to the brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub cert_secret_name: Option<String>,
}

/// SASL to Kafka brokers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaSasl {
    /// The mechanism.
    pub mechanism: SaslMechanism,
    /// Secret with `username` and `password`; for OAUTHBEARER `tokenEndpoint`, `clientId`, `clientSecret`.
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
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

/// Logs that others send: NDJSON and JSON arrays, Elasticsearch's `_bulk`, OTLP over HTTP and gRPC, Loki's push; plain or
/// compressed by gzip, zstd, deflate or snappy. Success is answered once the sink has acknowledged.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpSource {
    /// The port to listen on, for all of them.
    #[serde(default = "default_http_port")]
    #[schemars(range(min = 1))]
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
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 4096)))]
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
    #[schemars(range(min = 1, max = 100_000))]
    pub rate: u32,
}

fn default_demo_rate() -> u32 {
    50
}
