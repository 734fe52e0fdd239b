//! What a store does.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::q::Query;
use crate::{DeadLetters, LogEntry, Records};

/// What keeps a store from taking records until somebody removes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// We may not write there.
    Unauthorized,
    /// Nothing more is to be written there: the disk is nearly full, or somebody has said so.
    StorageBlocked,
    /// The store has as many shards as it may have, or a shard as many documents.
    ShardLimit,
    /// There is no index, and the store makes none.
    IndexMissing,
    /// The store is set up in a way in which writes like ours can't work, or is not what we take it for.
    Misconfigured,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored, durably, and was not before.
    Indexed,
    /// It was stored before.
    Duplicate,
    /// The store will never take it.
    Refused {
        /// The store's status for it.
        status: u16,
        /// Why.
        reason: String,
    },
    /// The store did not take it this time; it must be written again.
    Retry {
        /// The store's status for it.
        status: u16,
        /// Why.
        reason: String,
    },
    /// The store does not take it until something is mended that is not the record's fault; it must be written again.
    Stalled {
        /// What is in the way.
        obstacle: Obstacle,
        /// Why.
        reason: String,
    },
}

/// Why a write did nothing at all, as far as the writer can know. All of it must be written again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The store can't be reached, is overloaded, or does not answer in time.
    #[error("the log store does not take logs: {0}")]
    Unavailable(String),
    /// The store does not accept who we are, or what we may do.
    #[error("the log store refuses our credentials: {0}")]
    Unauthorized(String),
    /// The store takes nothing until something is mended that is not the records' fault.
    #[error("the log store can't take logs: {1}")]
    Stalled(Obstacle, String),
    /// The write is larger than the store takes at once.
    #[error("the log store refuses a write of this size: {0}")]
    TooLarge(String),
    /// The store refuses the write as such.
    #[error("the log store refuses the write: {0}")]
    Refused(String),
}

/// A half-open span of event time, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeSpan {
    /// Not before.
    pub from: Option<i64>,
    /// Before.
    pub to: Option<i64>,
}

/// Which logs, and how many.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// Which logs.
    pub query: Query,
    /// When.
    pub span: TimeSpan,
    /// How many at most.
    pub limit: usize,
    /// Where the page before ended: its [`SearchPage::cursor`].
    pub cursor: Option<String>,
}

/// A log that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLog {
    /// The record's id.
    pub id: String,
    /// The log.
    pub entry: LogEntry,
}

/// A page of logs, newest first; logs of the same millisecond are in descending order of id.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SearchPage {
    /// The logs.
    pub logs: Vec<StoredLog>,
    /// How many logs match in all, exactly.
    pub total: u64,
    /// Where the next page starts; none after the last page.
    pub cursor: Option<String>,
}

/// One bar of a histogram.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistogramBucket {
    /// Its start, milliseconds since 1970; a multiple of the interval.
    pub time: i64,
    /// How many logs.
    pub count: u64,
    /// How many of each level (the empty level is left out).
    pub levels: BTreeMap<String, u64>,
}

/// Logs over time. Buckets without logs are there, too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    /// From the first to the last bucket that the span touches.
    pub buckets: Vec<HistogramBucket>,
    /// How many logs there are in all.
    pub total: u64,
}

/// A value of a field, and how many logs have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldValue {
    /// The value.
    pub value: String,
    /// How many logs.
    pub count: u64,
}

/// A field, and its most frequent values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSummary {
    /// Its name, as queries have it: `level`, `service`, `host`, `tags.<k>`, `fields.<k>`.
    pub name: String,
    /// How many logs have it.
    pub count: u64,
    /// Its ten most frequent values, most frequent first, ties by value.
    pub values: Vec<FieldValue>,
}

/// Why a search gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SearchError {
    /// The store can't be reached, or does not answer in time.
    #[error("the log store does not answer: {0}")]
    Unavailable(String),
    /// The page is to start where no search has ended.
    #[error("it is not from this search; search again without it")]
    Cursor,
    /// The store can't do what is asked.
    #[error("{0}")]
    Invalid(String),
}

/// Keeps logs by the UTC day on which they happened, and finds them; and beside them dead letters.
#[async_trait]
pub trait LogStore: DeadLetters {
    /// Stores records. The outcomes are in the records' order; those that are `Indexed` or `Duplicate` survive
    /// whatever happens from now on.
    ///
    /// # Errors
    /// When nothing can be said of single records; all of them must be written again.
    async fn write(&self, records: &Records) -> Result<Vec<Outcome>, WriteError>;

    /// Finds logs, newest first. What [`Self::write`] has acknowledged is found within two seconds.
    async fn search(&self, request: &SearchRequest) -> Result<SearchPage, SearchError>;

    /// Counts logs over time in buckets of `interval` milliseconds. Both ends of the span must be given.
    async fn histogram(&self, query: &Query, span: TimeSpan, interval: i64) -> Result<Histogram, SearchError>;

    /// The fields that the newest matching logs have (at most 1,000 are looked at), by name, with their values.
    async fn fields(&self, query: &Query, span: TimeSpan) -> Result<Vec<FieldSummary>, SearchError>;
}
