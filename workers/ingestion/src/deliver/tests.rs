#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;
use taffrail_logstore::{Obstacle, RecordRef};

use super::*;
use crate::batch::{Batcher, Room};
use crate::lane::{Book, Identity, Lane, Ledger, Mark};
use crate::record::Filling;
use crate::testing::{MemoryStore, spec, until};

fn sender() -> Sender {
    Sender { pipeline: "default/shop".into(), generation: 3 }
}

fn courier(store: &Arc<MemoryStore>) -> Courier {
    Courier {
        store: store.clone(),
        letters: store.clone(),
        sender: sender(),
        health: Arc::new(Health::new("default/shop".into(), true)),
        counters: Arc::default(),
    }
}

/// A batch of records of one lane.
fn batch(payloads: &[String]) -> (Batch, Arc<Lane>) {
    let spec = spec(json!({"source": {"stdin": {}}, "sink": {"embedded": {}}}));
    let mut batcher = Batcher::new(&spec, sender()).unwrap();
    let lane =
        Lane::new(Book::new("logs", 0, Ledger::default(), None), Identity::Record("logs-0".into()), None, 0, None);
    let mut batch = Batch::new(Instant::now());
    let mut filling = Filling::default();
    for (offset, payload) in (0..).zip(payloads) {
        filling.push(&lane, Mark { offset, timestamp: 1_000, crc: 0 }, offset + 1, payload.as_bytes());
        lane.hand_over(offset + 1);
    }
    if let Some(chunk) = filling.take() {
        let room = Room { records: usize::MAX, bytes: usize::MAX };
        assert_eq!(batcher.add(&mut batch, &Arc::new(chunk), 0, 0, room), payloads.len());
    }
    batch.cut(None);
    (batch, lane)
}

fn logs(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{{\"message\":\"m{number}\"}}")).collect()
}

async fn deliver(courier: &Courier, payloads: &[String]) -> Ledger {
    let (mut batch, lane) = batch(payloads);
    courier.deliver(&mut batch).await;
    batch.resolve(&|| {});
    assert!(lane.is_drained());
    lane.book.ledger()
}

#[tokio::test]
async fn good_records_are_stored_and_rubbish_is_kept_byte_for_byte() {
    let store = MemoryStore::new();
    let mut payloads = logs(3);
    payloads.insert(1, "rubbish \u{1}".into());
    let ledger = deliver(&courier(&store), &payloads).await;
    assert_eq!(ledger, Ledger { indexed: 3, dead_lettered: 1, ..Ledger::default() });
    let letters = store.letters.lock();
    let letter = letters.values().next().unwrap();
    assert_eq!(letter.original, "rubbish \u{1}".as_bytes());
    assert_eq!((letter.provenance.offset, letter.provenance.generation, letter.status), (1, 3, 0));
    assert!(letter.reason.contains("line 1 column 1"), "{}", letter.reason);
}

#[rstest]
#[case(WriteError::Unavailable("away".into()), SINK_UNAVAILABLE)]
#[case(WriteError::Unauthorized("who".into()), SINK_AUTH_FAILED)]
#[case(WriteError::Stalled(Obstacle::Unauthorized, "who".into()), SINK_AUTH_FAILED)]
#[case(WriteError::Stalled(Obstacle::StorageBlocked, "full".into()), "StorageBlocked")]
#[case(WriteError::Stalled(Obstacle::ShardLimit, "shards".into()), "ShardLimit")]
#[case(WriteError::Stalled(Obstacle::IndexMissing, "index".into()), "IndexMissing")]
#[case(WriteError::Stalled(Obstacle::Misconfigured, "url".into()), "SinkMisconfigured")]
#[tokio::test]
async fn faults_of_environment_and_credentials_stall_and_say_so(#[case] fault: WriteError, #[case] reason: &str) {
    let store = MemoryStore::new();
    store.faults.lock().extend(vec![fault.clone(); 20]);
    let courier = courier(&store);
    let health = courier.health.clone();
    let task = tokio::spawn(async move { deliver(&courier, &logs(2)).await });
    until("it is told", || health.problem().is_some_and(|problem| problem.reason == reason)).await;
    assert_eq!(task.await.unwrap(), Ledger { indexed: 2, ..Ledger::default() });
    assert_eq!((health.problem(), store.letters.lock().len()), (None, 0));
}

