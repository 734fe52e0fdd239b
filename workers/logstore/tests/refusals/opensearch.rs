//! What an OpenSearch with its security plugin, and little room, says.

use std::process::Command;

use serde_json::json;
use taffrail_logstore::elasticsearch::{ElasticsearchOptions, ElasticsearchStore};
use taffrail_logstore::{LogStore, Obstacle, Outcome, WriteError};

use crate::is_stalled;
use crate::server::{DAY, Kind, NOON, Server, basic, log, plain};

#[tokio::test]
async fn credentials_are_refused_as_such() {
    let server = Server::new(Kind::OpenSearch, "credentials").await;
    let store = ElasticsearchStore::new(ElasticsearchOptions { auth: basic("admin", "wrong"), ..server.options() });
    let store = store.unwrap();
    let error = store.write(&[plain("a", NOON)].into()).await.unwrap_err();
    assert!(matches!(error, WriteError::Unauthorized(_)), "{error}");
    store.set_auth(&basic("admin", "changeme")).unwrap();
    assert_eq!(store.write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
}

/// It asks for a certificate as soon as a connection is made, which TLS 1.3 tells when that seems to be open already.
#[tokio::test]
async fn who_shows_no_certificate_is_refused_as_such() {
    let server = Server::new(Kind::OpenSearch, "certificate").await;
    for certificate in [None, Some(stranger())] {
        let store = ElasticsearchStore::new(ElasticsearchOptions { certificate, ..server.options() }).unwrap();
        let error = store.write(&[plain("a", NOON)].into()).await.unwrap_err();
        let is_told = matches!(&error, WriteError::Unauthorized(text) if text.contains("client's certificate"));
        assert!(is_told, "{error}");
    }
    assert_eq!(server.store().write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
}

/// A certificate, and its key, that nobody but itself has signed.
fn stranger() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=stranger \
                     -keyout key.pem -out certificate.pem";
    let mut openssl = Command::new("openssl");
    let output = openssl.current_dir(&folder).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    [read("certificate.pem"), read("key.pem")].concat()
}

/// `writer` may write one day's indices, and look at no template.
#[tokio::test]
async fn who_may_write_some_indices_only_is_stalled_at_the_others() {
    let server = Server::new(Kind::OpenSearch, "rights").await;
    let options = ElasticsearchOptions { auth: basic("writer", "writer"), ..server.options() };
    let store = ElasticsearchStore::new(options).unwrap();
    let outcomes = store.write(&[plain("a", NOON), plain("b", NOON + DAY)].into()).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Indexed);
    is_stalled(&outcomes[1], Obstacle::Unauthorized, "no permissions");
    let error = store.write(&[plain("b", NOON + DAY)].into()).await.unwrap_err();
    assert!(matches!(error, WriteError::Unauthorized(_)), "{error}");
}

/// Its queue for writes is short: a write to many indices does not fit.
#[tokio::test]
async fn items_that_find_no_room_are_written_again() {
    let server = Server::new(Kind::OpenSearch, "queue").await;
    let store = server.store();
    let mut records: Vec<_> = (0..20).map(|day| plain(&format!("d{day:02}"), NOON + day * DAY)).collect();
    let (mut rejected, mut indexed) = (0, 0);
    // Each write gets some of them through, once there are indices.
    for _ in 0..100 {
        let outcomes = store.write(&records.as_slice().into()).await.unwrap();
        let mut left = Vec::new();
        for (record, outcome) in records.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Indexed => indexed += 1,
                Outcome::Retry { status: 429, reason } => {
                    assert!(reason.contains("rejected_execution"), "{reason}");
                    rejected += 1;
                    left.push(record);
                }
                other => panic!("{other:?}"),
            }
        }
        records = left;
        if records.is_empty() {
            break;
        }
    }
    assert!(rejected > 0, "the queue took all of them");
    assert_eq!(indexed, 20);
}

#[tokio::test]
async fn a_write_that_finds_no_room_is_written_again() {
    let server = Server::new(Kind::OpenSearch, "pressure").await;
    let store = server.store();
    assert_eq!(store.write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
    let large: Vec<_> = (0..10).map(|n| log(&format!("l{n}"), NOON, json!({"message": "x".repeat(1 << 20)}))).collect();
    let error = store.write(&large.as_slice().into()).await.unwrap_err();
    assert!(matches!(&error, WriteError::Unavailable(text) if text.contains("429")), "{error}");
}
