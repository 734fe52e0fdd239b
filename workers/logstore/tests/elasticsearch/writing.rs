//! What becomes of records that a healthy server gets.

use bytes::Bytes;
use serde_json::{Value, json};
use taffrail_logstore::{LogStore, Outcome, Record};

use crate::support::{DAY, NOON, Scratch, plain, request};

#[tokio::test]
async fn three_days_go_to_three_indices_and_sources_stay_as_they_are() {
    let scratch = Scratch::new("days");
    let source = r#"{"timestamp":"2024-08-16T12:00:00.123456789Z" , "level":"info","message":"spaces  stay","service":"a","host":"h","tags":{},"fields":{"z":1,"a":2.50}}"#;
    let own = Record { id: "own".into(), timestamp: NOON, source: Bytes::from_static(source.as_bytes()) };
    let records = [own, plain("b", NOON + DAY), plain("c", NOON - DAY / 2 - 1)];
    assert_eq!(scratch.store.write(&records).await.unwrap(), vec![Outcome::Indexed; 3]);
    for (day, id) in [("2024.08.15", "c"), ("2024.08.16", "own"), ("2024.08.17", "b")] {
        let found = scratch.send("GET", &format!("-{day}/_doc/{id}"), Value::Null).await;
        assert_eq!(found["found"], true, "{day} {id}: {found}");
    }
    let url = crate::support::address().join(&format!("{}-2024.08.16/_source/own", scratch.index)).unwrap();
    assert_eq!(reqwest::get(url).await.unwrap().text().await.unwrap(), source);
}

#[tokio::test]
async fn what_is_written_again_is_a_duplicate() {
    let scratch = Scratch::new("again");
    let records = [plain("a", NOON), plain("b", NOON)];
    assert_eq!(scratch.store.write(&records[..1]).await.unwrap(), [Outcome::Indexed]);
    let outcomes = scratch.store.write(&[records[0].clone(), records[1].clone(), records[1].clone()]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Duplicate, Outcome::Indexed, Outcome::Duplicate]);
    scratch.refresh().await;
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
    let outcomes = scratch.store.write(&records).await.unwrap();
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
    assert_eq!(scratch.store.write(&[record]).await.unwrap(), [Outcome::Indexed]);
    scratch.refresh().await;
    assert_eq!(scratch.search("two", 1, None).await.logs[0].entry.message, "one\ntwo");
}

#[tokio::test]
async fn a_large_batch_arrives_whole() {
    let scratch = Scratch::new("large");
    // Large enough to be compressed on another thread.
    let records: Vec<_> = (0..3_000).map(|n| plain(&format!("r{n:05}"), NOON + n)).collect();
    let outcomes = scratch.store.write(&records).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Indexed));
    scratch.refresh().await;
    assert_eq!(scratch.search("hello", 1, None).await.total, 3_000);
}

#[tokio::test]
async fn blocked_and_closed_indices_are_told_apart() {
    let scratch = Scratch::new("blocked");
    scratch.write(&[("a", NOON, json!({})), ("b", NOON + DAY, json!({}))]).await;
    scratch.send("PUT", "-2024.08.16/_settings", json!({"index.blocks.write": true})).await;
    scratch.send("POST", "-2024.08.17/_close", Value::Null).await;
    let outcomes = scratch.store.write(&[plain("c", NOON), plain("d", NOON + DAY), plain("e", NOON + 2 * DAY)]).await;
    let outcomes = outcomes.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Retry { reason, .. } if reason.contains("block")), "{outcomes:?}");
    assert!(matches!(&outcomes[1], Outcome::Refused { reason, .. } if reason.contains("closed")), "{outcomes:?}");
    assert_eq!(outcomes[2], Outcome::Indexed);
    scratch.send("PUT", "-2024.08.16/_settings", json!({"index.blocks.write": false})).await;
    assert_eq!(scratch.store.write(&[plain("c", NOON)]).await.unwrap(), [Outcome::Indexed]);
}

#[tokio::test]
async fn the_index_template_is_installed_kept_and_mended() {
    let scratch = Scratch::new("template");
    let path = format!("_index_template/taffrail-{}", scratch.index);
    scratch.write(&[("a", NOON, json!({}))]).await;
    let (status, first) = request("GET", &path, Value::Null).await;
    assert_eq!(status, 200);
    let template = &first["index_templates"][0]["index_template"];
    assert!(template["version"].as_u64().unwrap() >= 1);
    assert_eq!(template["template"]["mappings"]["properties"]["timestamp"]["type"], "date");
    // Another writer, of a version before ours, would be brought up to date; of a later one it is left alone.
    for (version, mended) in [(0, true), (1_000_000, false)] {
        let other = json!({
            "index_patterns": template["index_patterns"], "priority": template["priority"], "version": version,
        });
        assert_eq!(request("PUT", &path, other).await.0, 200);
        let options = taffrail_logstore::elasticsearch::ElasticsearchOptions::new(
            vec![crate::support::address()],
            &scratch.index,
        );
        let store = taffrail_logstore::elasticsearch::ElasticsearchStore::new(options).unwrap();
        store.write(&[plain("b", NOON + DAY)]).await.unwrap();
        let found = request("GET", &path, Value::Null).await.1;
        let found = &found["index_templates"][0]["index_template"]["template"];
        assert_eq!(found["mappings"]["properties"]["timestamp"]["type"] == "date", mended, "version {version}");
    }
}

#[tokio::test]
async fn a_timestamp_that_elasticsearch_can_not_read_does_not_cost_the_log() {
    let scratch = Scratch::new("times");
    let times = ["2024-08-16t12:00:00z", "2024-08-16 12:00:00Z", "2024-08-16T12:00:60Z", "yesterday"];
    let logs: Vec<_> = times.iter().map(|time| (*time, NOON, json!({"timestamp": time, "fields": {"a": 1}}))).collect();
    scratch.write(&logs).await;
    let page = scratch.search("fields.a:1 timestamp:1723809600000", 10, None).await;
    assert_eq!(page.total, 4);
    assert!(page.logs.iter().all(|log| log.entry.timestamp == log.id));
}
