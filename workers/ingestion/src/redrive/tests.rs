#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::{Value, json};
use taffrail_logstore::{Outcome, Provenance, WriteError};
use tempfile::TempDir;

use super::*;
use crate::testing::{MemoryMetrics, MemoryStore, config, spec, until};
use crate::{Pipeline, PipelineHandle, Secrets};

const PIPELINE: &str = "default/shop";

/// A pipeline that counts errors, and what it writes to.
struct Rig {
    store: Arc<MemoryStore>,
    metrics: Arc<MemoryMetrics>,
    folder: TempDir,
}

fn parts() -> Value {
    json!({
        "source": {"stdin": {}},
        "sink": {"embedded": {}},
        "metrics": [{"name": "count", "type": "counter"}],
        "batch": {"size": 10, "timeout": "1h"},
    })
}

impl Rig {
    fn new() -> Self {
        Self { store: MemoryStore::new(), metrics: MemoryMetrics::new(), folder: tempfile::tempdir().unwrap() }
    }

    async fn start(&self, more: Value) -> PipelineHandle {
        let mut whole = parts();
        whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let folder: &Path = self.folder.path();
        let (mut config, _) = config(spec(whole), self.store.clone(), self.metrics.clone(), folder);
        config.stdin = Some(Box::new(std::io::empty()));
        Pipeline::start(config).await.unwrap()
    }

    fn keep(&self, letters: impl IntoIterator<Item = DeadLetter>) {
        self.store.letters.lock().extend(letters.into_iter().map(|letter| (letter.id.clone(), letter)));
    }

    fn left(&self) -> Vec<String> {
        self.store.letters.lock().keys().cloned().collect()
    }
}

fn letter(offset: i64, status: u16, original: &str) -> DeadLetter {
    DeadLetter {
        id: format!("logs-{}-{offset:03}", offset % 3),
        reason: format!("not JSON at column {offset}"),
        status,
        provenance: Provenance {
            pipeline: PIPELINE.to_owned(),
            generation: 1,
            topic: "logs".to_owned(),
            partition: i32::try_from(offset % 3).unwrap(),
            offset,
            timestamp: 1_000 + offset,
        },
        counted_as: None,
        original: original.to_owned().into(),
    }
}

