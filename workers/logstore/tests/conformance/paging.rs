//! Pages and their order.

use serde_json::json;
use taffrail_logstore::q::Query;
use taffrail_logstore::{DeadLetters as _, LetterPage, LogStore, SearchError, SearchRequest, TimeSpan};

use super::letters::request;
use super::support::{DAY, NOON, plain};
use crate::support::Scratch;

/// Writes logs with these ids and times, reads them back in pages, and compares with what sorting gives.
async fn check(name: &str, logs: &[(String, i64)], limits: &[usize]) {
    let scratch = Scratch::new(name);
    for logs in logs.chunks(5_000) {
        let records: Vec<_> = logs.iter().map(|(id, time)| plain(id, *time)).collect();
        scratch.store.write(&records.as_slice().into()).await.unwrap();
    }
    scratch.settle().await;
    let mut expected = logs.to_vec();
    expected.sort_by(|a, b| (b.1, &b.0).cmp(&(a.1, &a.0)));
    let expected: Vec<_> = expected.into_iter().map(|(id, _)| id).collect();
    for limit in limits {
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let page = scratch.search("hello", *limit, cursor).await;
            assert_eq!(page.total, expected.len() as u64);
            assert!(page.logs.len() <= *limit);
            found.extend(page.logs.into_iter().map(|log| log.id));
            assert!(found.len() <= expected.len(), "a log came twice");
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
            assert!(found.len() < expected.len(), "there is a cursor after the last page");
        }
        assert_eq!(found, expected, "limit {limit}");
    }
}

#[tokio::test]
async fn pages_cut_through_milliseconds() {
    // Written in an order that has nothing to do with that of the ids.
    let logs: Vec<_> = (0..60).map(|n| (format!("id-{:02}", n * 37 % 60), NOON + n / 7 * 40_000_000)).collect();
    check("pages", &logs, &[1, 2, 3, 7, 20, 59, 60, 61]).await;
}

#[tokio::test]
async fn a_crowded_millisecond_is_paged_through() {
    let mut logs: Vec<_> = (0..12_000_usize).map(|n| (format!("id-{:05}", n * 7 % 12_000), NOON)).collect();
    logs.extend([("newer".to_owned(), NOON + 1), ("older".to_owned(), NOON - DAY)]);
    check("crowded", &logs, &[5_000, 10_000]).await;
}

#[tokio::test]
async fn spans_are_half_open_and_limits_may_be_nothing() {
    let scratch = Scratch::new("spans");
    scratch.write(&[("a", NOON, json!({})), ("b", NOON + 1, json!({})), ("c", NOON + 2, json!({}))]).await;
    let search = |from, to, limit| {
        let request = SearchRequest { query: Query::All, span: TimeSpan { from, to }, limit, cursor: None };
        let store = &scratch.store;
        async move {
            let page = store.search(&request).await.unwrap();
            (page.logs.into_iter().map(|log| log.id).collect::<String>(), page.total)
        }
    };
    assert_eq!(search(Some(NOON), Some(NOON + 2), 10).await, ("ba".into(), 2));
    assert_eq!(search(Some(NOON + 1), None, 10).await, ("cb".into(), 2));
    assert_eq!(search(None, Some(NOON + 1), 10).await, ("a".into(), 1));
    assert_eq!(search(Some(NOON), Some(NOON), 10).await, (String::new(), 0));
    assert_eq!(search(Some(i64::MIN), Some(i64::MAX), 10).await, ("cba".into(), 3));
    assert_eq!(search(None, None, 0).await, (String::new(), 3));
}

#[tokio::test]
async fn foreign_cursors_and_absent_indices() {
    let scratch = Scratch::new("nothing");
    assert_eq!(scratch.search("*", 10, None).await.total, 0);
    let span = TimeSpan { from: Some(NOON), to: Some(NOON + 10) };
    let histogram = scratch.store.histogram(&Query::All, span, 5).await.unwrap();
    assert_eq!((histogram.buckets.len(), histogram.total), (2, 0));
    assert!(scratch.store.fields(&Query::All, span).await.unwrap().is_empty());
    assert_eq!(scratch.store.dead_letters(&request("a/b", 10)).await.unwrap(), LetterPage::default());
    let request = SearchRequest { query: Query::All, span, limit: 1, cursor: Some("rubbish".into()) };
    assert!(matches!(scratch.store.search(&request).await, Err(SearchError::Cursor)));
}
