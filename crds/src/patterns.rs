//! Patterns of texts in objects, each with words for people; and schemas that several kinds share.

use schemars::{Schema, SchemaGenerator, json_schema};

/// The name of a metric that Taffrail makes.
pub(crate) const METRIC_NAME: &str = "^[a-zA-Z_:][a-zA-Z0-9_:]*$";
/// The name of a metric that others may have made: OpenTelemetry's have dots.
pub(crate) const ANY_METRIC_NAME: &str = "^[a-zA-Z_:][a-zA-Z0-9_:.]*$";
/// The name of a label.
pub(crate) const LABEL_NAME: &str = "^[a-zA-Z_][a-zA-Z0-9_]*$";
/// A part of a log.
pub(crate) const LOG_KEY: &str = r"^(level|service|host|message|tags\..+|fields\..+)$";
/// A server's address without a scheme.
pub(crate) const HOST_PORT: &str = r"^([a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$";
/// A web address.
pub(crate) const URL: &str = r"^https?://[^\s/?#]+([/?#]\S*)?$";
/// An e-mail address, with or without a name before it.
pub(crate) const E_MAIL: &str = r"^([^<>\r\n]*<)?[^\s<>@]+@[^\s<>@]+>?$";
/// A Kafka broker as clients take it: the port may be left out.
pub(crate) const BROKER: &str = r"^([a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$";
/// The path of metrics in text, which is not for choice.
pub(crate) const METRICS_PATH: &str = "^/metrics/?$";
/// A Kafka topic.
pub(crate) const TOPIC: &str = "^[a-zA-Z0-9._-]+$";
/// An Elasticsearch index.
pub(crate) const INDEX: &str = "^[a-z0-9][a-z0-9._-]*$";
/// The name of a Kubernetes object, or a host name.
pub(crate) const DNS_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A path of a URL.
pub(crate) const URL_PATH: &str = r"^/\S*$";
/// A duration; at least one digit is checked when it is read.
pub(crate) const DURATION: &str = "^(0|([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$";
/// A number of bytes.
pub(crate) const BYTE_SIZE: &str = "^[0-9]+(k|M|G|T|Ki|Mi|Gi|Ti)?$";

const WORDS: [(&str, &str); 15] = [
    (METRIC_NAME, "the name of a metric: letters, digits, `_` and `:`, not beginning with a digit"),
    (ANY_METRIC_NAME, "the name of a metric: letters, digits, `_`, `:` and `.`, not beginning with a digit"),
    (LABEL_NAME, "the name of a label: letters, digits and `_`, not beginning with a digit"),
    (LOG_KEY, "a part of a log: level, service, host, message, tags.<key> or fields.<key>"),
    (HOST_PORT, "host:port, such as kafka:9092"),
    (BROKER, "host:port or host, such as kafka:9092"),
    (METRICS_PATH, "/metrics, where Taffrail serves them"),
    (URL, "an address such as http://host:9200"),
    (E_MAIL, "an e-mail address"),
    (TOPIC, "the name of a topic: letters, digits, `.`, `_` and `-`"),
    (INDEX, "the name of an index: lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or a digit"),
    (DNS_NAME, "a name of lower-case letters, digits, `-` and `.`, beginning and ending with a letter or a digit"),
    (URL_PATH, "a path that begins with `/`"),
    (DURATION, "a duration: a number and a unit (ms, s, m, h, d, w), such as 30s, 5m or 1h30m"),
    (BYTE_SIZE, "a size: a number of bytes, or one with Ki, Mi, Gi, k, M or G behind it, such as 8Mi"),
];

/// What a pattern asks for, in words.
pub(crate) fn words(pattern: &str) -> Option<&'static str> {
    WORDS.iter().find(|(known, _)| *known == pattern).map(|(_, words)| *words)
}

/// A CEL rule for a duration that must not be `0`.
pub(crate) const LONGER_THAN_ZERO: (&str, &str) = ("self.matches('[1-9]')", "must be longer than 0s");

/// Labels of alerts and series.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    text_map(64, 1024, LABEL_NAME, "names of labels are letters, digits and `_`, and do not begin with a digit")
}

/// Texts of alerts, which Alertmanager asks to be named as labels are.
pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    text_map(32, 16_384, LABEL_NAME, "names of annotations are letters, digits and `_`, and do not begin with a digit")
}

/// Parts of a log, each with the value it must have.
pub(crate) fn log_matches(_: &mut SchemaGenerator) -> Schema {
    text_map(16, 1024, LOG_KEY, "a log is matched by its level, service, host, message, tags.<key> or fields.<key>")
}

/// Names of labels, each with the part of a log it is taken from.
pub(crate) fn derived_labels(_: &mut SchemaGenerator) -> Schema {
    let mut schema =
        text_map(16, 256, LABEL_NAME, "names of labels are letters, digits and `_`, and do not begin with a digit");
    schema.insert(
        "additionalProperties".to_owned(),
        serde_json::json!({
            "type": "string", "maxLength": 256, "pattern": LOG_KEY
        }),
    );
    schema
}

/// Headers of an HTTP request.
pub(crate) fn headers(_: &mut SchemaGenerator) -> Schema {
    text_map(
        32,
        4096,
        "^[-!#$%&*+.^_`|~0-9a-zA-Z]+$",
        "names of headers are letters, digits and `-`, as in `X-Scope-OrgID`",
    )
}

fn text_map(most: u32, longest: u32, keys: &str, message: &str) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": most,
        "additionalProperties": {"type": "string", "maxLength": longest},
        "x-kubernetes-validations": [{"rule": format!("self.all(key, key.matches(r'{keys}'))"), "message": message}],
    })
}

/// An object that Taffrail does not look into.
pub(crate) fn preserved_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
