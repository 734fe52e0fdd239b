//! Records that are no logs: they are kept byte for byte, and stop nobody.

use std::collections::BTreeSet;

use base64::Engine as _;
use serde_json::Value;
use taffrail_tests::taffrail::{Options, Taffrail};
use taffrail_tests::{elasticsearch, kafka, unique};

use crate::support::{consumed, day_before, entry, pipeline};

const RECORDS: usize = 20_000;

/// Something that is no log, and different for each `n`.
fn rubbish(n: usize) -> Vec<u8> {
    match n % 8 {
        0 => format!("not JSON at all, number {n}").into_bytes(),
        1 => entry(n, 0).into_bytes()[..60].iter().copied().chain(n.to_string().into_bytes()).collect(),
        2 => format!("[{n}]").into_bytes(),
        3 => n.to_string().into_bytes(),
        4 => [b"\xff\xfe\x00".as_slice(), &n.to_le_bytes()].concat(),
        5 => format!("{{\"message\": \"\u{0}, {n}\"}}").into_bytes(),
        6 => format!("{}{n}", "[".repeat(300)).into_bytes(),
        _ => format!("{{\"message\":\"{n} is too long {}\"}}", "x".repeat(1 << 20)).into_bytes(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_is_kept_byte_for_byte_and_the_ledger_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let name = unique("rubbish");
    let _indices = elasticsearch::Indices(name.clone());
    kafka::create_topic_with(&name, 2, &[("max.message.bytes", "4000000")]).await.unwrap();
    let noon = day_before(1) + 43_200_000;
    let mut producer = kafka::Producer::new(&name, 2).unwrap();
    let mut sent = BTreeSet::new();
    for n in 0..RECORDS {
        if n % 100 == 37 {
            let record = rubbish(n / 100);
            producer.send(&record).unwrap();
            assert!(sent.insert(record));
        } else {
            producer.send(entry(n, noon + i64::try_from(n).unwrap()).as_bytes()).unwrap();
        }
    }
    producer.flush().unwrap();

    let objects = folder.path().join("objects.json");
    std::fs::write(&objects, pipeline("rubbish", &name, &name).to_string()).unwrap();
    let taffrail = Taffrail::start(Options::new(&folder.path().join("data"), [&objects])).await.unwrap();
    let status = consumed(&taffrail, "rubbish", RECORDS as u64).await;
    assert_eq!(status["deadLettered"], sent.len(), "{status}");
    assert_eq!(status["indexed"], RECORDS - sent.len(), "{status}");

    let logs = elasticsearch::documents(&format!("{name}-2*")).await.unwrap();
    let numbers: BTreeSet<u64> = logs.iter().map(|log| log["_source"]["fields"]["n"].as_u64().unwrap()).collect();
    assert_eq!((logs.len(), numbers.len()), (RECORDS - sent.len(), RECORDS - sent.len()));

    let letters = elasticsearch::documents(&format!("{name}-dead-letter")).await.unwrap();
    assert_eq!(letters.len(), sent.len());
    for letter in letters {
        let letter = &letter["_source"];
        assert!(!letter["reason"].as_str().unwrap().is_empty() && letter["topic"] == name.as_str(), "{letter}");
        assert!(sent.remove(&original(letter)), "no such record was sent: {letter}");
    }
    assert_eq!(sent.len(), 0);
}

/// The bytes that a letter keeps.
fn original(letter: &Value) -> Vec<u8> {
    match (letter["original"].as_str(), letter["original_base64"].as_str()) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(encoded)) => base64::engine::general_purpose::STANDARD.decode(encoded).unwrap(),
        other => panic!("no bytes, or twice: {other:?}"),
    }
}
