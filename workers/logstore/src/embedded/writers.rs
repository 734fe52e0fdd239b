//! The writers of the days that logs come for: a few, each with its memory and threads, for as long as more come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tantivy::IndexWriter;

use super::day::Day;

/// So many are kept at most.
const MAX_KEPT: usize = 4;
/// Time for merging what was written last.
const CLOSED_AFTER: Duration = Duration::from_secs(30);

/// The writers that are kept.
#[derive(Default)]
pub(super) struct Writers(Vec<Kept>);

/// A writer that is idle.
pub(super) struct Kept {
    pub(super) day: Arc<Day>,
    pub(super) writer: IndexWriter,
    since: Instant,
}

impl Kept {
    /// Closes the writer when it has done its merging. If that were left for the next time, days that take turns would
    /// come to consist of ever more segments.
    pub(super) fn finish(self) -> tantivy::Result<()> {
        self.writer.wait_merging_threads()?;
        self.day.reload()
    }

    /// Closes the writer. A merge that takes longer than it has been idle is not worth waiting for.
    pub(super) fn close(self) -> tantivy::Result<()> {
        drop(self.writer);
        self.day.reload()
    }
}

impl Writers {
    /// The writer of a day, if it is kept.
    pub(super) fn take(&mut self, day: i64) -> Option<Kept> {
        let place = self.0.iter().position(|kept| kept.day.number == day)?;
        Some(self.0.swap_remove(place))
    }

    /// Keeps a writer. Gives the one that has to go for it.
    pub(super) fn keep(&mut self, day: Arc<Day>, writer: IndexWriter) -> Option<Kept> {
        self.0.push(Kept { day, writer, since: Instant::now() });
        let oldest = (0..self.0.len()).min_by_key(|place| self.0[*place].since)?;
        (self.0.len() > MAX_KEPT).then(|| self.0.swap_remove(oldest))
    }

    /// Those that have been idle for long enough.
    pub(super) fn take_idle(&mut self) -> Vec<Kept> {
        self.0.extract_if(.., |kept| kept.since.elapsed() >= CLOSED_AFTER).collect()
    }

    /// When the next of them has been idle for long enough.
    pub(super) fn next_to_close(&self) -> Option<Instant> {
        self.0.iter().map(|kept| kept.since + CLOSED_AFTER).min()
    }
}
