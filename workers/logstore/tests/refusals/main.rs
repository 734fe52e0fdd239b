//! What real servers say when they take nothing, and what that means for records: an Elasticsearch and an OpenSearch are
//! made to answer so. And what a retention deletes on both. What changes a whole server is not for other tests to see: so
//! these have a program of their own, and run one by one.
#![allow(clippy::unwrap_used, missing_docs)]

mod opensearch;
mod retention;
mod server;

use rstest::rstest;
use serde_json::{Value, json};
use taffrail_logstore::{LogStore, Obstacle, Outcome, WriteError};

use server::{DAY, Kind, NOON, Server, log, plain};

#[track_caller]
fn is_stalled(outcome: &Outcome, by: Obstacle, why: &str) {
    let Outcome::Stalled { obstacle, reason } = outcome else { panic!("{outcome:?}") };
    assert!(*obstacle == by && reason.contains(why), "{outcome:?}");
}

#[rstest]
#[tokio::test]
async fn blocked_indices_stall_and_closed_ones_do_not(#[values(Kind::Elasticsearch, Kind::OpenSearch)] kind: Kind) {
    let server = Server::new(kind, "blocked").await;
    let store = server.store();
    let first = store.write(&[plain("a", NOON), plain("b", NOON + DAY)].into()).await.unwrap();
    assert_eq!(first, [Outcome::Indexed, Outcome::Indexed]);
    server.send("POST", "-2024.08.17/_close", Value::Null).await;
    // The first is what the flood stage of a nearly full disk sets.
    for (block, why) in
        [("read_only_allow_delete", "flood-stage"), ("read_only", "read-only"), ("write", "write (api)")]
    {
        server.send("PUT", "-2024.08.16/_settings", json!({format!("index.blocks.{block}"): true})).await;
        let records = [plain("c", NOON), plain("d", NOON + DAY), plain(block, NOON + 2 * DAY)];
        let outcomes = store.write(&records.into()).await.unwrap();
        is_stalled(&outcomes[0], Obstacle::StorageBlocked, why);
        let is_closed = matches!(&outcomes[1], Outcome::Refused { status: 400, reason } if reason.contains("closed"));
        assert!(is_closed, "{outcomes:?}");
        assert_eq!(outcomes[2], Outcome::Indexed);
        server.send("PUT", "-2024.08.16/_settings", json!({format!("index.blocks.{block}"): null})).await;
    }
    assert_eq!(store.write(&[plain("c", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
}

#[rstest]
#[tokio::test]
async fn a_cluster_without_shards_left_stalls_new_days_only(
    #[values(Kind::Elasticsearch, Kind::OpenSearch)] kind: Kind,
) {
    let server = Server::new(kind, "shards").await;
    let store = server.store();
    assert_eq!(store.write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
    server.set("cluster.max_shards_per_node", json!(1)).await;
    let outcomes = store.write(&[plain("b", NOON), plain("c", NOON + DAY)].into()).await.unwrap();
    server.set("cluster.max_shards_per_node", Value::Null).await;
    assert_eq!(outcomes[0], Outcome::Indexed);
    is_stalled(&outcomes[1], Obstacle::ShardLimit, "shards open");
    assert_eq!(store.write(&[plain("c", NOON + DAY)].into()).await.unwrap(), [Outcome::Indexed]);
}

#[rstest]
#[tokio::test]
async fn indices_that_do_not_come_into_being_stall(#[values(Kind::Elasticsearch, Kind::OpenSearch)] kind: Kind) {
    let server = Server::new(kind, "absent").await;
    let store = server.store();
    assert_eq!(store.write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
    server.set("action.auto_create_index", json!("false")).await;
    let outcomes = store.write(&[plain("b", NOON), plain("c", NOON + DAY)].into()).await.unwrap();
    server.set("action.auto_create_index", Value::Null).await;
    assert_eq!(outcomes[0], Outcome::Indexed);
    is_stalled(&outcomes[1], Obstacle::IndexMissing, "no such index");
    assert_eq!(store.write(&[plain("c", NOON + DAY)].into()).await.unwrap(), [Outcome::Indexed]);
}

#[rstest]
#[tokio::test]
async fn a_read_only_cluster_stalls_the_whole_write(#[values(Kind::Elasticsearch, Kind::OpenSearch)] kind: Kind) {
    let server = Server::new(kind, "read-only").await;
    let store = server.store();
    assert_eq!(store.write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
    server.set("cluster.blocks.read_only", json!(true)).await;
    let error = store.write(&[plain("b", NOON)].into()).await.unwrap_err();
    server.set("cluster.blocks.read_only", Value::Null).await;
    assert!(matches!(error, WriteError::Stalled(Obstacle::StorageBlocked, _)), "{error}");
    assert_eq!(store.write(&[plain("b", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
}

#[rstest]
#[tokio::test]
async fn documents_that_do_not_fit_are_refused_alone(#[values(Kind::Elasticsearch, Kind::OpenSearch)] kind: Kind) {
    let server = Server::new(kind, "documents").await;
    let store = server.store();
    assert_eq!(store.write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
    let records = [log("object", NOON, json!({"message": {"a": 1}})), plain("good", NOON), plain("a", NOON)];
    let outcomes = store.write(&records.into()).await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Refused { status: 400, .. }), "{outcomes:?}");
    assert_eq!(outcomes[1..], [Outcome::Indexed, Outcome::Duplicate]);
}
