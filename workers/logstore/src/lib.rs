//! The log entry, and the stores that keep and search it.
//!
//! [`LogStore`] has two implementations with the same behaviour: the embedded store of a single process, and
//! Elasticsearch or OpenSearch. One conformance suite runs on both.

#![forbid(unsafe_code)]

mod cursor;
mod day;
mod dead_letter;
pub mod elasticsearch;
pub mod embedded;
mod entry;
mod facets;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod limits;
pub mod q;
mod records;
pub mod scan;
mod store;

pub use dead_letter::{
    CountedAs, DeadLetter, DeadLetters, LetterFilter, LetterGroup, LetterHead, LetterPage, LetterRequest, Provenance,
    cause, page,
};
pub use embedded::EmbeddedStore;
pub use entry::{Level, LogEntry};
pub use records::{Record, RecordRef, Records};
pub use store::{
    FieldSummary, FieldValue, Histogram, HistogramBucket, LogStore, Obstacle, Outcome, SearchError, SearchPage,
    SearchRequest, StoredLog, TimeSpan, WriteError,
};
