//! One segment of a day's index, as searches see it: its logs by their numbers, with columns of what orders them.

use std::sync::Arc;

use tantivy::columnar::{ColumnValues, StrColumn};
use tantivy::query::Weight;
use tantivy::{COLLECT_BLOCK_BUFFER_LEN, DocId, Searcher, SegmentReader};

use super::schema::{ID, LEVEL, TIMESTAMP};
use crate::TimeSpan;
use crate::day;

/// A segment, and the logs of it that are asked for.
pub(super) struct Segment<'a> {
    reader: &'a SegmentReader,
    /// Its place among the segments.
    pub(super) place: u32,
    times: Arc<dyn ColumnValues<i64>>,
    /// From the first time that is asked for, and before the second.
    from: i64,
    to: i64,
}

impl<'a> Segment<'a> {
    /// The segments in which there can be logs of a span, those with the newest first.
    pub(super) fn of(searcher: &'a Searcher, span: TimeSpan) -> tantivy::Result<Vec<Self>> {
        let (from, to) = day::clamped(span);
        let mut segments = Vec::new();
        for (place, reader) in (0..).zip(searcher.segment_readers()) {
            let times = reader.fast_fields().i64(TIMESTAMP)?.first_or_default_col(0);
            if reader.max_doc() > 0 && times.min_value() < to && times.max_value() >= from {
                segments.push(Self { reader, place, times, from, to });
            }
        }
        segments.sort_by_key(|segment| std::cmp::Reverse(segment.times.max_value()));
        Ok(segments)
    }

    /// No log is newer.
    pub(super) fn newest(&self) -> i64 {
        self.times.max_value()
    }

    /// The ids of its logs; their numbers are in their order.
    pub(super) fn ids(&self) -> tantivy::Result<StrColumn> {
        self.column(ID)
    }

    /// The levels of its logs.
    pub(super) fn levels(&self) -> tantivy::Result<StrColumn> {
        self.column(LEVEL)
    }

    fn column(&self, name: &str) -> tantivy::Result<StrColumn> {
        let column = self.reader.fast_fields().str(name)?;
        column.ok_or_else(|| tantivy::TantivyError::InternalError(format!("there is no column {name}")))
    }

    /// How many logs of the span a query finds.
    pub(super) fn count(&self, weight: &dyn Weight) -> tantivy::Result<u64> {
        if self.from <= self.times.min_value() && self.times.max_value() < self.to {
            return Ok(weight.count(self.reader)?.into());
        }
        let mut count = 0;
        self.each(weight, |docs, _| count += docs.len() as u64)?;
        Ok(count)
    }

    /// Hands over the logs of the span that a query finds, some at a time, with their times.
    pub(super) fn each(&self, weight: &dyn Weight, mut visit: impl FnMut(&[DocId], &[i64])) -> tantivy::Result<()> {
        let mut times = [0; COLLECT_BLOCK_BUFFER_LEN];
        let mut kept = [0; COLLECT_BLOCK_BUFFER_LEN];
        weight.for_each_no_score(self.reader, &mut |docs| {
            let times = &mut times[..docs.len()];
            self.times.get_vals(docs, times);
            let mut count = 0;
            for place in 0..docs.len() {
                // Written without a branch: which logs are in the span is anybody's guess.
                kept[count] = docs[place];
                let time = times[place];
                times[count] = time;
                count += usize::from(self.from <= time && time < self.to);
            }
            visit(&kept[..count], &times[..count]);
        })
    }
}
