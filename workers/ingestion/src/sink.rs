//! What a spec says about its sink.

use taffrail_crds::{LogPipelineSpec, SinkCompression};
use taffrail_logstore::elasticsearch::{Auth, Compression, ElasticsearchOptions};

use crate::config::{Secrets, StartError, find_secret, secret_text};

/// How to reach the Elasticsearch that a pipeline writes to, with what its secrets say now.
///
/// # Errors
/// When the sink is not Elasticsearch, an address is none, or a secret is missing or lacks a key.
pub fn elasticsearch_options(spec: &LogPipelineSpec, secrets: &Secrets) -> Result<ElasticsearchOptions, StartError> {
    let Some(sink) = &spec.sink.elasticsearch else {
        return Err(StartError::Spec("the sink is not Elasticsearch".to_owned()));
    };
    let mut urls = Vec::new();
    for url in &sink.urls {
        let address = url
            .parse()
            .map_err(|error| StartError::Spec(format!("`{url}` is no address such as http://host:9200: {error}")));
        urls.push(address?);
    }
    let mut options = ElasticsearchOptions::new(urls, &sink.index);
    options.dead_letter_index = spec.dead_letter.as_ref().and_then(|letters| letters.index.clone());
    options.retention = sink.retention.map(|retention| retention.0);
    options.compression = match sink.compression {
        SinkCompression::None => Compression::None,
        SinkCompression::Gzip => Compression::Gzip,
    };
    if let Some(auth) = &sink.auth {
        let name = &auth.secret_name;
        let secret = find_secret(secrets, name)?;
        options.auth = if secret.contains_key("apiKey") {
            Auth::ApiKey(secret_text(&secret, name, "apiKey")?)
        } else {
            let user = secret_text(&secret, name, "username")?;
            Auth::Basic { user, password: secret_text(&secret, name, "password")? }
        };
    }
    if let Some(tls) = &sink.tls {
        options.insecure_skip_verify = tls.insecure_skip_verify;
        if let Some(name) = &tls.ca_secret_name {
            options.ca = Some(secret_text(&find_secret(secrets, name)?, name, "ca.crt")?.into_bytes());
        }
        if let Some(name) = &tls.cert_secret_name {
            let secret = find_secret(secrets, name)?;
            let part = |key| secret_text(&secret, name, key);
            options.certificate = Some(format!("{}\n{}\n", part("tls.crt")?, part("tls.key")?).into_bytes());
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;
    use taffrail_crds::SecretData;

    use super::*;
    use crate::testing::spec;

    fn secrets() -> Secrets {
        Arc::new(|name| {
            let pairs: &[(&str, &str)] = match name {
                "basic" => &[("username", "elastic"), ("password", "changeme\n")],
                "key" => &[("apiKey", "aWQ6a2V5")],
                "client" => &[("tls.crt", "-----BEGIN CERTIFICATE-----"), ("tls.key", "-----BEGIN PRIVATE KEY-----\n")],
                "ca" => &[("ca.crt", "-----BEGIN CERTIFICATE-----")],
                "half" => &[("username", "elastic")],
                _ => return None,
            };
            Some(
                pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect::<SecretData>(),
            )
        })
    }

    fn options(sink: serde_json::Value) -> Result<ElasticsearchOptions, StartError> {
        let spec =
            spec(json!({"source": {"stdin": {}}, "sink": {"elasticsearch": sink}, "deadLetter": {"index": "dead"}}));
        elasticsearch_options(&spec, &secrets())
    }

    #[test]
    fn secrets_become_credentials() {
        let urls = json!(["http://one:9200", "https://two"]);
        let basic = options(json!({"urls": urls, "auth": {"secretName": "basic"}})).expect("options");
        assert!(basic.auth == Auth::Basic { user: "elastic".to_owned(), password: "changeme".to_owned() });
        assert_eq!(
            (basic.index.as_str(), basic.urls.len(), basic.dead_letter_index.as_deref()),
            ("logs", 2, Some("dead"))
        );
        assert_eq!(basic.compression, Compression::None);
        let tls = json!({"caSecretName": "ca", "certSecretName": "client"});
        let key =
            json!({"urls": urls, "auth": {"secretName": "key"}, "tls": tls, "compression": "gzip", "retention": "30d"});
        let key = options(key).expect("options");
        assert!(key.auth == Auth::ApiKey("aWQ6a2V5".to_owned()));
        let certificate = b"-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";
        assert_eq!(key.certificate.as_deref(), Some(&certificate[..]));
        assert_eq!(key.retention, Some(Duration::from_secs(30 * 86_400)));
        assert!(key.ca.is_some() && !key.insecure_skip_verify && key.compression == Compression::Gzip);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (secret, expected) in
            [("none", "the secret `none` is not there"), ("half", "`half` has no text under `password`")]
        {
            let error = options(json!({"urls": ["http://one"], "auth": {"secretName": secret}})).expect_err("error");
            assert!(error.to_string().contains(expected) && error.reason() == "SecretNotFound", "{error}");
        }
    }
}
