//! Logs over time.

use std::ops::ControlFlow;

use rustc_hash::FxHashMap;

use super::days::Days;
use super::page::weight_of;
use super::segments::Segment;
use crate::q::Query;
use crate::{Histogram, HistogramBucket, TimeSpan};

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
            // By bucket and number of the level.
            let mut counts: FxHashMap<(i64, u64), u64> = FxHashMap::default();
            segment.each(&*weight, |docs, times| {
                total += docs.len() as u64;
                for (&doc, &time) in docs.iter().zip(times) {
                    *counts.entry((time.div_euclid(interval), numbers.get_val(doc))).or_default() += 1;
                }
            })?;
            let mut level = String::new();
            for ((bucket, number), count) in counts {
                let place = usize::try_from(bucket - first).ok().and_then(|place| buckets.get_mut(place));
                let Some(bucket) = place else { continue };
                bucket.count += count;
                levels.ord_to_str(number, &mut level)?;
                if !level.is_empty() {
                    *bucket.levels.entry(level.clone()).or_default() += count;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(Histogram { buckets, total })
}
