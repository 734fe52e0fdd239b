#![allow(clippy::unwrap_used)]

use serde_json::json;
use taffrail_logstore::LogEntry;

use super::*;
use crate::lane::{Book, Identity};
use crate::record::{Filling, Ticket};
use crate::testing::spec;

fn batcher(parts: serde_json::Value) -> Batcher {
    let mut whole = json!({"source": {"stdin": {}}, "sink": {"embedded": {}}});
    whole.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    Batcher::new(&spec(whole), Sender { pipeline: "default/shop".into(), generation: 1 }).unwrap()
}

fn lane(partition: i32) -> Arc<Lane> {
    let book = Book::new("logs", partition, Ledger::default(), None);
    let identity = Identity::Record(format!("logs-{partition}"));
    Lane::new(book, identity, Some(format!("logs/{partition}")), 0, None)
}

/// A chunk of one record.
fn raw(lane: &Arc<Lane>, offset: i64, payload: &str) -> Arc<Chunk> {
    let mut filling = Filling::default();
    lane.hand_over(offset + 1);
    filling.push(lane, mark(offset), offset + 1, payload.as_bytes());
    Arc::new(filling.take().unwrap())
}

fn mark(offset: i64) -> Mark {
    Mark { offset, timestamp: 1_723_809_600_000, crc: 9 }
}

impl Batcher {
    fn add_all(&mut self, batch: &mut Batch, chunk: &Arc<Chunk>, counted: i64) {
        let mut from = 0;
        while from < chunk.len() {
            from = self.add(batch, chunk, from, counted, Room { records: 1_000, bytes: 1 << 20 });
        }
    }
}

#[test]
fn canonical_entries_pass_as_the_bytes_they_came_in() {
    let mut batcher = batcher(json!({}));
    let mut batch = Batch::new(Instant::now());
    let lane = lane(0);
    let payload = r#"{"message" : "m","timestamp":"2024-08-16T14:00:00+02:00"}"#;
    let record = raw(&lane, 0, payload);
    batcher.add_all(&mut batch, &record, 0);
    let stored = batch.records.get(0);
    assert_eq!((stored.source.as_ptr(), stored.timestamp), (record.buffer().as_ptr(), 1_723_809_600_000));
    assert_eq!(
        stored.id,
        "logs-0-0-1915a76b200-00000009".replace("1915a76b200", &format!("{:x}", 1_723_809_600_000_i64))
    );
}

