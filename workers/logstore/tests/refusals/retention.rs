//! Days that are too old are deleted on both servers, and nothing else is.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};
use taffrail_logstore::elasticsearch::{ElasticsearchOptions, ElasticsearchStore};
use taffrail_logstore::{LogStore, Outcome};

use crate::server::{DAY, Kind, NOON, Server, basic, plain};

/// How long what is bound to happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn store(server: &Server, retention: u64) -> ElasticsearchStore {
    let retention = Some(Duration::from_secs(retention));
    ElasticsearchStore::new(ElasticsearchOptions { retention, ..server.options() }).unwrap()
}

async fn indices(server: &Server) -> Vec<String> {
    let found = server.send("GET", "*/_settings?expand_wildcards=all", Value::Null).await;
    let names = found.as_object().unwrap().keys().map(|name| name[server.index.len()..].to_owned());
    names.collect()
}

#[rstest]
#[tokio::test]
async fn days_go_when_they_are_over_and_were_made_for_longer_than_the_retention(
    #[values(Kind::Elasticsearch, Kind::OpenSearch)] kind: Kind,
) {
    let server = Server::new(kind, "retention").await;
    let today = jiff::Timestamp::now().as_millisecond();
    let records = [plain("a", NOON), plain("b", NOON + DAY), plain("c", today)];
    assert_eq!(store(&server, 3_600).write(&records.clone().into()).await.unwrap(), vec![Outcome::Indexed; 3]);
    for other in ["-2024.08.16-restored", "-2nd-2024.08.16", "-dead-letter"] {
        server.send("PUT", other, Value::Null).await;
    }
    server.send("POST", "-2024.08.17/_close", Value::Null).await;
    // They were made less than an hour ago.
    assert_eq!(indices(&server).await.len(), 6);

    let store = store(&server, 2);
    let begun = Instant::now();
    for n in 0.. {
        let outcomes = store.write(&[plain(&format!("d{n}"), today)].into()).await.unwrap();
        assert_eq!(outcomes, [Outcome::Indexed]);
        if indices(&server).await.len() == 4 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{:?}", indices(&server).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let left = indices(&server).await;
    assert!(left.iter().all(|name| !["-2024.08.16", "-2024.08.17"].contains(&name.as_str())), "{left:?}");
    // A log of the day that is gone begins it anew.
    assert_eq!(store.write(&[plain("e", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
}

/// `writer` may write one day's indices, and delete none.
#[tokio::test]
async fn who_may_not_delete_writes_all_the_same() {
    let server = Server::new(Kind::OpenSearch, "rights").await;
    let options = ElasticsearchOptions {
        auth: basic("writer", "writer"),
        retention: Some(Duration::from_secs(1)),
        ..server.options()
    };
    let store = ElasticsearchStore::new(options).unwrap();
    let begun = Instant::now();
    let mut n = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        let outcomes = store.write(&[plain(&format!("a{n}"), NOON)].into()).await.unwrap();
        assert_eq!(outcomes, [Outcome::Indexed]);
        n += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(indices(&server).await, ["-2024.08.16"]);
    server.send("POST", "-*/_refresh", Value::Null).await;
    let (_, counted) = server.request("GET", &format!("{}-*/_count", server.index), json!(null)).await;
    assert_eq!(counted["count"], n);
}
