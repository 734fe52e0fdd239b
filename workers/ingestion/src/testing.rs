//! What tests of this crate share: a store in memory that fails on command, and a metrics store that counts.
#![allow(clippy::unwrap_used)]
#![allow(dead_code)] // Not every test needs all of it.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use taffrail_crds::{LogPipeline, LogPipelineSpec, LogPipelineStatus};
use taffrail_logstore::q::Query;
use taffrail_logstore::{
    DeadLetter, DeadLetters, FieldSummary, Histogram, LetterHead, LetterPage, LetterRequest, LogStore, Outcome, Record,
    Records, SearchError, SearchPage, SearchRequest, TimeSpan, WriteError,
};

use crate::{Delta, DeltaBatch, IngestionMetrics, MetricsSink, PipelineConfig, PushError};

/// What a store does with a write before it takes it.
pub(crate) type Fault = Box<dyn Fn(&Records) -> Option<Result<Vec<Outcome>, WriteError>> + Send + Sync>;

/// A store in memory.
#[derive(Default)]
pub(crate) struct MemoryStore {
    pub(crate) documents: Mutex<BTreeMap<String, Record>>,
    pub(crate) letters: Mutex<BTreeMap<String, DeadLetter>>,
    /// Sizes of the writes.
    pub(crate) writes: Mutex<Vec<usize>>,
    /// Used up one per write; then [`Self::rule`] counts.
    pub(crate) faults: Mutex<VecDeque<WriteError>>,
    pub(crate) rule: Mutex<Option<Fault>>,
    pub(crate) letter_faults: Mutex<VecDeque<WriteError>>,
    pub(crate) removal_faults: Mutex<VecDeque<WriteError>>,
}

impl MemoryStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Stored documents, by id.
    pub(crate) fn sources(&self) -> BTreeMap<String, Bytes> {
        self.documents.lock().iter().map(|(id, record)| (id.clone(), record.source.clone())).collect()
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        let entries = self.documents.lock();
        let mut messages: Vec<String> = entries
            .values()
            .map(|record| serde_json::from_slice::<serde_json::Value>(&record.source).unwrap())
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect();
        messages.sort();
        messages
    }

    pub(crate) fn set_rule(
        &self,
        rule: impl Fn(&Records) -> Option<Result<Vec<Outcome>, WriteError>> + Send + Sync + 'static,
    ) {
        *self.rule.lock() = Some(Box::new(rule));
    }

    pub(crate) fn clear_rule(&self) {
        *self.rule.lock() = None;
    }
}

#[async_trait]
impl DeadLetters for MemoryStore {
    async fn write_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        if let Some(fault) = self.letter_faults.lock().pop_front() {
            return Err(fault);
        }
        self.letters.lock().extend(letters.iter().map(|letter| (letter.id.clone(), letter.clone())));
        Ok(())
    }

    async fn dead_letters(&self, request: &LetterRequest) -> Result<LetterPage, SearchError> {
        let heads = self.letters.lock().values().map(LetterHead::of).collect();
        taffrail_logstore::page(heads, request)
    }

    async fn whole_dead_letters(&self, _: &str, ids: &[String]) -> Result<Vec<DeadLetter>, SearchError> {
        let letters = self.letters.lock();
        Ok(ids.iter().filter_map(|id| letters.get(id).cloned()).collect())
    }

    async fn replace_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        self.write_dead_letters(letters).await
    }

    async fn remove_dead_letters(&self, _: &str, ids: &[String]) -> Result<(), WriteError> {
        if let Some(fault) = self.removal_faults.lock().pop_front() {
            return Err(fault);
        }
        self.letters.lock().retain(|id, _| !ids.contains(id));
        Ok(())
    }
}

