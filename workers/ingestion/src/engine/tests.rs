#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use taffrail_logstore::WriteError;

use super::*;
use crate::batch::Sender;
use crate::counting::Counting;
use crate::lane::{Book, Identity, Lane, Ledger, Mark};
use crate::push::Asked;
use crate::record::Filling;
use crate::testing::{MemoryMetrics, MemoryStore, spec, until};

struct Rig {
    store: Arc<MemoryStore>,
    metrics: Arc<MemoryMetrics>,
    counter: Counter,
    behind: mpsc::UnboundedReceiver<Arc<Lane>>,
    lane: Arc<Lane>,
    hurry: Arc<Hurry>,
    abort: CancellationToken,
    records: Option<mpsc::Sender<Chunk>>,
    task: tokio::task::JoinHandle<()>,
    next: i64,
}

fn rig(parts: Value, limits: Limits) -> Rig {
    let mut whole = json!({"source": {"stdin": {}}, "sink": {"embedded": {}}});
    whole.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    let sender = Sender { pipeline: "default/shop".into(), generation: 1 };
    let (store, metrics) = (MemoryStore::new(), MemoryMetrics::new());
    let health = Arc::new(Health::new("default/shop".into(), true));
    let courier = Courier {
        store: store.clone(),
        letters: store.clone(),
        sender: sender.clone(),
        health: health.clone(),
        counters: Arc::default(),
    };
    let (hurry, abort) = (Arc::new(Hurry::default()), CancellationToken::new());
    let has_metrics = whole["metrics"].is_array();
    let (counter, Asked { queued, behind }) = Counter::new(metrics.clone(), health.clone());
    let engine = Engine {
        batcher: Batcher::new(&spec(whole), sender).unwrap(),
        courier: Arc::new(courier),
        counter: has_metrics.then(|| counter.clone()),
        to_push: has_metrics.then_some(queued),
        health,
        derived: Arc::default(),
        limits,
        hurry: hurry.clone(),
        checkpoint: Arc::new(|| {}),
        abort: abort.clone(),
    };
    let (records, queue) = mpsc::channel(CHUNKS);
    let task = tokio::spawn(engine.run(queue));
    let book = Book::new("logs", 0, Ledger::default(), None);
    let lane = Lane::new(book, Identity::Record("logs-0".into()), Some("logs/0".into()), 0, None);
    Rig { store, metrics, counter, behind, lane, hurry, abort, records: Some(records), task, next: 0 }
}

impl Rig {
    fn chunk(&mut self, count: usize) -> Chunk {
        let mut filling = Filling::default();
        for _ in 0..count {
            let offset = self.next;
            self.next += 1;
            self.lane.hand_over(self.next);
            let mark = Mark { offset, timestamp: 1_000, crc: 0 };
            filling.push(&self.lane, mark, self.next, format!("{{\"message\":\"{offset:06}\"}}").as_bytes());
        }
        filling.take().unwrap()
    }

    async fn give(&mut self, count: usize) {
        let chunk = self.chunk(count);
        self.records.as_ref().unwrap().send(chunk).await.unwrap();
    }

