//! What both stores compute from logs that they have found, so that they compute the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::limits::{FIELDS_VALUES, MAX_BUCKETS, MAX_VALUE, within};
use crate::{FieldSummary, FieldValue, HistogramBucket, LogEntry, SearchError, TimeSpan, q};

/// The fields that logs have, by name, with their most frequent values.
#[must_use]
pub fn summarise<'a>(logs: impl IntoIterator<Item = &'a LogEntry>) -> Vec<FieldSummary> {
    let mut fields: BTreeMap<String, (u64, HashMap<String, u64>)> = BTreeMap::new();
    for log in logs {
        for (name, values) in values_of(log) {
            let (count, counts) = fields.entry(name).or_default();
            *count += 1;
            for value in values.into_iter().filter(|value| within(value, MAX_VALUE)) {
                *counts.entry(value).or_default() += 1;
            }
        }
    }
    let summary = |(name, (count, counts)): (String, (u64, HashMap<String, u64>))| {
        let mut values: Vec<_> = counts.into_iter().map(|(value, count)| FieldValue { value, count }).collect();
        values.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
        values.truncate(FIELDS_VALUES);
        FieldSummary { name, count, values }
    };
    fields.into_iter().map(summary).collect()
}

/// The values that one log has, by the names that queries have for them.
fn values_of(log: &LogEntry) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut add = |name: String, value: String| {
        all.entry(name).or_default().insert(value);
    };
    for (name, value) in [("level", &log.level), ("service", &log.service), ("host", &log.host)] {
        if !value.is_empty() {
            add(name.to_owned(), value.clone());
        }
    }
    for (key, value) in &log.tags {
        add(format!("tags.{key}"), value.clone());
    }
    q::leaves(&log.fields, &mut |path, leaf| add(format!("fields.{path}"), leaf.text.into_owned()));
    all
}

/// The buckets that a span touches, without logs yet.
///
/// # Errors
/// When an end of the span is missing or before its start, when the interval is not positive, or when there would be
/// too many buckets.
pub fn empty_buckets(span: TimeSpan, interval: i64) -> Result<Vec<HistogramBucket>, SearchError> {
    let invalid = |text: String| Err(SearchError::Invalid(text));
    let (Some(from), Some(to)) = (span.from, span.to) else {
        return invalid("a histogram needs both ends of its span".to_owned());
    };
    if interval < 1 {
        return invalid(format!("a histogram's interval must be at least 1 ms, not {interval} ms"));
    }
    if from >= to {
        return Ok(Vec::new());
    }
    let (first, last) = (from.div_euclid(interval), (to - 1).div_euclid(interval));
    let count = last.abs_diff(first).saturating_add(1);
    if count > MAX_BUCKETS as u64 {
        return invalid(format!("{count} buckets are too many: {MAX_BUCKETS} are possible; take a longer interval"));
    }
    // The first bucket starts before the span: at the beginning of time there is no such start.
    Ok((first..=last)
        .map(|index| HistogramBucket { time: index.saturating_mul(interval), ..Default::default() })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn log(value: Value) -> LogEntry {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn fields_are_counted_once_per_log() {
        let logs = [
            log(
                json!({"timestamp": "", "level": "error", "tags": {"env": "prod"}, "fields": {"a": [1, 1, 2], "b": {"c": true}}}),
            ),
            log(
                json!({"timestamp": "", "level": "info", "service": "api", "fields": {"a": 2, "b": null, "long": "x".repeat(1025)}}),
            ),
        ];
        let shown: Vec<String> = summarise(&logs)
            .iter()
            .map(|field| {
                let values: Vec<_> = field.values.iter().map(|it| format!("{}×{}", it.value, it.count)).collect();
                format!("{}×{} {}", field.name, field.count, values.join(" ")).trim_end().to_owned()
            })
            .collect();
        assert_eq!(
            shown,
            [
                "fields.a×2 2×2 1×1",
                "fields.b.c×1 true×1",
                "fields.long×1",
                "level×2 error×1 info×1",
                "service×1 api×1",
                "tags.env×1 prod×1",
            ],
        );
    }

    #[test]
    fn ten_values_are_named() {
        let logs: Vec<_> =
            (0..30).map(|n| log(json!({"timestamp": "", "service": format!("s{:02}", n % 15)}))).collect();
        let summary = summarise(&logs).remove(0);
        assert_eq!(summary.count, 30);
        assert_eq!(summary.values.len(), 10);
        assert_eq!((summary.values[9].value.as_str(), summary.values[9].count), ("s09", 2));
    }

    #[test]
    fn buckets_cover_the_span() {
        let times = |from, to, interval| -> Vec<i64> {
            let span = TimeSpan { from: Some(from), to: Some(to) };
            empty_buckets(span, interval).unwrap().iter().map(|bucket| bucket.time).collect()
        };
        assert_eq!(times(0, 30, 10), [0, 10, 20]);
        assert_eq!(times(5, 31, 10), [0, 10, 20, 30]);
        assert_eq!(times(-5, 1, 10), [-10, 0]);
        assert_eq!(times(7, 7, 10), [0; 0]);
        let fails = |from, to, interval| empty_buckets(TimeSpan { from, to }, interval).is_err();
        assert!(fails(None, Some(1), 1) && fails(Some(1), None, 1));
        assert!(fails(Some(0), Some(10), 0) && fails(Some(0), Some(10_001), 1));
        assert!(fails(Some(i64::MIN), Some(i64::MAX), 1));
    }
}