#[tokio::test]
async fn only_what_was_not_taken_is_written_again() {
    let store = MemoryStore::new();
    let calls = AtomicUsize::new(0);
    store.set_rule(move |records| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        Some(Ok((0..records.len())
            .map(|index| match (call, index) {
                (0, 1 | 3) | (1, 1) => Outcome::Retry { status: 429, reason: "busy".into() },
                _ => Outcome::Indexed,
            })
            .collect()))
    });
    let ledger = deliver(&courier(&store), &logs(5)).await;
    assert_eq!(ledger, Ledger { indexed: 5, ..Ledger::default() });
    assert_eq!(*store.writes.lock(), [5, 2, 1]);
}

#[tokio::test]
async fn what_stalls_a_record_is_told_rather_than_what_passes_by_itself() {
    let store = MemoryStore::new();
    store.set_rule(|records| {
        let outcomes = (0..records.len()).map(|index| match index {
            0 => Outcome::Retry { status: 429, reason: "busy".into() },
            1 => Outcome::Stalled { obstacle: Obstacle::ShardLimit, reason: "all are in use".into() },
            _ => Outcome::Indexed,
        });
        (records.len() > 1).then(|| Ok(outcomes.collect()))
    });
    let courier = courier(&store);
    let health = courier.health.clone();
    let task = tokio::spawn(async move { deliver(&courier, &logs(5)).await });
    until("it is told", || health.problem().is_some_and(|problem| problem.reason == "ShardLimit")).await;
    store.clear_rule();
    assert_eq!(task.await.unwrap(), Ledger { indexed: 5, ..Ledger::default() });
    assert_eq!((health.problem(), store.letters.lock().len()), (None, 0));
}

#[tokio::test]
async fn many_refusals_are_a_warning_and_no_reason_to_stall() {
    let store = MemoryStore::new();
    store.set_rule(|records| {
        let refused = || Outcome::Refused { status: 400, reason: "document_parsing_exception: [1:5] no".into() };
        Some(Ok((0..records.len()).map(|index| if index % 4 == 0 { refused() } else { Outcome::Indexed }).collect()))
    });
    let courier = courier(&store);
    assert_eq!(deliver(&courier, &logs(36)).await.dead_lettered, 9);
    assert_eq!(courier.health.warning(), None, "so few may be chance");
    deliver(&courier, &logs(8)).await;
    let warning = courier.health.warning().unwrap();
    assert!(warning.reason == "MappingConflict" && warning.message.contains("[1:5] no"), "{warning:?}");
    assert_eq!(courier.health.problem(), None);
    store.clear_rule();
    deliver(&courier, &logs(500)).await;
    assert_eq!(courier.health.warning(), None);
}

#[tokio::test]
async fn a_write_that_is_too_large_is_halved_until_the_one_at_fault_is_alone() {
    for too_large in [true, false] {
        let store = MemoryStore::new();
        store.set_rule(move |records| {
            let is_bad = records.iter().any(|record| record.source.windows(3).any(|bytes| bytes == b"m7\""));
            let error = if too_large { WriteError::TooLarge("413".into()) } else { WriteError::Refused("400".into()) };
            (is_bad).then_some(Err(error))
        });
        let ledger = deliver(&courier(&store), &logs(10)).await;
        assert_eq!(ledger, Ledger { indexed: 9, dead_lettered: 1, ..Ledger::default() });
        let letters = store.letters.lock();
        let letter = letters.values().next().unwrap();
        assert_eq!(letter.original, "{\"message\":\"m7\"}".as_bytes());
        assert_eq!(letter.status, if too_large { 413 } else { 400 });
    }
}

#[tokio::test]
async fn a_refused_record_is_a_dead_letter_with_the_stores_reason() {
    let store = MemoryStore::new();
    store.set_rule(|records| {
        let refuse = Outcome::Refused { status: 400, reason: "mapper_parsing_exception".into() };
        Some(Ok((0..records.len()).map(|index| if index == 1 { refuse.clone() } else { Outcome::Indexed }).collect()))
    });
    store.letter_faults.lock().extend([
        WriteError::Unavailable("away".into()),
        WriteError::Unauthorized("who".into()),
        WriteError::Refused("lone".into()),
    ]);
    let courier = courier(&store);
    let ledger = deliver(&courier, &logs(3)).await;
    assert_eq!(ledger, Ledger { indexed: 2, dead_lettered: 1, ..Ledger::default() });
    let letters = store.letters.lock();
    let letter = letters.values().next().unwrap();
    assert_eq!((letter.status, letter.reason.as_str()), (400, "mapper_parsing_exception"));
    assert_eq!(courier.health.problem(), None);
}