#[async_trait]
impl LogStore for MemoryStore {
    async fn write(&self, records: &Records) -> Result<Vec<Outcome>, WriteError> {
        self.writes.lock().push(records.len());
        if let Some(fault) = self.faults.lock().pop_front() {
            return Err(fault);
        }
        let planned = self.rule.lock().as_ref().and_then(|rule| rule(records));
        let planned = planned.transpose()?;
        let mut documents = self.documents.lock();
        let outcomes = (0..records.len()).map(|index| {
            let record = records.record(index);
            match planned.as_ref().map(|outcomes| outcomes[index].clone()) {
                None | Some(Outcome::Indexed | Outcome::Duplicate) => {
                    if documents.contains_key(&record.id) {
                        return Outcome::Duplicate;
                    }
                    documents.insert(record.id.clone(), record);
                    Outcome::Indexed
                }
                Some(other) => other,
            }
        });
        Ok(outcomes.collect())
    }

    async fn search(&self, _: &SearchRequest) -> Result<SearchPage, SearchError> {
        Err(SearchError::Invalid("tests look at the documents".to_owned()))
    }

    async fn histogram(&self, _: &Query, _: TimeSpan, _: i64) -> Result<Histogram, SearchError> {
        Err(SearchError::Invalid("tests look at the documents".to_owned()))
    }

    async fn fields(&self, _: &Query, _: TimeSpan) -> Result<Vec<FieldSummary>, SearchError> {
        Err(SearchError::Invalid("tests look at the documents".to_owned()))
    }
}

/// A metrics store that keeps what it is given, and checks its order.
#[derive(Default)]
pub(crate) struct MemoryMetrics {
    pub(crate) batches: Mutex<Vec<DeltaBatch>>,
    counted: Mutex<BTreeMap<String, u64>>,
    pub(crate) faults: Mutex<VecDeque<PushError>>,
    is_away: AtomicBool,
}

impl MemoryMetrics {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Whether nobody answers.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Release);
    }

    fn answer(&self) -> Result<(), PushError> {
        let fault = self.faults.lock().pop_front();
        let away = || self.is_away.load(Ordering::Acquire).then(|| PushError::Unavailable("away".into()));
        fault.or_else(away).map_or(Ok(()), Err)
    }

    /// The sum of all values of a metric.
    pub(crate) fn sum(&self, metric: &str) -> f64 {
        let batches = self.batches.lock();
        let of = |batch: &DeltaBatch| -> f64 {
            let is_it = |delta: &&Delta| &*batch.series[delta.series as usize].metric == metric;
            batch.deltas.iter().filter(is_it).map(|delta| delta.value).sum()
        };
        batches.iter().map(of).sum()
    }
}

#[async_trait]
impl MetricsSink for MemoryMetrics {
    async fn push(&self, batch: &DeltaBatch) -> Result<(), PushError> {
        self.answer()?;
        if let Some(origin) = &batch.origin {
            let mut counted = self.counted.lock();
            let before = counted.entry(origin.source.clone()).or_default();
            if origin.next <= *before {
                return Ok(());
            }
            if origin.first < *before {
                return Err(PushError::Overlap(*before));
            }
            *before = origin.next;
        }
        self.batches.lock().push(batch.clone());
        Ok(())
    }

    async fn counted(&self, source: &str) -> Result<Option<u64>, PushError> {
        self.answer()?;
        Ok(self.counted.lock().get(source).copied())
    }
}

/// A pipeline's spec, from its parts as YAML has them.
pub(crate) fn spec(value: serde_json::Value) -> LogPipelineSpec {
    serde_json::from_value(value).expect("a spec")
}

/// The status that was reported last.
pub(crate) type LastStatus = Arc<Mutex<Option<LogPipelineStatus>>>;

pub(crate) fn config(
    spec: LogPipelineSpec,
    store: Arc<MemoryStore>,
    metrics: Arc<MemoryMetrics>,
    folder: &Path,
) -> (PipelineConfig, LastStatus) {
    let mut object = LogPipeline::new("shop", spec);
    object.metadata.generation = Some(3);
    let last = LastStatus::default();
    let config = PipelineConfig {
        object: Arc::new(object),
        secrets: Arc::new(|_| None),
        store,
        metrics,
        data_dir: folder.to_owned(),
        report: {
            let last = last.clone();
            Arc::new(move |status| *last.lock() = Some(status))
        },
        telemetry: IngestionMetrics::default(),
        http_address: None,
        stdin: None,
        drain: PipelineConfig::DEFAULT_DRAIN,
    };
    (config, last)
}

/// Waits until something is so, for at most 20 seconds.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
