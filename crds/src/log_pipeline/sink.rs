//! Where logs go, and where those go that can't be read or are refused.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::patterns::{DNS_NAME, INDEX, LONGER_THAN_ZERO, TOPIC, URL};

/// Where logs go; exactly one is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = (
    "has(self.elasticsearch) != has(self.embedded)",
    "name exactly one sink: elasticsearch or embedded"
))]
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
    #[schemars(length(min = 1, max = 32), inner(length(max = 2048), regex(pattern = URL)))]
    pub urls: Vec<String>,
    /// What the daily indices' names begin with: `logs` gives `logs-2024.08.16`.
    #[serde(default = "default_index")]
    #[schemars(length(min = 1, max = 200), regex(pattern = INDEX))]
    pub index: String,
    /// Credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<ElasticsearchAuth>,
    /// Whom to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ElasticsearchTls>,
    /// How long a day's index is kept: it is deleted when its day is over, and when it was made, for longer than this.
    /// Without it nothing is deleted, but for what the server's own policies say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub retention: Option<Duration>,
    /// How what is written is compressed on its way: `none`, the default, or `gzip`. Compressing takes more processor time
    /// than all else that ingestion does; it pays where the way to Elasticsearch is slow, or is paid for by the byte.
    #[serde(default, skip_serializing_if = "is_default")]
    pub compression: SinkCompression,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_index() -> String {
    "logs".to_owned()
}

/// How what is written to Elasticsearch is compressed on its way.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum SinkCompression {
    /// Not at all.
    #[default]
    None,
    /// By gzip.
    Gzip,
}

/// Credentials for Elasticsearch.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ElasticsearchAuth {
    /// Secret with `username` and `password`, or with `apiKey` (the base64 form that Elasticsearch gives out).
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub secret_name: String,
}

/// TLS to Elasticsearch.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ElasticsearchTls {
    /// Secret whose `ca.crt` signs the server's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub ca_secret_name: Option<String>,
    /// Secret with `tls.crt` and `tls.key`, shown to the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = DNS_NAME))]
    pub cert_secret_name: Option<String>,
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
    #[x_kube(validation = LONGER_THAN_ZERO)]
    pub retention: Duration,
}

fn default_embedded_retention() -> Duration {
    Duration::from_secs(7 * 86_400)
}

/// Where records go that can't be read or are refused; exactly one is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = (
    "has(self.kafka) != has(self.index)",
    "name exactly one place for dead letters: kafka or index"
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadLetter {
    /// A Kafka topic on the source's brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<DeadLetterTopic>,
    /// An index of the sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = INDEX))]
    pub index: Option<String>,
}

/// A Kafka topic for dead letters.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadLetterTopic {
    /// The topic.
    #[schemars(length(min = 1, max = 249), regex(pattern = TOPIC))]
    pub topic: String,
}
