//! The indices that there are, and how they are set up.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use taffrail_logstore::{DeadLetters as _, LogStore, Outcome, Record};

use crate::conformance::letters::letter;
use crate::conformance::support::{DAY, NOON, plain};
use crate::support::{Scratch, request};

#[tokio::test]
async fn three_days_go_to_three_indices_and_sources_stay_as_they_are() {
    let scratch = Scratch::new("days");
    let source = r#"{"timestamp":"2024-08-16T12:00:00.123456789Z" , "level":"info","message":"spaces  stay","service":"a","host":"h","tags":{},"fields":{"z":1,"a":2.50}}"#;
    let own = Record { id: "own".into(), timestamp: NOON, source: Bytes::from_static(source.as_bytes()) };
    let records = [own, plain("b", NOON + DAY), plain("c", NOON - DAY / 2 - 1)];
    assert_eq!(scratch.store.write(&records.as_slice().into()).await.unwrap(), vec![Outcome::Indexed; 3]);
    for (day, id) in [("2024.08.15", "c"), ("2024.08.16", "own"), ("2024.08.17", "b")] {
        let found = scratch.send("GET", &format!("-{day}/_doc/{id}"), Value::Null).await;
        assert_eq!(found["found"], true, "{day} {id}: {found}");
    }
    let url = crate::support::address().join(&format!("{}-2024.08.16/_source/own", scratch.index)).unwrap();
    assert_eq!(reqwest::get(url).await.unwrap().text().await.unwrap(), source);
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
        store.write(&[plain("b", NOON + DAY)].into()).await.unwrap();
        let found = request("GET", &path, Value::Null).await.1;
        let found = &found["index_templates"][0]["index_template"]["template"];
        assert_eq!(found["mappings"]["properties"]["timestamp"]["type"] == "date", mended, "version {version}");
    }
}

#[tokio::test]
async fn indices_of_longer_names_and_dead_letters_are_not_ours() {
    let scratch = Scratch::new("near");
    scratch.write(&[("mine", NOON, json!({}))]).await;
    let options = taffrail_logstore::elasticsearch::ElasticsearchOptions::new(
        vec![crate::support::address()],
        format!("{}-2nd", scratch.index),
    );
    let other = taffrail_logstore::elasticsearch::ElasticsearchStore::new(options).unwrap();
    other.write(&[plain("theirs", NOON)].into()).await.unwrap();
    scratch.settle().await;
    assert_eq!(scratch.find("*").await, ["mine"]);
}

#[tokio::test]
async fn five_thousand_keys_do_not_blow_up_the_mapping() {
    let scratch = Scratch::new("explosion");
    let keys =
        |log: u32| -> Map<String, Value> { (0..100).map(|n| (format!("k{:04}", log * 100 + n), n.into())).collect() };
    let logs: Vec<_> =
        (0..50).map(|log| (format!("e{log:02}"), json!({"message": "m", "fields": keys(log)}))).collect();
    let logs: Vec<_> = logs.iter().map(|(id, log)| (id.as_str(), NOON, log.clone())).collect();
    scratch.write(&logs).await;
    let mapping = scratch.send("GET", "-2024.08.16/_mapping", Value::Null).await;
    let paths = &mapping[format!("{}-2024.08.16", scratch.index)]["mappings"]["properties"]["fields"]["properties"];
    let count = paths.as_object().unwrap().len();
    assert!((500..=2_000).contains(&count), "{count} paths are mapped");
}

#[tokio::test]
async fn the_originals_of_dead_letters_are_not_indexed() {
    let scratch = Scratch::new("letters");
    scratch.store.write_dead_letters(&[letter("shop/web", 1, b"{\"broken\": ")]).await.unwrap();
    let index = format!("{}-dead-letter", scratch.index);
    let (_, mapping) = request("GET", &format!("{index}/_mapping"), Value::Null).await;
    let properties = &mapping[&index]["mappings"]["properties"];
    assert_eq!(properties["pipeline"]["type"], "keyword");
    assert!(properties.get("original").is_none(), "{properties}");
}

#[tokio::test]
async fn a_component_template_of_one_s_own_adds_to_ours() {
    let scratch = Scratch::new("custom");
    let component = format!("_component_template/taffrail-{}@custom", scratch.index);
    let settings = json!({"template": {"settings": {"number_of_shards": 2}}});
    assert_eq!(request("PUT", &component, settings).await.0, 200);
    scratch.write(&[("a", NOON, json!({}))]).await;
    let index = format!("{}-2024.08.16", scratch.index);
    let settings = scratch.send("GET", "-2024.08.16/_settings", Value::Null).await;
    assert_eq!(settings[&index]["settings"]["index"]["number_of_shards"], "2", "{settings}");
    assert_eq!(request("DELETE", &format!("_index_template/taffrail-{}", scratch.index), Value::Null).await.0, 200);
    assert_eq!(request("DELETE", &component, Value::Null).await.0, 200);
}