fn log(offset: i64, status: u16) -> DeadLetter {
    letter(offset, status, &format!(r#"{{"message":"m{offset}"}}"#))
}

fn order() -> Order {
    Order { namespace: "default".to_owned(), name: "shop".to_owned(), ..Order::default() }
}

#[tokio::test]
async fn what_can_be_read_now_is_stored_counted_once_and_gone() {
    let rig = Rig::new();
    rig.keep((0..25).map(|offset| log(offset, 0)));
    rig.keep((25..40).map(|offset| log(offset, 400)));
    let running = rig.start(json!({})).await;
    let report = running.redriver().redrive(order()).await.unwrap();
    assert_eq!(report, Report { indexed: 40, ..Report::default() });
    assert_eq!(rig.left(), [""; 0]);
    let ids: Vec<_> = rig.store.sources().into_keys().collect();
    assert_eq!(ids.len(), 40);
    assert!(ids.contains(&"logs-1-025".to_owned()), "a record keeps its id: {ids:?}");
    assert!((rig.metrics.sum("count") - 25.0).abs() < 1e-9, "what was refused had been counted");
    let again = running.redriver().redrive(order()).await.unwrap();
    assert_eq!(again, Report::default());
    assert!((rig.metrics.sum("count") - 25.0).abs() < 1e-9);
    running.stop().await;
}

#[tokio::test]
async fn what_is_refused_again_stays_with_its_provenance_and_its_new_reason() {
    let rig = Rig::new();
    rig.keep([letter(1, 400, "rubbish"), letter(2, 0, "more rubbish"), log(3, 0), log(4, 400)]);
    rig.store.set_rule(|records| {
        let refused = |id: &str| id.ends_with("003");
        let outcome = |refuse| match refuse {
            true => Outcome::Refused { status: 400, reason: "no field 'n'".to_owned() },
            false => Outcome::Indexed,
        };
        Some(Ok((0..records.len()).map(|index| outcome(refused(&records.record(index).id))).collect()))
    });
    let running = rig.start(json!({"transform": r#"if .message == "m4" { abort }"#})).await;
    let report = running.redriver().redrive(order()).await.unwrap();
    assert_eq!((report.indexed, report.filtered, report.refused), (0, 1, 3));
    let mut refusals: Vec<_> = report.refusals.iter().map(|group| (group.status, group.reason.as_str())).collect();
    refusals.sort_unstable();
    assert_eq!(refusals[1], (400, "no field '…'"));
    assert_eq!(rig.left(), ["logs-0-003", "logs-1-001", "logs-2-002"]);
    let kept = rig.store.letters.lock()["logs-0-003"].clone();
    assert_eq!((kept.status, kept.reason.as_str(), kept.counted_as), (400, "no field 'n'", None));
    assert_eq!(kept.provenance, Provenance { generation: 3, ..log(3, 0).provenance });
    assert!((rig.metrics.sum("count") - 1.0).abs() < 1e-9, "it could be read this time");

    rig.store.clear_rule();
    let report = running.redriver().redrive(order()).await.unwrap();
    assert_eq!((report.indexed, report.refused), (1, 2));
    assert!((rig.metrics.sum("count") - 1.0).abs() < 1e-9, "and is not counted another time");
    running.stop().await;
}

#[tokio::test]
async fn filters_and_a_single_id_are_heeded() {
    let rig = Rig::new();
    rig.keep([log(1, 0), log(2, 400), DeadLetter { reason: "too large".to_owned(), ..log(3, 413) }, log(4, 0)]);
    let running = rig.start(json!({})).await;
    let redriver = running.redriver();
    let report = redriver.redrive(Order { reason: Some("large".to_owned()), ..order() }).await.unwrap();
    assert_eq!((report.indexed, rig.left().len()), (1, 3));
    let report = redriver.redrive(Order { status: Some(400), ..order() }).await.unwrap();
    assert_eq!((report.indexed, rig.left().len()), (1, 2));
    let report = redriver.redrive(Order { from: Some(1_004), to: Some(1_005), ..order() }).await.unwrap();
    assert_eq!((report.indexed, rig.left()), (1, vec!["logs-1-001".to_owned()]));
    let report = redriver.redrive(Order { id: Some("logs-1-001".to_owned()), ..order() }).await.unwrap();
    assert_eq!((report.indexed, rig.left().len()), (1, 0));
    let error = redriver.redrive(Order { cursor: Some("?".to_owned()), ..order() }).await.unwrap_err();
    assert!(matches!(error, RedriveError::Invalid(_)), "{error}");
    running.stop().await;
}

#[tokio::test]
async fn a_letter_that_could_not_be_removed_is_sent_again_without_doubling_anything() {
    let rig = Rig::new();
    rig.keep((0..5).map(|offset| log(offset, 0)));
    rig.store.removal_faults.lock().push_back(WriteError::Unavailable("away".to_owned()));
    let running = rig.start(json!({})).await;
    // As good as a process that dies: records are stored and counted, and the letters are still there.
    let report = running.redriver().redrive(order()).await;
    assert!(matches!(report, Err(RedriveError::Unavailable(_))), "{report:?}");
    assert_eq!(rig.left().len(), 5);
    running.stop().await;
    let running = rig.start(json!({})).await;
    let report = running.redriver().redrive(order()).await.unwrap();
    assert_eq!(report, Report { duplicate: 5, ..Report::default() });
    assert!((rig.metrics.sum("count") - 5.0).abs() < 1e-9);
    assert_eq!(rig.left().len(), 0);
    running.stop().await;
}

#[tokio::test]
async fn metrics_that_were_on_their_way_when_somebody_else_took_over_are_counted_once() {
    let rig = Rig::new();
    // Of five letters that one worker has marked, it had counted two when another one comes.
    let marked = |offset: i64| DeadLetter {
        counted_as: Some(CountedAs { source: "redrive of another".to_owned(), offset }),
        ..log(offset, 0)
    };
    rig.keep((0..5).map(marked));
    let origin = |first, next| Origin { source: "redrive of another".to_owned(), first, next };
    let batch = |first, next| DeltaBatch { origin: Some(origin(first, next)), ..DeltaBatch::default() };
    rig.metrics.push(&batch(0, 2)).await.unwrap();
    let running = rig.start(json!({})).await;
    let report = running.redriver().redrive(order()).await.unwrap();
    assert_eq!(report.indexed, 5);
    assert!((rig.metrics.sum("count") - 3.0).abs() < 1e-9, "two were counted before");
    let before = rig.metrics.batches.lock().len();
    rig.metrics.push(&batch(2, 5)).await.unwrap();
    assert_eq!(rig.metrics.batches.lock().len(), before, "what was on its way is not counted any more");
    running.stop().await;
}

#[tokio::test]
async fn a_settled_name_stays_as_it_was() {
    let metrics = MemoryMetrics::default();
    let origin = Origin { source: "a".to_owned(), first: 0, next: 7 };
    metrics.push(&DeltaBatch { origin: Some(origin), ..DeltaBatch::default() }).await.unwrap();
    for _ in 0..3 {
        assert_eq!(Inner::settle(&metrics, "a").await, Ok(7));
        assert_eq!(Inner::settle(&metrics, "never used").await, Ok(0));
    }
}

#[tokio::test]
async fn a_sink_that_is_away_leaves_everything_as_it_is() {
    let rig = Rig::new();
    rig.keep((0..3).map(|offset| log(offset, 0)));
    rig.store.set_rule(|_| Some(Err(WriteError::Unavailable("away".to_owned()))));
    let running = rig.start(json!({})).await;
    let redriver = running.redriver();
    let (first, second) = tokio::join!(redriver.redrive(order()), async {
        until("the first is under way", || redriver.0.busy.try_lock().is_err()).await;
        redriver.redrive(order()).await
    });
    assert_eq!(first, Ok(Report { unsettled: 3, ..Report::default() }));
    assert_eq!(second, Err(RedriveError::Busy));
    assert_eq!(rig.left().len(), 3);
    rig.store.clear_rule();
    until("they are stored after all", || rig.store.sources().len() == 3).await;
    let report = redriver.redrive(order()).await.unwrap();
    assert_eq!(report, Report { duplicate: 3, ..Report::default() });
    assert!((rig.metrics.sum("count") - 3.0).abs() < 1e-9);
    running.stop().await;
    let error = redriver.redrive(order()).await;
    assert_eq!(error, Ok(Report::default()), "there is nothing to send");
    rig.keep([log(7, 0)]);
    assert!(matches!(redriver.redrive(order()).await, Err(RedriveError::Unavailable(_))));
}

#[test]
fn portions_are_bounded_in_bytes_and_never_empty() {
    let head = |size| LetterHead { size, ..LetterHead::of(&log(1, 0)) };
    assert_eq!(portion(&[]), None);
    assert_eq!(portion(&[head(PORTION_BYTES + 1), head(1)]), Some(1));
    assert_eq!(portion(&[head(PORTION_BYTES / 2), head(PORTION_BYTES / 2), head(1)]), Some(2));
}

#[test]
fn a_topic_is_where_the_letters_are_that_are_to_go_there() {
    let secrets: Secrets = Arc::new(|_| None);
    let mut parts = parts();
    parts["deadLetter"] = json!({"kafka": {"topic": "dead"}});
    let object = taffrail_crds::LogPipeline::new("shop", spec(parts));
    let error = crate::dead_letters(&object, MemoryStore::new(), &secrets).err().unwrap();
    assert!(error.to_string().contains("needs a Kafka source"), "{error}");
}
