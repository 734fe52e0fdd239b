//! What becomes of records that a healthy store gets.

use serde_json::json;
use taffrail_logstore::{LogStore, Outcome, Record};

use super::support::{DAY, NOON, plain};
use crate::support::Scratch;

#[tokio::test]
async fn what_is_written_again_is_a_duplicate() {
    let scratch = Scratch::new("again");
    let records = [plain("a", NOON), plain("b", NOON)];
    assert_eq!(scratch.store.write(&records[..1].into()).await.unwrap(), [Outcome::Indexed]);
    let outcomes =
        scratch.store.write(&[records[0].clone(), records[1].clone(), records[1].clone()].into()).await.unwrap();
    assert_eq!(outcomes, [Outcome::Duplicate, Outcome::Indexed, Outcome::Duplicate]);
    scratch.settle().await;
    assert_eq!(scratch.find("*").await.len(), 2);
}

#[tokio::test]
async fn a_bad_record_is_refused_and_the_others_are_not() {
    let scratch = Scratch::new("bad");
    let raw = |id: &str, source: &str| Record { id: id.into(), timestamp: NOON, source: source.to_owned().into() };
    let records = [
        plain("good", NOON),
        raw("no-text", r#"{"timestamp":"2024-08-16T12:00:00Z","message":{"a":1}}"#),
        raw("not-json", "{\"timestamp\": oops"),
        raw("no-object", "[1]"),
        raw("empty", ""),
        Record { timestamp: i64::MAX, ..plain("far", NOON) },
        plain(&"x".repeat(513), NOON),
        plain("also-good", NOON),
    ];
    let outcomes = scratch.store.write(&records.as_slice().into()).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Indexed);
    assert_eq!(outcomes[7], Outcome::Indexed);
    for outcome in &outcomes[1..7] {
        assert!(matches!(outcome, Outcome::Refused { status: 400, .. }), "{outcome:?}");
    }
    let Outcome::Refused { reason, .. } = &outcomes[1] else { unreachable!() };
    assert!(reason.contains("message"), "{reason}");
}

#[tokio::test]
async fn a_pretty_printed_source_is_one_document() {
    let scratch = Scratch::new("pretty");
    let source =
        serde_json::to_vec_pretty(&json!({"timestamp": "2024-08-16T12:00:00Z", "message": "one\ntwo"})).unwrap();
    let record = Record { id: "p".into(), timestamp: NOON, source: source.into() };
    assert_eq!(scratch.store.write(&[record].into()).await.unwrap(), [Outcome::Indexed]);
    scratch.settle().await;
    assert_eq!(scratch.search("two", 1, None).await.logs[0].entry.message, "one\ntwo");
}

#[tokio::test]
async fn a_large_batch_arrives_whole() {
    let scratch = Scratch::new("large");
    // Large enough to be compressed on another thread.
    let records: Vec<_> = (0..3_000).map(|n| plain(&format!("r{n:05}"), NOON + n)).collect();
    let outcomes = scratch.store.write(&records.as_slice().into()).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Indexed));
    scratch.settle().await;
    assert_eq!(scratch.search("hello", 1, None).await.total, 3_000);
}

#[tokio::test]
async fn a_timestamp_that_few_can_read_does_not_cost_the_log() {
    let scratch = Scratch::new("times");
    let times = ["2024-08-16t12:00:00z", "2024-08-16 12:00:00Z", "2024-08-16T12:00:60Z", "yesterday"];
    let logs: Vec<_> = times.iter().map(|time| (*time, NOON, json!({"timestamp": time, "fields": {"a": 1}}))).collect();
    scratch.write(&logs).await;
    let page = scratch.search("fields.a:1 timestamp:1723809600000", 10, None).await;
    assert_eq!(page.total, 4);
    assert!(page.logs.iter().all(|log| log.entry.timestamp == log.id));
}

#[tokio::test]
async fn days_and_entries_stay_as_they_were() {
    let scratch = Scratch::new("days");
    let whole = json!({
        "timestamp": "2024-08-16T12:00:00.123456789+02:00", "level": "warn", "message": " spaces  stay\n", "service": "a",
        "host": "h", "tags": {"z": "1", "a": ""}, "fields": {"z": [1, 2.5, null], "a": {"": {}}, "n": u64::MAX},
    });
    let bare = json!({"timestamp": "2024-08-17T12:00:00Z"});
    scratch
        .write(&[("b", NOON + DAY, bare.clone()), ("own", NOON, whole.clone()), ("c", NOON - DAY / 2 - 1, json!({}))])
        .await;
    let page = scratch.search("*", 10, None).await;
    let ids: Vec<_> = page.logs.iter().map(|log| log.id.as_str()).collect();
    assert_eq!(ids, ["b", "own", "c"]);
    assert_eq!(page.logs[0].entry, serde_json::from_value(bare).unwrap());
    assert_eq!(page.logs[1].entry, serde_json::from_value(whole).unwrap());
    assert_eq!(page.logs[2].entry.timestamp, "2024-08-15T23:59:59.999Z");
}
