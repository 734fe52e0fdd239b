//! What metrics derived from logs look like on their way to the metrics store.

use async_trait::async_trait;
pub use taffrail_runtime::deltas::{Kind as DeltaKind, Origin, Series};

/// One change of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Delta {
    /// Which series, by its place in [`DeltaBatch::series`].
    pub series: u32,
    /// When it happened, milliseconds since 1970: the log's own timestamp.
    pub timestamp: i64,
    /// The increment, value or observation.
    pub value: f64,
    /// An offset of the record that it was made of, the last one: some records have more than one.
    pub offset: u64,
}

/// Deltas that are counted together or not at all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeltaBatch {
    /// Where they come from, so that a replay is told from news; none where the source can't replay. Batches of one
    /// origin come in order of offset. The batch may be empty: then nothing is to count in this range.
    pub origin: Option<Origin>,
    /// The series that change.
    pub series: Vec<Series>,
    /// The changes, in order of offset.
    pub deltas: Vec<Delta>,
}

impl DeltaBatch {
    /// Whether there is nothing to count, and nothing to note as counted.
    pub(crate) fn is_over(&self) -> bool {
        self.origin.as_ref().map_or(self.deltas.is_empty(), |origin| origin.first >= origin.next)
    }

    /// Leaves out what was made of records before an offset of its source.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        if let Some(origin) = &mut self.origin {
            origin.first = offset.clamp(origin.first, origin.next);
            self.deltas.retain(|delta| delta.offset >= offset);
        }
    }
}

/// Why deltas were not counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// A part of the batch was counted before: by another worker, say, that had these records until lately.
    #[error("the metrics before offset {0} are counted already")]
    Overlap(u64),
    /// The store can't be reached or is full; the same batch can be pushed again.
    #[error("the metrics store does not take metrics: {0}")]
    Unavailable(String),
    /// The store will never take this batch.
    #[error("the metrics store refuses the metrics: {0}")]
    Refused(String),
}

/// Where derived metrics go.
#[async_trait]
pub trait MetricsSink: Send + Sync {
    /// Counts deltas. A batch whose origin lies below what [`Self::counted`] says is counted no second time.
    ///
    /// # Errors
    /// When the batch is not counted.
    async fn push(&self, batch: &DeltaBatch) -> Result<(), PushError>;

    /// Up to which offset of a source (exclusively) deltas have been counted; none for a source never seen.
    ///
    /// # Errors
    /// When the store can't be asked.
    async fn counted(&self, source: &str) -> Result<Option<u64>, PushError>;
}
