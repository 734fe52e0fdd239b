//! What the tests of all stores share.

use bytes::Bytes;
use serde_json::{Value, json};
use taffrail_logstore::q::Query;
use taffrail_logstore::{LogStore, Outcome, Record, SearchPage, SearchRequest, TimeSpan};

use crate::support::Scratch;

/// 2024-08-16T12:00:00Z.
pub const NOON: i64 = 1_723_809_600_000;
pub const DAY: i64 = 86_400_000;

impl Scratch {
    /// Writes logs (`timestamp` is filled in from the time given), which must all be taken, and waits until they are
    /// found.
    pub async fn write(&self, logs: &[(&str, i64, Value)]) {
        let records: Vec<_> = logs.iter().map(|(id, time, log)| record(id, *time, log.clone())).collect();
        let outcomes = self.store.write(&records.as_slice().into()).await.unwrap();
        for (record, outcome) in records.iter().zip(outcomes) {
            assert_eq!(outcome, Outcome::Indexed, "{record:?}");
        }
        self.settle().await;
    }

    /// The ids of the logs that a query finds, in order.
    pub async fn find(&self, query: &str) -> Vec<String> {
        let page = self.search(query, 1000, None).await;
        assert_eq!(page.total, page.logs.len() as u64);
        page.logs.into_iter().map(|log| log.id).collect()
    }

    pub async fn search(&self, query: &str, limit: usize, cursor: Option<String>) -> SearchPage {
        let query = Query::parse(query).unwrap();
        let request = SearchRequest { query, span: TimeSpan::default(), limit, cursor };
        self.store.search(&request).await.unwrap()
    }
}

/// A record of a log, which gets the timestamp.
pub fn record(id: &str, time: i64, mut log: Value) -> Record {
    if log.get("timestamp").is_none() {
        log["timestamp"] = rfc3339(time).into();
    }
    Record { id: id.to_owned(), timestamp: time, source: Bytes::from(log.to_string()) }
}

/// A plain record.
pub fn plain(id: &str, time: i64) -> Record {
    record(
        id,
        time,
        json!({"level": "info", "message": "hello", "service": "api", "host": "h", "tags": {}, "fields": {}}),
    )
}

pub fn rfc3339(time: i64) -> String {
    jiff::Timestamp::from_millisecond(time).unwrap().to_string()
}