#[test]
fn each_lane_has_its_range_its_metrics_and_its_account() {
    let mut batcher = batcher(json!({
        "metrics": [{"name": "n", "type": "counter", "labels": {"service": "service"}}],
        "transform": "if .message == \"drop\" { abort }",
    }));
    let (one, two) = (lane(1), lane(2));
    let mut batch = Batch::new(Instant::now());
    for (lane, offset, payload) in [
        (&one, 0, r#"{"message":"a","service":"x"}"#),
        (&two, 0, r#"{"message":"b","service":"y"}"#),
        (&one, 3, r#"{"message":"drop"}"#),
        (&one, 4, "rubbish"),
        (&one, 5, r#"{"message":"c","service":"x"}"#),
    ] {
        batcher.add_all(&mut batch, &raw(lane, offset, payload), if Arc::ptr_eq(lane, &one) { 3 } else { 0 });
    }
    let deltas = batch.cut(batcher.deriver.clone().as_ref().map(|deriver| deriver.lock()).as_deref_mut());
    let shown: Vec<_> = deltas
        .iter()
        .map(|(_, batch)| {
            let origin = batch.origin.as_ref().unwrap();
            (origin.source.as_str(), origin.first, origin.next, batch.deltas.len())
        })
        .collect();
    // The first record of lane 1 was counted in an earlier life.
    assert_eq!(shown, [("logs/1", 0, 6, 1), ("logs/2", 0, 1, 1)]);
    assert_eq!((batch.len(), batch.records.len(), batch.letters.len()), (5, 3, 1));
    for item in batch.items.clone() {
        batch.settle(item, Fate::Indexed);
    }
    batch.settle(batch.letters[0].0, Fate::DeadLetter { status: 0, reason: "rubbish".into() });
    batch.resolve(&|| {});
    let expected = Ledger { indexed: 2, dead_lettered: 1, filtered: 1, ..Ledger::default() };
    assert_eq!((one.book.ledger(), one.snapshot().position), (expected, 6));
    assert_eq!((two.book.ledger().indexed, two.snapshot().position), (1, 1));
}

#[tokio::test]
async fn who_waits_learns_all_fates_after_the_account_was_noted() {
    let mut batcher = batcher(json!({"transform": "if .message == \"drop\" { abort }"}));
    let lane = lane(0);
    let ticket = Ticket::new(2);
    let mut batch = Batch::new(Instant::now());
    let mut filling = Filling::default();
    for (offset, payload) in [(0, r#"{"message":"drop"}"#), (1, r#"{"message":"keep"}"#)] {
        let number = usize::try_from(offset).unwrap();
        lane.hand_over(offset + 1);
        filling.push_for((&ticket, number), None, (&lane, mark(offset), offset + 1), payload.as_bytes());
    }
    batcher.add_all(&mut batch, &Arc::new(filling.take().unwrap()), 0);
    batch.cut(None);
    batch.settle(batch.items[0], Fate::Duplicate);
    let noted = std::sync::atomic::AtomicBool::new(false);
    assert!(futures::FutureExt::now_or_never(ticket.all()).is_none());
    let lane_then = lane.clone();
    let note = Arc::new(noted);
    let noted = note.clone();
    batch.resolve(&move || {
        assert!(lane_then.is_drained());
        note.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(noted.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(ticket.all().await, [Fate::Filtered, Fate::Duplicate]);
}

#[test]
fn text_is_never_read_as_json() {
    let mut batcher = batcher(json!({"format": "text"}));
    let lane = lane(0);
    let mut batch = Batch::new(Instant::now());
    batcher.add_all(&mut batch, &raw(&lane, 0, r#"{"message":"m"}"#), 0);
    let entry: LogEntry = serde_json::from_slice(batch.records.get(0).source).unwrap();
    assert_eq!((entry.message.as_str(), entry.timestamp.as_str()), (r#"{"message":"m"}"#, "2024-08-16T12:00:00Z"));
}

#[test]
fn what_grows_beyond_the_size_of_a_record_by_being_rewritten_is_no_letter() {
    let mut batcher = batcher(json!({"format": "text"}));
    let lane = lane(0);
    let mut batch = Batch::new(Instant::now());
    // Each of them needs a backslash.
    let line = "\"".repeat(600_000);
    batcher.add_all(&mut batch, &raw(&lane, 0, &line), 0);
    let entry: LogEntry = serde_json::from_slice(batch.records.get(0).source).unwrap();
    assert_eq!((entry.message, batch.letters.len()), (line, 0));
}

#[test]
fn what_is_nested_as_deeply_as_anybody_reads_is_stored_and_counted_and_what_is_deeper_is_a_letter() {
    let nested = |depth: usize| format!("{}7{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let canonical = |depth| format!(r#"{{"timestamp":"2024-08-16T14:00:00Z","fields":{}}}"#, nested(depth));
    for (payload, is_stored) in [
        (canonical(126), true),
        (canonical(127), false),
        // It is moved into `fields`, and so one deeper.
        (nested(126), true),
        (nested(127), false),
        (nested(128), false),
    ] {
        let path = "a.".repeat(126);
        let field = format!("fields.{}", path.trim_end_matches('.'));
        let metrics = json!([{"name": "n", "type": "gauge", "value": field}]);
        let mut batcher = batcher(json!({"metrics": metrics}));
        let mut batch = Batch::new(Instant::now());
        batcher.add_all(&mut batch, &raw(&lane(0), 0, &payload), 0);
        let deltas = batch.cut(batcher.deriver.clone().as_ref().map(|deriver| deriver.lock()).as_deref_mut());
        let counted = deltas.iter().map(|(_, batch)| batch.deltas.len()).sum::<usize>();
        let expected = if is_stored { (1, 0, 1) } else { (0, 1, 0) };
        let depth = payload.matches('{').count();
        let reasons: Vec<_> = batch.letters.iter().map(|(_, letter)| &letter.reason).collect();
        assert_eq!((batch.records.len(), batch.letters.len(), counted), expected, "{depth}: {reasons:?}");
        for record in batch.records.iter() {
            serde_json::from_slice::<LogEntry>(record.source).unwrap();
        }
    }
}
