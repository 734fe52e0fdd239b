//! Dead letters.

use bytes::Bytes;
use taffrail_logstore::{DeadLetter, LogStore, Provenance, WriteError};

use super::support::NOON;
use crate::support::Scratch;

pub fn letter(pipeline: &str, offset: i64, original: &'static [u8]) -> DeadLetter {
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
    scratch.settle().await;
    let found = scratch.store.dead_letters("shop/web", 10).await.unwrap();
    assert_eq!(found, [letters[4].clone(), letters[3].clone(), letters[1].clone(), letters[0].clone()]);
    assert_eq!(scratch.store.dead_letters("shop/web", 1).await.unwrap(), [letters[4].clone()]);
    // They are no logs.
    assert!(scratch.find("*").await.is_empty());
}

#[tokio::test]
async fn many_large_letters_are_kept() {
    let scratch = Scratch::new("large-letters");
    let large: &'static [u8] = vec![b'x'; 3 << 20].leak();
    let letters: Vec<_> = (0..6).map(|offset| letter("a/b", offset, large)).collect();
    scratch.store.write_dead_letters(&letters).await.unwrap();
    scratch.settle().await;
    let found = scratch.store.dead_letters("a/b", 10).await.unwrap();
    assert_eq!(found.len(), 6);
    assert!(found.iter().all(|letter| letter.original.len() == 3 << 20));
}

#[tokio::test]
async fn a_second_letter_replaces_the_first() {
    let scratch = Scratch::new("replaced");
    let first = letter("a/b", 1, b"one");
    let second = DeadLetter { reason: "now it is worse".into(), status: 0, ..letter("a/b", 1, b"two") };
    scratch.store.write_dead_letters(&[first, letter("a/b", 2, b"x")]).await.unwrap();
    scratch.store.write_dead_letters(std::slice::from_ref(&second)).await.unwrap();
    scratch.settle().await;
    assert_eq!(scratch.store.dead_letters("a/b", 10).await.unwrap(), [letter("a/b", 2, b"x"), second]);
    assert!(scratch.store.dead_letters("a/b", 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_letter_without_an_id_is_refused() {
    let scratch = Scratch::new("nameless");
    let nameless = DeadLetter { id: String::new(), ..letter("a/b", 1, b"x") };
    let error = scratch.store.write_dead_letters(&[nameless]).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused(_)), "{error}");
}
