//! Dead letters.

use bytes::Bytes;
use serde_json::Value;
use taffrail_logstore::{DeadLetter, LogStore, Provenance};

use crate::support::{NOON, Scratch, request};

fn letter(pipeline: &str, offset: i64, original: &'static [u8]) -> DeadLetter {
    DeadLetter {
        id: format!("logs-0-{offset}"),
        reason: "it is \"no\" JSON".into(),
        status: 400,
        provenance: Provenance {
            pipeline: pipeline.into(),
            generation: 3,
            topic: "logs".into(),
            partition: 7,
            offset,
            timestamp: NOON + offset,
        },
        original: Bytes::from_static(original),
    }
}

#[tokio::test]
async fn letters_come_back_byte_for_byte_newest_first_and_once() {
    let scratch = Scratch::new("letters");
    let letters = [
        letter("shop/web", 1, b"{\"broken\": "),
        letter("shop/web", 2, b"\xff\xfe\x00binary\n"),
        letter("shop/other", 3, b"x"),
        letter("shop/web", 4, b""),
        letter("shop/web", 5, b"{\"a\":1}"),
    ];
    scratch.store.write_dead_letters(&letters).await.unwrap();
    scratch.store.write_dead_letters(&letters[..2]).await.unwrap();
    scratch.refresh().await;
    let found = scratch.store.dead_letters("shop/web", 10).await.unwrap();
    assert_eq!(found, [letters[4].clone(), letters[3].clone(), letters[1].clone(), letters[0].clone()]);
    assert_eq!(scratch.store.dead_letters("shop/web", 1).await.unwrap(), [letters[4].clone()]);
    // They are no logs.
    assert!(scratch.find("*").await.is_empty());
    // The originals are kept, but not indexed.
    let index = format!("{}-dead-letter", scratch.index);
    let (_, mapping) = request("GET", &format!("{index}/_mapping"), Value::Null).await;
    let properties = &mapping[&index]["mappings"]["properties"];
    assert_eq!(properties["pipeline"]["type"], "keyword");
    assert!(properties.get("original").is_none(), "{properties}");
}

#[tokio::test]
async fn many_large_letters_are_sent_in_portions() {
    let scratch = Scratch::new("large-letters");
    let large: &'static [u8] = vec![b'x'; 3 << 20].leak();
    let letters: Vec<_> = (0..6).map(|offset| letter("a/b", offset, large)).collect();
    scratch.store.write_dead_letters(&letters).await.unwrap();
    scratch.refresh().await;
    let found = scratch.store.dead_letters("a/b", 10).await.unwrap();
    assert_eq!(found.len(), 6);
    assert!(found.iter().all(|letter| letter.original.len() == 3 << 20));
}
