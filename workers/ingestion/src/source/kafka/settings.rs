//! What librdkafka is told.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use taffrail_crds::{KafkaSource, SaslMechanism};

use crate::config::{SecretError, Secrets, find_secret, secret_text};

/// How long the group waits for a worker that has vanished until its partitions go to others.
const SESSION_MS: &str = "12000";

/// How to get a token for OAUTHBEARER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OauthSettings {
    pub(super) endpoint: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
}

/// What reaches the brokers, for consumers and producers alike.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Connection {
    settings: Vec<(&'static str, String)>,
    pub(super) oauth: Option<OauthSettings>,
}

impl Connection {
    /// # Errors
    /// When a secret is missing, or lacks a key.
    pub(super) fn new(spec: &KafkaSource, name: &str, secrets: &Secrets) -> Result<Self, SecretError> {
        let mut settings = vec![
            ("bootstrap.servers", spec.brokers.join(",")),
            ("client.id", format!("taffrail-{name}")),
            ("socket.keepalive.enable", "true".to_owned()),
            ("reconnect.backoff.max.ms", "5000".to_owned()),
            // Brokers close idle connections; that is no fault.
            ("log.connection.close", "false".to_owned()),
        ];
        let mut oauth = None;
        if let Some(tls) = &spec.tls {
            if let Some(name) = &tls.ca_secret_name {
                settings.push(("ssl.ca.pem", secret_text(&find_secret(secrets, name)?, name, "ca.crt")?));
            }
            if let Some(name) = &tls.cert_secret_name {
                let secret = find_secret(secrets, name)?;
                settings.push(("ssl.certificate.pem", secret_text(&secret, name, "tls.crt")?));
                settings.push(("ssl.key.pem", secret_text(&secret, name, "tls.key")?));
            }
        }
        if let Some(sasl) = &spec.sasl {
            let name = &sasl.secret_name;
            let secret = find_secret(secrets, name)?;
            let mechanism = match sasl.mechanism {
                SaslMechanism::Plain => "PLAIN",
                SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
                SaslMechanism::OauthBearer => "OAUTHBEARER",
            };
            settings.push(("sasl.mechanisms", mechanism.to_owned()));
            if sasl.mechanism == SaslMechanism::OauthBearer {
                oauth = Some(OauthSettings {
                    endpoint: secret_text(&secret, name, "tokenEndpoint")?,
                    client_id: secret_text(&secret, name, "clientId")?,
                    client_secret: secret_text(&secret, name, "clientSecret")?,
                });
            } else {
                settings.push(("sasl.username", secret_text(&secret, name, "username")?));
                settings.push(("sasl.password", secret_text(&secret, name, "password")?));
            }
        }
        let protocol = match (&spec.tls, &spec.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        settings.push(("security.protocol", protocol.to_owned()));
        Ok(Self { settings, oauth })
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (key, value) in &self.settings {
            config.set(*key, value);
        }
        config
    }

    /// For a consumer that commits by itself, and only what is acknowledged. `excluded` are topics that it does not see.
    pub(super) fn consumer(&self, group: &str, excluded: Option<&str>) -> ClientConfig {
        let mut config = self.config();
        if let Some(excluded) = excluded {
            config.set("topic.blacklist", excluded);
        }
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_MS)
            .set("heartbeat.interval.ms", "3000")
            // Where partitions start is decided when they are assigned. An offset that is out of range then is one that
            // retention or a new topic has overtaken, which must be accounted for.
            .set("auto.offset.reset", "error")
            // What was aborted is no log.
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            // New partitions and new topics are noticed within seconds.
            .set("topic.metadata.refresh.interval.ms", "5000")
            // With the default of a second, a consumer whose sink pushes back stalls.
            .set("fetch.queue.backoff.ms", "20")
            // What waits in memory. The queue is one for all partitions, but a fetch is under way for each broker, and
            // is many times as large when it is unpacked: logs compress well, and a message costs some 300 bytes beside
            // its own. With the default of 50 MiB, a hundred partitions fill hundreds of MiB.
            .set("queued.max.messages.kbytes", "8192")
            .set("queued.min.messages", "20000")
            .set("fetch.max.bytes", "1048576")
            .set("fetch.message.max.bytes", "524288")
            // A topic that was made anew is told in librdkafka's debug log only: see `context`.
            .set("debug", "topic")
            .set_log_level(RDKafkaLogLevel::Debug);
        config
    }

    /// For reading a topic from one end to the other, outside of any group.
    pub(super) fn reader(&self, group: &str) -> ClientConfig {
        let mut config = self.config();
        config
            // Nobody joins it: it is named because who may read as this group may read.
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("fetch.queue.backoff.ms", "20")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.max.bytes", "8388608");
        config
    }

    /// For a producer that loses and doubles nothing.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.config();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            .set("message.timeout.ms", "30000")
            // As large as the records that it carries.
            .set("message.max.bytes", "10485760");
        config
    }
}