#[tokio::test]
async fn many_letters_are_written_in_pieces() {
    let store = MemoryStore::new();
    store.letter_faults.lock().push_back(WriteError::TooLarge("413".into()));
    let payloads: Vec<String> = (0..1_200).map(|number| format!("rubbish {number}")).collect();
    let ledger = deliver(&courier(&store), &payloads).await;
    assert_eq!((ledger.dead_lettered, store.letters.lock().len()), (1_200, 1_200));
    assert!(store.writes.lock().is_empty());
}

#[tokio::test]
async fn an_outcome_too_few_costs_no_record() {
    let store = MemoryStore::new();
    let courier = courier(&store);
    let (mut batch, _) = batch(&logs(3));
    let items = std::mem::take(&mut batch.items);
    let work = (std::mem::take(&mut batch.records), items.clone());
    let again = courier.sort(&mut batch, &mut Vec::new(), work, vec![Outcome::Indexed]).unwrap();
    assert_eq!((again.0.len(), again.1), (3, items));
}

#[test]
fn pauses_grow_to_a_limit_and_differ() {
    let mut pause = Pause::new();
    let pauses: Vec<Duration> = (0..12).map(|_| pause.next()).collect();
    for (index, pause) in pauses.iter().enumerate() {
        let full = Duration::from_millis(1 << index).min(Pause::LONGEST);
        assert!(*pause >= full / 2 && *pause <= full, "{index}: {pause:?}");
    }
}

/// What a store does with a record, whenever it sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fit {
    Good,
    Rubbish,
    Refused,
    /// Makes the whole write fail.
    Poison,
    /// Not taken the first time.
    Late,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever a store makes of records, each ends in exactly one place, and the ledger says in which.
    #[test]
    fn every_record_ends_in_one_place(
        fits in prop::collection::vec(
            prop::sample::select(vec![Fit::Good, Fit::Good, Fit::Rubbish, Fit::Refused, Fit::Poison, Fit::Late]), 1..40),
        outages in 0_usize..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let store = MemoryStore::new();
        store.faults.lock().extend(vec![WriteError::Unavailable("away".into()); outages]);
        let by_message: BTreeMap<String, Fit> =
            fits.iter().enumerate().map(|(number, fit)| (format!("m{number}"), *fit)).collect();
        let late = Mutex::new(std::collections::BTreeSet::new());
        store.set_rule(move |records| {
            let fit_of = |record: RecordRef<'_>| {
                let entry: serde_json::Value = serde_json::from_slice(record.source).unwrap();
                (entry["message"].as_str().unwrap().to_owned(), by_message[entry["message"].as_str().unwrap()])
            };
            if records.iter().any(|record| fit_of(record).1 == Fit::Poison) {
                return Some(Err(WriteError::Refused("poison".into())));
            }
            Some(Ok(records.iter().map(|record| match fit_of(record) {
                (_, Fit::Refused) => Outcome::Refused { status: 400, reason: "no".into() },
                (message, Fit::Late) if late.lock().insert(message.clone()) => Outcome::Retry { status: 429, reason: "later".into() },
                _ => Outcome::Indexed,
            }).collect()))
        });
        let payloads: Vec<String> = fits.iter().enumerate().map(|(number, fit)| match fit {
            Fit::Rubbish => format!("rubbish {number}"),
            _ => format!("{{\"message\":\"m{number}\"}}"),
        }).collect();
        let ledger = runtime.block_on(deliver(&courier(&store), &payloads));
        let count = |wanted: &[Fit]| fits.iter().filter(|fit| wanted.contains(fit)).count() as u64;
        prop_assert_eq!(ledger.indexed, count(&[Fit::Good, Fit::Late]));
        prop_assert_eq!(ledger.dead_lettered, count(&[Fit::Rubbish, Fit::Refused, Fit::Poison]));
        prop_assert_eq!(store.documents.lock().len() as u64, ledger.indexed);
        let originals: std::collections::BTreeSet<Bytes> = store.letters.lock().values().map(|letter| letter.original.clone()).collect();
        let expected: std::collections::BTreeSet<Bytes> = payloads.iter().zip(&fits)
            .filter(|(_, fit)| matches!(fit, Fit::Rubbish | Fit::Refused | Fit::Poison))
            .map(|(payload, _)| Bytes::from(payload.clone())).collect();
        prop_assert_eq!(originals, expected);
    }
}