    async fn finish(mut self) -> (Arc<MemoryStore>, Arc<MemoryMetrics>, Arc<Lane>) {
        self.records = None;
        self.task.await.unwrap();
        (self.store, self.metrics, self.lane)
    }
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_batch_goes_when_it_has_its_size() {
    let mut rig = rig(json!({}), Limits { records: 10, timeout: LONG, bytes: 1 << 20 });
    rig.give(25).await;
    until("two batches are there", || rig.store.documents.lock().len() == 20).await;
    let (store, _, lane) = rig.finish().await;
    assert_eq!(*store.writes.lock(), [10, 10, 5]);
    assert_eq!((lane.book.ledger().indexed, lane.snapshot().position), (25, 25));
}

#[tokio::test]
async fn a_batch_goes_when_its_time_has_come() {
    let mut rig = rig(json!({}), Limits { records: 1_000, timeout: Duration::from_millis(50), bytes: 1 << 20 });
    rig.give(3).await;
    until("it is there", || rig.store.documents.lock().len() == 3).await;
}

#[tokio::test]
async fn a_batch_goes_when_somebody_is_in_a_hurry() {
    let mut rig = rig(json!({}), Limits { records: 1_000, timeout: LONG, bytes: 1 << 20 });
    // Before and after the records come: a hurry is not missed.
    rig.hurry.set(true);
    rig.give(3).await;
    until("it is there", || rig.store.documents.lock().len() == 3).await;
    rig.hurry.set(false);
    rig.give(2).await;
    rig.hurry.set(true);
    until("it is there", || rig.store.documents.lock().len() == 5).await;
    assert!(rig.lane.is_drained());
}

#[tokio::test]
async fn a_batch_has_at_most_its_bytes() {
    let mut rig = rig(json!({}), Limits { records: 100_000, timeout: LONG, bytes: 4_000 });
    rig.give(100).await;
    let (store, ..) = rig.finish().await;
    assert!(store.writes.lock().iter().all(|count| *count < 80), "{:?}", store.writes.lock());
    assert_eq!(store.documents.lock().len(), 100);
}

#[tokio::test]
async fn while_all_senders_are_busy_a_batch_grows_and_then_the_source_waits() {
    let mut rig = rig(json!({}), Limits { records: 10, timeout: LONG, bytes: 100_000 });
    rig.store.set_rule(|_| Some(Err(WriteError::Unavailable("away".into()))));
    rig.give(10).await;
    rig.give(10).await;
    rig.give(500).await;
    // A batch of a hundred thousand bytes is full with some eight hundred of these; then the channel fills, too.
    let mut taken = 520;
    loop {
        let chunk = rig.chunk(500);
        let sending = rig.records.as_ref().unwrap().send_timeout(chunk, Duration::from_millis(300));
        if sending.await.is_err() {
            break;
        }
        taken += 500;
        assert!(taken < 20_000, "memory is not bounded");
    }
    rig.next = taken;
    rig.store.clear_rule();
    until("all of it is there", || rig.store.documents.lock().len() == taken as usize).await;
    assert!(rig.store.writes.lock().iter().any(|count| *count > 500), "it grew");
}

#[tokio::test]
async fn out_of_order_acknowledgements_do_not_pass_a_gap() {
    let mut rig = rig(json!({}), Limits { records: 10, timeout: LONG, bytes: 1 << 20 });
    rig.store.set_rule(|records| {
        let has_first = records.iter().any(|record| record.source.windows(6).any(|bytes| bytes == b"000000"));
        has_first.then(|| Err(WriteError::Unavailable("away".into())))
    });
    rig.give(10).await;
    rig.give(10).await;
    until("the second is there", || rig.store.documents.lock().len() == 10).await;
    assert_eq!((rig.lane.snapshot().position, rig.lane.book.ledger()), (0, Ledger::default()));
    rig.store.clear_rule();
    let (_, _, lane) = rig.finish().await;
    assert_eq!((lane.snapshot().position, lane.book.ledger().indexed), (20, 20));
}

#[tokio::test]
async fn metrics_come_in_order_and_before_the_position_moves() {
    let metrics = json!({"metrics": [{"name": "n", "type": "counter"}]});
    let mut rig = rig(metrics, Limits { records: 10, timeout: LONG, bytes: 1 << 20 });
    rig.metrics.faults.lock().extend(vec![crate::PushError::Unavailable("away".into()); 5]);
    for _ in 0..20 {
        rig.give(10).await;
    }
    let (_, metrics, lane) = rig.finish().await;
    assert_eq!((metrics.sum("n"), lane.snapshot().position), (200.0, 200));
    let batches = metrics.batches.lock();
    let ends: Vec<u64> = batches.iter().map(|batch| batch.origin.as_ref().unwrap().next).collect();
    assert!(ends.is_sorted(), "{ends:?}");
}

/// Metrics that are counted, by offset.
fn offsets(metrics: &MemoryMetrics) -> Vec<u64> {
    metrics.batches.lock().iter().flat_map(|batch| batch.deltas.iter().map(|delta| delta.offset)).collect()
}

#[tokio::test]
async fn logs_do_not_wait_for_metrics_where_records_can_be_read_again_and_each_is_counted_once() {
    let metrics = json!({"metrics": [{"name": "n", "type": "counter"}]});
    let mut rig = rig(metrics, Limits { records: 100, timeout: LONG, bytes: 1 << 20 });
    let book = rig.lane.book.clone();
    let counting = Counting::new(0, 0, true);
    rig.lane = Lane::with(book, Identity::Record("logs-0".into()), Some("logs/0".into()), 0, None, counting);
    rig.metrics.set_away(true);
    for _ in 0..50 {
        rig.give(100).await;
    }
    let lane = rig.lane.clone();
    until("all logs are accounted for", || lane.snapshot().position == 5_000).await;
    assert!(lane.counting.is_behind() && offsets(&rig.metrics).is_empty());
    let behind = rig.behind.recv().await.unwrap();
    assert!(rig.behind.is_empty(), "it is told once");

    // The metrics store comes back; who reads again counts up to where the stream goes on, which is there first.
    rig.metrics.set_away(false);
    let from = behind.counting.hand_back();
    rig.give(100).await;
    until("they are accounted for", || lane.snapshot().position == 5_100).await;
    let counted = behind.counting.span().0;
    assert_eq!((counted, from, offsets(&rig.metrics).len()), (0, 5_000, 0));
    let origin = behind.origin_of(counted..from);
    rig.counter.push(&behind, crate::DeltaBatch { origin, ..crate::DeltaBatch::default() }).await;
    assert!(rig.counter.reopen(&behind));
    let metrics = rig.metrics.clone();
    until("the stream's are counted, too", || offsets(&metrics) == (5_000..5_100).collect::<Vec<_>>()).await;
    until("that is known", || lane.counting.uncounted().is_none()).await;
    rig.finish().await;
}

#[tokio::test]
async fn what_is_aborted_is_not_accounted_for() {
    let mut rig = rig(json!({}), Limits { records: 10, timeout: LONG, bytes: 1 << 20 });
    rig.store.set_rule(|_| Some(Err(WriteError::Unavailable("away".into()))));
    rig.give(30).await;
    until("it is tried", || !rig.store.writes.lock().is_empty()).await;
    rig.abort.cancel();
    rig.task.await.unwrap();
    assert_eq!((rig.lane.snapshot().position, rig.lane.book.ledger()), (0, Ledger::default()));
}
