//! Who we are, and whom we trust.

use std::path::Path;

use reqwest::Url;
use serde_json::json;
use taffrail_logstore::elasticsearch::{Auth, ElasticsearchOptions, ElasticsearchStore, OptionsError};
use taffrail_logstore::q::Query;
use taffrail_logstore::{LogStore, Obstacle, Outcome, SearchError, SearchRequest, TimeSpan, WriteError};

use crate::conformance::support::{NOON, plain, record};
use crate::support::{Scratch, variable};

fn secured(scratch: &Scratch, auth: Auth) -> ElasticsearchOptions {
    let url = Url::parse(&variable("TAFFRAIL_TEST_ELASTICSEARCH_TLS")).unwrap();
    let ca = std::fs::read(variable("TAFFRAIL_TEST_ELASTICSEARCH_CA")).unwrap();
    ElasticsearchOptions { auth, ca: Some(ca), ..ElasticsearchOptions::new(vec![url], &scratch.index) }
}

fn basic(password: &str) -> Auth {
    Auth::Basic { user: "elastic".into(), password: password.into() }
}

#[tokio::test]
async fn passwords_and_keys_are_accepted_over_tls() {
    let scratch = Scratch::new("tls");
    let key = Auth::ApiKey("dGVzdGlkOnRlc3RrZXk=".into());
    for (id, auth) in [("by-password", basic("changeme")), ("by-key", key)] {
        let store = ElasticsearchStore::new(secured(&scratch, auth)).unwrap();
        assert_eq!(store.write(&[plain(id, NOON)].into()).await.unwrap(), [Outcome::Indexed]);
    }
    scratch.settle().await;
    assert_eq!(scratch.find("*").await, ["by-password", "by-key"]);
}

#[tokio::test]
async fn wrong_credentials_can_be_replaced_while_running() {
    let scratch = Scratch::new("credentials");
    let store = ElasticsearchStore::new(secured(&scratch, basic("wrong"))).unwrap();
    let error = store.write(&[plain("a", NOON)].into()).await.unwrap_err();
    assert!(matches!(error, WriteError::Unauthorized(_)), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    let request = SearchRequest { query: Query::All, span: TimeSpan::default(), limit: 1, cursor: None };
    let error = store.search(&request).await.unwrap_err();
    assert!(matches!(&error, SearchError::Unavailable(text) if text.contains("credentials")), "{error}");
    store.set_auth(&basic("changeme")).unwrap();
    assert_eq!(store.write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
    store.set_auth(&Auth::None).unwrap();
    let error = store.write(&[plain("b", NOON)].into()).await.unwrap_err();
    assert!(matches!(error, WriteError::Unauthorized(_)), "{error}");
}

#[tokio::test]
async fn an_unknown_authority_is_named_as_the_trouble() {
    let scratch = Scratch::new("no-ca");
    let options = ElasticsearchOptions { ca: None, ..secured(&scratch, basic("changeme")) };
    let store = ElasticsearchStore::new(options.clone()).unwrap();
    let error = store.write(&[plain("a", NOON)].into()).await.unwrap_err();
    assert!(matches!(&error, WriteError::Unavailable(text) if text.contains("CA")), "{error}");
    let trusting = ElasticsearchOptions { insecure_skip_verify: true, ..options };
    let store = ElasticsearchStore::new(trusting).unwrap();
    assert_eq!(store.write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
}

#[test]
fn a_broken_authority_is_refused_at_once() {
    let url = Url::parse("https://127.0.0.1:1").unwrap();
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let options =
            ElasticsearchOptions { ca: Some(pem.into()), ..ElasticsearchOptions::new(vec![url.clone()], "x") };
        let error = ElasticsearchStore::new(options).err().unwrap();
        assert!(matches!(error, OptionsError::Ca(_)), "{pem:?}: {error}");
    }
}

/// What the authority of the proxy has made for a client.
fn made_for_a_client(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(&variable("TAFFRAIL_TEST_ELASTICSEARCH_CA")).with_file_name(name)).unwrap()
}

#[tokio::test]
async fn a_certificate_says_who_one_is() {
    let scratch = Scratch::new("certificate");
    let certificate = [made_for_a_client("client.pem"), made_for_a_client("client.key")].concat();
    let options = secured(&scratch, Auth::None);
    let store =
        ElasticsearchStore::new(ElasticsearchOptions { certificate: Some(certificate), ..options.clone() }).unwrap();
    assert_eq!(store.write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
    // The first is one with the key of another.
    let other = [made_for_a_client("server.pem"), made_for_a_client("client.key")].concat();
    for unusable in [other, made_for_a_client("client.pem"), made_for_a_client("client.key"), b"rubbish".to_vec()] {
        let error = ElasticsearchStore::new(ElasticsearchOptions { certificate: Some(unusable), ..options.clone() });
        let error = error.err().unwrap();
        assert!(matches!(error, OptionsError::Certificate(_)), "{error}");
    }
}

/// A store behind the proxy at a path of it.
fn at_path(scratch: &Scratch, path: &str) -> ElasticsearchStore {
    let options = secured(scratch, basic("changeme"));
    let url = options.urls[0].join(path).unwrap();
    ElasticsearchStore::new(ElasticsearchOptions { urls: vec![url], ..options }).unwrap()
}

#[tokio::test]
async fn a_proxy_that_takes_little_asks_for_smaller_writes() {
    let scratch = Scratch::new("narrow");
    let store = at_path(&scratch, "narrow/");
    let large = |id: &str| record(id, NOON, json!({"message": "x".repeat(10 << 10)}));
    let error = store.write(&[large("a"), large("b")].into()).await.unwrap_err();
    assert!(matches!(&error, WriteError::TooLarge(text) if text.contains("413")), "{error}");
    for id in ["a", "b"] {
        assert_eq!(store.write(&[large(id)].into()).await.unwrap(), [Outcome::Indexed]);
    }
}

#[tokio::test]
async fn a_wrong_path_is_a_matter_of_configuration() {
    let scratch = Scratch::new("path");
    let error = at_path(&scratch, "nowhere/").write(&[plain("a", NOON)].into()).await.unwrap_err();
    assert!(matches!(error, WriteError::Stalled(Obstacle::Misconfigured, _)), "{error}");
}
