//! Which secrets objects refer to.

use std::collections::BTreeSet;

use crate::{AlertRuleSpec, DashboardSpec, LogPipelineSpec, Receiver, Sink, Source};

impl Source {
    /// Names of the secrets that reaching the source needs.
    #[must_use]
    pub fn secret_names(&self) -> BTreeSet<String> {
        let kafka = self.kafka.as_ref();
        let sasl = kafka.and_then(|kafka| kafka.sasl.as_ref()).map(|sasl| sasl.secret_name.clone());
        let tls = kafka.and_then(|kafka| kafka.tls.as_ref());
        let tls = tls.into_iter().flat_map(|tls| [tls.ca_secret_name.clone(), tls.cert_secret_name.clone()]);
        sasl.into_iter().chain(tls.flatten()).collect()
    }
}

impl Sink {
    /// Names of the secrets that reaching the sink needs.
    #[must_use]
    pub fn secret_names(&self) -> BTreeSet<String> {
        let elasticsearch = self.elasticsearch.as_ref();
        let auth = elasticsearch.and_then(|sink| sink.auth.as_ref()).map(|auth| auth.secret_name.clone());
        let tls = elasticsearch.and_then(|sink| sink.tls.as_ref());
        let tls = tls.into_iter().flat_map(|tls| [tls.ca_secret_name.clone(), tls.cert_secret_name.clone()]);
        auth.into_iter().chain(tls.flatten()).collect()
    }
}

impl LogPipelineSpec {
    /// Names of all secrets that the pipeline needs.
    #[must_use]
    pub fn secret_names(&self) -> BTreeSet<String> {
        self.source.secret_names().into_iter().chain(self.sink.secret_names()).collect()
    }

    /// Names of the secrets that reading what the pipeline has written needs: its logs, and its dead letters.
    #[must_use]
    pub fn reader_secret_names(&self) -> BTreeSet<String> {
        let in_topic = self.dead_letter.as_ref().is_some_and(|letters| letters.kafka.is_some());
        if in_topic { self.secret_names() } else { self.sink.secret_names() }
    }
}

impl Receiver {
    /// The name of the secret that reaching the receiver needs.
    #[must_use]
    pub fn secret_name(&self) -> Option<&str> {
        let optional = [
            self.webhook.as_ref().map(|webhook| &webhook.secret_name),
            self.alertmanager.as_ref().map(|alertmanager| &alertmanager.secret_name),
            self.email.as_ref().map(|email| &email.secret_name),
        ];
        let slack = self.slack.as_ref().map(|slack| slack.secret_name.as_str());
        let pagerduty = self.pagerduty.as_ref().map(|pagerduty| pagerduty.secret_name.as_str());
        optional.into_iter().flatten().find_map(|name| name.as_deref()).or(slack).or(pagerduty)
    }
}

impl AlertRuleSpec {
    /// Names of all secrets that telling receivers of the rule needs.
    #[must_use]
    pub fn secret_names(&self) -> BTreeSet<String> {
        self.notify.iter().filter_map(Receiver::secret_name).map(str::to_owned).collect()
    }
}

impl DashboardSpec {
    /// Names of all secrets that guard the dashboard.
    #[must_use]
    pub fn secret_names(&self) -> BTreeSet<String> {
        self.access.iter().map(|access| access.api_key_secret_name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn names(names: BTreeSet<String>) -> Vec<String> {
        names.into_iter().collect()
    }

    #[test]
    fn a_pipeline_names_the_secrets_of_both_ends() {
        let spec: LogPipelineSpec = serde_json::from_value(json!({
            "source": {"kafka": {
                "brokers": ["kafka:9092"], "topic": "logs",
                "tls": {"caSecretName": "kafka-ca", "certSecretName": "kafka-cert"},
                "sasl": {"mechanism": "SCRAM-SHA-512", "secretName": "kafka-user"},
            }},
            "sink": {"elasticsearch": {
                "urls": ["https://elasticsearch:9200"], "auth": {"secretName": "es"},
                "tls": {"caSecretName": "es-ca", "certSecretName": "es-cert"},
            }},
        }))
        .expect("spec");
        assert_eq!(names(spec.secret_names()), ["es", "es-ca", "es-cert", "kafka-ca", "kafka-cert", "kafka-user"]);
        assert_eq!(names(spec.reader_secret_names()), ["es", "es-ca", "es-cert"]);
        let topic =
            Some(crate::DeadLetter { kafka: Some(crate::DeadLetterTopic { topic: "dead".to_owned() }), index: None });
        let in_topic = LogPipelineSpec { dead_letter: topic, ..spec };
        assert_eq!(in_topic.reader_secret_names(), in_topic.secret_names());
    }

    #[test]
    fn a_rule_names_the_secrets_of_its_receivers() {
        let receivers = json!([
            {"webhook": {"url": "http://a", "secretName": "hook"}}, {"webhook": {"url": "http://b"}},
            {"slack": {"secretName": "slack"}}, {"alertmanager": {"urls": ["http://c"], "secretName": "am"}},
            {"pagerduty": {"secretName": "pd"}}, {"log": {}},
            {"email": {"to": ["a@b.example"], "from": "c@d.example", "smarthost": "mail:25", "secretName": "mail"}},
        ]);
        let spec: Value = json!({"query": "sum errors", "operator": ">", "threshold": 1, "notify": receivers});
        let spec: AlertRuleSpec = serde_json::from_value(spec).expect("spec");
        assert_eq!(names(spec.secret_names()), ["am", "hook", "mail", "pd", "slack"]);
    }
}
