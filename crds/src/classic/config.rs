//! The classic `config.yaml`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::manifest::schema::Schema;
use crate::manifest::{Finding, Problem, documents};
use crate::patterns::{BROKER, INDEX, METRICS_PATH, TOPIC, URL};

/// A classic configuration. What it leaves out has the value that the classic services had.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where logs come from.
    pub kafka: Kafka,
    /// Where logs go.
    pub elasticsearch: Elasticsearch,
    /// Metrics.
    pub metrics: Metrics,
    /// Rules.
    pub alerting: Alerting,
    /// Page and REST API.
    pub dashboard: DashboardConfig,
}

/// Where logs come from.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// Bootstrap servers, `host:port` or `host`.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 254), regex(pattern = BROKER)))]
    pub brokers: Vec<String>,
    /// The topic.
    #[schemars(length(min = 1, max = 249), regex(pattern = TOPIC))]
    pub topic: String,
}

/// Where logs go.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Elasticsearch {
    /// Addresses of the nodes.
    #[schemars(length(min = 1, max = 32), inner(length(max = 2048), regex(pattern = URL)))]
    pub urls: Vec<String>,
    /// What the daily indices' names begin with.
    #[schemars(length(min = 1, max = 200), regex(pattern = INDEX))]
    pub index: String,
    /// The user; empty where none is asked for.
    pub username: String,
    /// The user's password.
    pub password: String,
}

/// Metrics.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// The port of the metrics API.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The path of the metrics in text. Taffrail serves them under `/metrics`.
    #[schemars(regex(pattern = METRICS_PATH))]
    pub path: String,
    /// How many days metrics are kept.
    #[schemars(range(min = 1, max = 3650))]
    pub retention_days: u32,
}

/// Rules.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Alerting {
    /// The file of the rules; empty where there are none.
    pub rules_path: String,
    /// How often rules are evaluated.
    pub check_interval: Duration,
}

/// Page and REST API.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct DashboardConfig {
    /// The port.
    #[schemars(range(min = 1))]
    pub port: u16,
}

impl Default for Kafka {
    fn default() -> Self {
        Self { brokers: vec!["localhost:9092".to_owned()], topic: "logs".to_owned() }
    }
}

impl Default for Elasticsearch {
    fn default() -> Self {
        Self {
            urls: vec!["http://localhost:9200".to_owned()],
            index: "logs".to_owned(),
            username: String::new(),
            password: String::new(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { port: 9090, path: "/metrics".to_owned(), retention_days: 15 }
    }
}

impl Default for Alerting {
    fn default() -> Self {
        Self { rules_path: String::new(), check_interval: Duration::from_secs(30) }
    }
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self { port: 8080 }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// With everything that is wrong, each with its line and column: what is not YAML, unknown keys, and values that
    /// can't be.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let Some(schema) = Schema::of::<Self>() else { return Ok(Self::default()) };
        let mut findings = Vec::new();
        let mut config = None;
        let broken = documents(text, |node, found| {
            findings.extend(found);
            if node.is_null() {
                return;
            }
            if config.is_some() {
                let message = "a configuration is one document; this is another".to_owned();
                findings.push(Finding { at: node.at, path: String::new(), message });
            }
            let read = schema.read::<Self>(&node, "", &mut findings);
            if read.as_ref().is_some_and(|config| config.alerting.check_interval == Duration::default()) {
                let path = "alerting.check_interval".to_owned();
                findings.push(Finding {
                    at: node.nearest(&path).at,
                    path,
                    message: "must be longer than 0s".to_owned(),
                });
            }
            config = read.or(config.take());
        });
        findings.extend(broken);
        let mut problems: Vec<_> = findings.into_iter().map(|finding| finding.of(None)).collect();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        if problems.is_empty() { Ok(config.unwrap_or_default()) } else { Err(problems) }
    }

    /// The configuration with what the environment says instead: `KAFKA_BROKERS` and `ELASTICSEARCH_URL`, both with
    /// commas between several.
    #[must_use]
    pub fn with_environment(mut self, kafka_brokers: Option<&str>, elasticsearch_url: Option<&str>) -> Self {
        let listed = |text: &str| -> Vec<String> {
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        if let Some(brokers) = kafka_brokers.map(listed).filter(|brokers| !brokers.is_empty()) {
            self.kafka.brokers = brokers;
        }
        if let Some(urls) = elasticsearch_url.map(listed).filter(|urls| !urls.is_empty()) {
            self.elasticsearch.urls = urls;
        }
        self
    }
}
