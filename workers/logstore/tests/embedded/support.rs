//! What the tests of the embedded store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use taffrail_logstore::embedded::EmbeddedOptions;
use taffrail_logstore::q::Query;
use taffrail_logstore::{
    DeadLetter, DeadLetters, EmbeddedStore, FieldSummary, Histogram, LetterPage, LetterRequest, LogStore, Outcome,
    Records, SearchError, SearchPage, SearchRequest, TimeSpan, WriteError,
};
use tempfile::TempDir;

/// A store in a folder of its own, which goes with it.
pub struct Scratch {
    pub store: Counted,
    _folder: TempDir,
}

/// A store, and how many logs it has indexed.
pub struct Counted(pub Arc<EmbeddedStore>, AtomicU64);

pub fn options() -> EmbeddedOptions {
    EmbeddedOptions { retention: Duration::from_secs(7 * 86_400) }
}

impl Scratch {
    pub fn new(_: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), options()).unwrap();
        Self { store: Counted(store, AtomicU64::new(0)), _folder: folder }
    }

    /// Waits until what is written is found.
    pub async fn settle(&self) {
        await_total(&self.store.0, self.store.1.load(Ordering::Relaxed)).await;
    }
}

/// Waits until the store finds so many logs, and no more.
pub async fn await_total(store: &EmbeddedStore, total: u64) {
    // Two seconds are promised. Tests have to share the machine with others.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = count(store, "*").await;
        assert!(found <= total, "{found} logs are found of {total}");
        if found == total {
            return;
        }
        assert!(Instant::now() < deadline, "only {found} logs are found of {total}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many logs a query finds.
pub async fn count(store: &EmbeddedStore, query: &str) -> u64 {
    let query = Query::parse(query).unwrap();
    store.search(&SearchRequest { query, span: TimeSpan::default(), limit: 0, cursor: None }).await.unwrap().total
}

#[async_trait]
impl DeadLetters for Counted {
    async fn write_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        self.0.write_dead_letters(letters).await
    }

    async fn dead_letters(&self, request: &LetterRequest) -> Result<LetterPage, SearchError> {
        self.0.dead_letters(request).await
    }

    async fn whole_dead_letters(&self, pipeline: &str, ids: &[String]) -> Result<Vec<DeadLetter>, SearchError> {
        self.0.whole_dead_letters(pipeline, ids).await
    }

    async fn replace_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        self.0.replace_dead_letters(letters).await
    }

    async fn remove_dead_letters(&self, pipeline: &str, ids: &[String]) -> Result<(), WriteError> {
        self.0.remove_dead_letters(pipeline, ids).await
    }
}

#[async_trait]
impl LogStore for Counted {
    async fn write(&self, records: &Records) -> Result<Vec<Outcome>, WriteError> {
        let outcomes = self.0.write(records).await?;
        let indexed = outcomes.iter().filter(|outcome| **outcome == Outcome::Indexed).count();
        self.1.fetch_add(indexed as u64, Ordering::Relaxed);
        Ok(outcomes)
    }

    async fn search(&self, request: &SearchRequest) -> Result<SearchPage, SearchError> {
        self.0.search(request).await
    }

    async fn histogram(&self, query: &Query, span: TimeSpan, interval: i64) -> Result<Histogram, SearchError> {
        self.0.histogram(query, span, interval).await
    }

    async fn fields(&self, query: &Query, span: TimeSpan) -> Result<Vec<FieldSummary>, SearchError> {
        self.0.fields(query, span).await
    }
}
