//! The classic form: a `config.yaml` and a file of rules, as Taffrail's predecessor read them, turned into objects.
//!
//! One configuration becomes one [`LogPipeline`] named `logs`, which also derives the metrics that classic rules ask for,
//! a Secret when Elasticsearch wants a user, one [`AlertRule`] for each rule, and a [`Dashboard`](crate::Dashboard).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::manifest::Problem;
use crate::{
    AlertRule, AlertRuleSpec, DEFAULT_NAMESPACE, Duration, ElasticsearchAuth, ElasticsearchSink, KafkaSource,
    LogPipeline, LogPipelineSpec, Object, Sink, Source,
};

mod config;
mod dashboard;
mod metrics;
mod rules;

pub use config::{Alerting, Config, DashboardConfig, Elasticsearch, Kafka, Metrics};

/// What a classic file became.
#[derive(Debug, Clone, Default)]
pub struct Converted {
    /// The objects, in the order in which they are best read.
    pub objects: Vec<Object>,
    /// What is wrong in the file, and is missing from the objects for that.
    pub problems: Vec<Problem>,
    /// What was left out or changed because it has no counterpart.
    pub notes: Vec<Problem>,
}

/// The objects that do what a configuration, and the text of its rules file, say.
///
/// Problems are those of the rules file; a rule that is wrong does not keep the others from being converted.
#[must_use]
pub fn objects(config: &Config, rules_json: Option<&str>) -> Converted {
    let mut objects = Vec::new();
    let auth = credentials(&config.elasticsearch).map(|secret| {
        objects.push(Object::Secret(Arc::new(secret)));
        ElasticsearchAuth { secret_name: SECRET.to_owned() }
    });
    objects.push(Object::LogPipeline(Arc::new(pipeline(config, auth))));
    objects.push(Object::Dashboard(Arc::new(dashboard::overview())));
    let mut rules = rules_json.map(|text| rules(text, config.alerting.check_interval)).unwrap_or_default();
    objects.append(&mut rules.objects);
    Converted { objects, ..rules }
}

/// The AlertRules of a classic rules file. `interval` is how often they are evaluated.
#[must_use]
pub fn rules(text: &str, interval: Duration) -> Converted {
    let mut problems = Vec::new();
    let rules = rules::parse(text, &mut problems);
    let mut names = Names::default();
    let objects = rules.into_iter().map(|rule| {
        let mut object = AlertRule::new(
            &names.unique(&rule.name),
            AlertRuleSpec {
                name: Some(rule.name),
                query: Some(rule.query),
                operator: Some(rule.operator),
                threshold: Some(rule.threshold),
                duration: rule.duration,
                interval,
                labels: rule.labels,
                annotations: rule.annotations,
                ..AlertRuleSpec::default()
            },
        );
        object.metadata.namespace = Some(DEFAULT_NAMESPACE.to_owned());
        Object::AlertRule(Arc::new(object))
    });
    Converted { objects: objects.collect(), problems, notes: Vec::new() }
}

const SECRET: &str = "elasticsearch";

fn credentials(elasticsearch: &Elasticsearch) -> Option<Secret> {
    if elasticsearch.username.is_empty() && elasticsearch.password.is_empty() {
        return None;
    }
    let entry = |key: &str, text: &str| (key.to_owned(), ByteString(text.as_bytes().to_vec()));
    let data = [entry("username", &elasticsearch.username), entry("password", &elasticsearch.password)];
    Some(Secret { metadata: metadata(SECRET), data: Some(BTreeMap::from(data)), ..Secret::default() })
}

fn pipeline(config: &Config, auth: Option<ElasticsearchAuth>) -> LogPipeline {
    let kafka = KafkaSource {
        brokers: config.kafka.brokers.iter().map(|broker| with_port(broker)).collect(),
        topic: Some(config.kafka.topic.clone()),
        group: Some("taffrail-logs".to_owned()),
        ..KafkaSource::default()
    };
    let elasticsearch = ElasticsearchSink {
        urls: config.elasticsearch.urls.clone(),
        index: config.elasticsearch.index.clone(),
        auth,
        tls: None,
        retention: None,
        compression: crate::SinkCompression::default(),
    };
    let spec = LogPipelineSpec {
        source: Source { kafka: Some(kafka), ..Source::default() },
        format: crate::Format::default(),
        transform: None,
        metrics: metrics::derived(),
        // The classic batch of 100 logs or 5 s is the default here, too.
        batch: crate::Batch::default(),
        sink: Sink { elasticsearch: Some(elasticsearch), embedded: None },
        dead_letter: None,
        replicas: None,
        autoscaling: None,
        template: None,
    };
    let mut pipeline = LogPipeline::new("logs", spec);
    pipeline.metadata.namespace = Some(DEFAULT_NAMESPACE.to_owned());
    pipeline
}

/// Kafka clients take 9092 for granted; objects want it said.
fn with_port(broker: &str) -> String {
    let port = broker.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    if port { broker.to_owned() } else { format!("{broker}:9092") }
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), namespace: Some(DEFAULT_NAMESPACE.to_owned()), ..ObjectMeta::default() }
}

/// Gives out names of objects, each once.
#[derive(Default)]
pub(crate) struct Names {
    taken: std::collections::BTreeSet<String>,
}

impl Names {
    /// `HighErrorRate` becomes `high-error-rate`, and the next one of that name `high-error-rate-2`.
    pub(crate) fn unique(&mut self, shown: &str) -> String {
        // Leaves room for the number within the 253 characters that a name may have.
        const LONGEST: usize = 240;
        let mut name = String::new();
        let mut lower_before = false;
        for c in shown.chars() {
            if c.is_ascii_alphanumeric() {
                if c.is_ascii_uppercase() && lower_before {
                    name.push('-');
                }
                name.push(c.to_ascii_lowercase());
            } else if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
            lower_before = c.is_ascii_lowercase() || c.is_ascii_digit();
            if name.len() >= LONGEST {
                break;
            }
        }
        let name = name.trim_end_matches('-');
        let name = if name.is_empty() { "rule" } else { name };
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
        let unique = candidates.find(|candidate| !self.taken.contains(candidate)).unwrap_or_default();
        self.taken.insert(unique.clone());
        unique
    }
}

#[cfg(test)]
mod tests;
