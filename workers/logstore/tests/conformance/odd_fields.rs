//! Odd fields: whatever they are, no log is refused for them, and those within the limits are found.

use serde_json::{Map, Value, json};
use taffrail_logstore::LogStore;
use taffrail_logstore::TimeSpan;
use taffrail_logstore::q::Query;

use super::support::{DAY, NOON};
use crate::support::Scratch;

fn fields(value: Value) -> Value {
    json!({"message": "m", "fields": value})
}

#[tokio::test]
async fn five_thousand_keys_are_kept() {
    let scratch = Scratch::new("explosion");
    let logs: Vec<_> = (0..50)
        .map(|log| {
            let keys: Map<String, Value> =
                (0..100).map(|key| (format!("k{:04}", log * 100 + key), key.into())).collect();
            (format!("e{log:02}"), fields(keys.into()))
        })
        .collect();
    let logs: Vec<_> = logs.iter().map(|(id, log)| (id.as_str(), NOON, log.clone())).collect();
    scratch.write(&logs).await;
    // All are shown, the first are found, and even of the others it is known that they are there.
    let page = scratch.search("*", 100, None).await;
    assert_eq!(page.logs.iter().map(|log| log.entry.fields.len()).sum::<usize>(), 5_000);
    assert_eq!(scratch.find("fields.k0007:7").await, ["e00"]);
    assert_eq!(scratch.find("fields.k4907:*").await, ["e49"]);
}

#[tokio::test]
async fn types_that_contradict_each_other_are_all_found() {
    let scratch = Scratch::new("types");
    scratch
        .write(&[
            ("number", NOON, fields(json!({"v": 503}))),
            ("text", NOON, fields(json!({"v": "503"}))),
            ("word", NOON, fields(json!({"v": "abc"}))),
            ("object", NOON, fields(json!({"v": {"id": 7}}))),
            ("list", NOON, fields(json!({"v": [1, "x", {"id": [8, {"deep": true}]}]}))),
            ("null", NOON, fields(json!({"v": null}))),
            ("bool", NOON, fields(json!({"v": false}))),
            ("float", NOON, fields(json!({"v": 503.0}))),
            ("dotted", NOON, fields(json!({"v.id": 7}))),
            ("huge", NOON, fields(json!({"v": 9_007_199_254_740_993_u64}))),
        ])
        .await;
    let found = |query: &'static str| {
        let scratch = &scratch;
        async move {
            let mut ids = scratch.find(query).await;
            ids.sort();
            ids.join(" ")
        }
    };
    assert_eq!(found("fields.v:503").await, "float number text");
    assert_eq!(found("fields.v:>=500").await, "float huge number");
    assert_eq!(found("fields.v:[1 TO 2]").await, "list");
    assert_eq!(found("fields.v:abc").await, "word");
    assert_eq!(found("fields.v:false").await, "bool");
    assert_eq!(found("fields.v.id:7").await, "dotted object");
    assert_eq!(found("fields.v.id:8").await, "list");
    assert_eq!(found("fields.v.id.deep:true").await, "list");
    assert_eq!(found("fields.v:9007199254740993").await, "huge");
    // As floats the two are the same.
    assert_eq!(found("fields.v:9007199254740992").await, "huge");
    assert_eq!(found("NOT fields.v:*").await, "null");
}

#[tokio::test]
async fn numbers_are_found_by_range_where_texts_came_first() {
    let scratch = Scratch::new("texts-first");
    scratch.write(&[("text", NOON, fields(json!({"took": "12ms"})))]).await;
    scratch.write(&[("number", NOON, fields(json!({"took": 12}))), ("other", NOON, fields(json!({"took": 5})))]).await;
    assert_eq!(scratch.find("fields.took:>10").await, ["number"]);
    assert_eq!(scratch.find("fields.took:12ms").await, ["text"]);
    // In one batch, on a day of which there is no index yet.
    scratch
        .write(&[
            ("t", NOON + DAY, fields(json!({"new": "x"}))),
            ("u", NOON + DAY, fields(json!({"other": "y", "new": 11}))),
            ("v", NOON + DAY, fields(json!({"other": 22}))),
        ])
        .await;
    assert_eq!(scratch.find("fields.new:>10").await, ["u"]);
    assert_eq!(scratch.find("fields.other:>10").await, ["v"]);
}

#[tokio::test]
async fn odd_keys_and_values_do_not_cost_the_log() {
    let scratch = Scratch::new("odd-keys");
    let mut deep = json!({"leaf": 1});
    for _ in 0..60 {
        deep = json!({"d": deep});
    }
    let odd = [
        json!({"": 1, "fine": "yes"}),
        json!({" ": {"a": 1}, "fine": "yes"}),
        json!({"x": [{"": 1}], "fine": "yes"}),
        json!({".": 1, "..": 2, "a..b": 3, ".c": 4, "c.": 5, "fine": "yes"}),
        json!({"n": 1, "n.as_number": 2, "fine": "yes"}),
        json!({"_id": "x", "_source": {"a": 1}, "_index": 3, "fine": "yes"}),
        json!({"deep": deep, "fine": "yes"}),
        json!({"k".repeat(40_000): 1, "fine": "yes"}),
        json!({"long": "y".repeat(100_000), "fine": "yes"}),
        json!({"nul\u{0}": "a\u{0}b", "fine": "yes"}),
    ];
    let ids: Vec<_> = (0..odd.len()).map(|n| format!("o{n}")).collect();
    let logs: Vec<_> = odd.iter().zip(&ids).map(|(odd, id)| (id.as_str(), NOON, fields(odd.clone()))).collect();
    scratch.write(&logs).await;
    let page = scratch.search("fields.fine:yes", 100, None).await;
    assert_eq!(page.total, odd.len() as u64, "{:?}", page.logs.iter().map(|log| &log.id).collect::<Vec<_>>());
    for log in page.logs {
        let number: usize = log.id[1..].parse().unwrap();
        assert_eq!(Value::from(log.entry.fields), odd[number], "{}", log.id);
    }
}

#[tokio::test]
async fn tags_may_have_any_keys() {
    let scratch = Scratch::new("tags");
    let log = json!({"message": "m", "tags": {"a": "1", "a.b": "2", "": "3", "empty": ""}});
    scratch.write(&[("t", NOON, log)]).await;
    for query in ["tags.a:1", "tags.a.b:2", "tags.empty:*", "tags.a:?"] {
        assert_eq!(scratch.find(query).await, ["t"], "{query}");
    }
    assert_eq!(scratch.find("tags.b:*").await, [""; 0]);
    assert_eq!(scratch.search("*", 1, None).await.logs[0].entry.tags[""], "3");
}

#[tokio::test]
async fn what_users_write_is_data() {
    let scratch = Scratch::new("injection");
    scratch
        .write(&[("x", NOON, json!({"message": "m", "service": "a\" OR *"})), ("y", NOON, json!({"service": "b"}))])
        .await;
    assert_eq!(scratch.find(r#"service:"a\" OR *""#).await, ["x"]);
    let all = Query::Term(taffrail_logstore::q::Key::Service, "*\"}},{\"match_all\":{".to_owned());
    let summary = scratch.store.fields(&all, TimeSpan::default()).await.unwrap();
    assert!(summary.is_empty());
}
