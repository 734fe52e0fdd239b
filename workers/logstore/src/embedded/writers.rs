//! The writers of the days that logs come for: a few, each with its memory and threads, for as long as more come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tantivy::IndexWriter;

use super::day::Day;

/// So many are open at most.
const MAX_OPEN: usize = 4;
/// Time for merging what was written last.
const CLOSED_AFTER: Duration = Duration::from_secs(30);

/// The open writers.
#[derive(Default)]
pub(super) struct Writers(Vec<Writer>);

struct Writer {
    day: Arc<Day>,
    writer: IndexWriter,
    used: Instant,
}

impl Writers {
    /// The writer of a day, for which the one that is idle longest may have to go.
    pub(super) fn of(&mut self, day: &Arc<Day>) -> tantivy::Result<&mut IndexWriter> {
        let place = match self.0.iter().position(|open| open.day.number == day.number) {
            Some(place) => place,
            None => {
                if self.0.len() >= MAX_OPEN
                    && let Some(oldest) = (0..self.0.len()).min_by_key(|place| self.0[*place].used)
                {
                    self.0.swap_remove(oldest);
                }
                self.0.push(Writer { day: Arc::clone(day), writer: day.writer()?, used: Instant::now() });
                self.0.len() - 1
            }
        };
        let open = &mut self.0[place];
        open.used = Instant::now();
        Ok(&mut open.writer)
    }

    /// Closes the writer of a day. What it has not committed is forgotten.
    pub(super) fn close(&mut self, day: i64) {
        self.0.retain(|open| open.day.number != day);
    }

    pub(super) fn close_idle(&mut self) {
        self.0.retain(|open| open.used.elapsed() < CLOSED_AFTER);
    }

    /// When the next of them has been idle for long enough.
    pub(super) fn next_to_close(&self) -> Option<Instant> {
        self.0.iter().map(|open| open.used + CLOSED_AFTER).min()
    }
}
