//! Logs over time.

use std::ops::ControlFlow;

use rustc_hash::FxHashMap;
use tantivy::COLLECT_BLOCK_BUFFER_LEN;

use super::days::Days;
use super::page::weight_of;
use super::segments::Segment;
use crate::q::Query;
use crate::{Histogram, HistogramBucket, TimeSpan};

/// So many counts have their place.
const MAX_FIRST: usize = 1 << 20;

/// Counts the logs of a span in `buckets`, which are those that the span touches, each `interval` milliseconds wide.
pub(super) fn count(
    days: &Days,
    query: &Query,
    span: TimeSpan,
    interval: i64,
    mut buckets: Vec<HistogramBucket>,
) -> tantivy::Result<Histogram> {
    let weight = weight_of(query)?;
    let mut total = 0;
    let first = span.from.unwrap_or(0).div_euclid(interval);
    days.each_within(span, |_, searcher| {
        for segment in Segment::of(searcher, span)? {
            let levels = segment.levels()?;
            let numbers = levels.ords().clone().first_or_default_col(0);
            let mut counts = Counts::new(levels.num_terms() * buckets.len());
            let mut of_logs = [0; COLLECT_BLOCK_BUFFER_LEN];
            // The bucket of the log before: most logs stand beside others of their time.
            let (mut start, mut bucket) = (i64::MAX, 0);
            segment.each(&*weight, |docs, times| {
                total += docs.len() as u64;
                let of_logs = &mut of_logs[..docs.len()];
                numbers.get_vals(docs, of_logs);
                for (&number, &time) in of_logs.iter().zip(times) {
                    if time < start || time - start >= interval {
                        // Times are within the span, whose first bucket is 0.
                        bucket = (time.div_euclid(interval) - first) as usize;
                        start = time - time.rem_euclid(interval);
                    }
                    counts.add(number as usize * buckets.len() + bucket);
                }
            })?;
            let mut level = String::new();
            let mut level_number = None;
            for (place, count) in counts.into_sorted() {
                let number = (place / buckets.len()) as u64;
                if level_number.replace(number) != Some(number) {
                    levels.ord_to_str(number, &mut level)?;
                }
                let bucket_number = place % buckets.len();
                let bucket = &mut buckets[bucket_number];
                bucket.count += count;
                if !level.is_empty() {
                    *bucket.levels.entry(level.clone()).or_default() += count;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Histogram { buckets, total })
}

/// How often each of many numbers came. Levels are few and come first; should there be very many, the rest of them takes
/// no more room than it needs.
struct Counts {
    first: Vec<u64>,
    rest: FxHashMap<usize, u64>,
}

impl Counts {
    fn new(size: usize) -> Self {
        Self { first: vec![0; size.min(MAX_FIRST)], rest: FxHashMap::default() }
    }

    fn add(&mut self, number: usize) {
        match self.first.get_mut(number) {
            Some(count) => *count += 1,
            None => *self.rest.entry(number).or_default() += 1,
        }
    }

    /// Those that came at all.
    fn into_sorted(self) -> impl Iterator<Item = (usize, u64)> {
        let mut rest: Vec<_> = self.rest.into_iter().collect();
        rest.sort_unstable();
        self.first.into_iter().enumerate().filter(|(_, count)| *count > 0).chain(rest)
    }
}
