//! Histograms and summaries.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use taffrail_logstore::q::Query;
use taffrail_logstore::{HistogramBucket, LogStore, SearchError, TimeSpan};

use super::support::{DAY, NOON, record};
use crate::support::Scratch;

const LEVELS: [&str; 5] = ["debug", "info", "warn", "error", ""];

/// Logs of two days, in no order, of all levels.
fn logs() -> Vec<(i64, &'static str)> {
    (0..2_000).map(|n: i64| (NOON - DAY + n * 7_919 % 2_000 * 86_400, LEVELS[(n * n % 11 % 5) as usize])).collect()
}

#[tokio::test]
async fn histograms_count_every_log_once_by_level() {
    let scratch = Scratch::new("histogram");
    let records: Vec<_> = logs()
        .iter()
        .enumerate()
        .map(|(n, (time, level))| {
            record(&format!("h{n}"), *time, json!({"level": level, "message": if n % 3 == 0 { "third" } else { "m" }}))
        })
        .collect();
    scratch.store.write(&records.as_slice().into()).await.unwrap();
    scratch.settle().await;
    let span = |from, to| TimeSpan { from: Some(from), to: Some(to) };
    let spans = [
        (span(NOON - 2 * DAY, NOON + 2 * DAY), DAY),
        (span(NOON - DAY, NOON + DAY), 3_600_000),
        (span(NOON - 12_345_678, NOON + 9_876_543), 60_000),
        (span(NOON, NOON + 1), 1),
    ];
    for (query, step) in [("*", 1), ("third", 3), ("nothing", usize::MAX)] {
        for (span, interval) in spans {
            let (from, to) = (span.from.unwrap(), span.to.unwrap());
            let mut expected: BTreeMap<i64, HistogramBucket> = (from.div_euclid(interval)
                ..=(to - 1).div_euclid(interval))
                .map(|n| (n, HistogramBucket { time: n * interval, ..Default::default() }))
                .collect();
            let mut total = 0;
            for (time, level) in
                logs().into_iter().step_by(step).filter(|(time, _)| step < usize::MAX && (from..to).contains(time))
            {
                let bucket = expected.get_mut(&time.div_euclid(interval)).unwrap();
                bucket.count += 1;
                total += 1;
                if !level.is_empty() {
                    *bucket.levels.entry(level.to_owned()).or_default() += 1;
                }
            }
            let found = scratch.store.histogram(&Query::parse(query).unwrap(), span, interval).await.unwrap();
            assert_eq!(found.total, total, "{query} {span:?}");
            assert_eq!(found.buckets, expected.into_values().collect::<Vec<_>>(), "{query} {span:?} {interval}");
        }
    }
}

#[tokio::test]
async fn histograms_that_can_not_be_are_refused() {
    let scratch = Scratch::new("no-histogram");
    for (from, to, interval) in
        [(None, Some(1), 1), (Some(1), None, 1), (Some(0), Some(10), 0), (Some(0), Some(10_001), 1)]
    {
        let result = scratch.store.histogram(&Query::All, TimeSpan { from, to }, interval).await;
        assert!(matches!(result, Err(SearchError::Invalid(_))), "{from:?} {to:?} {interval}: {result:?}");
    }
}

#[tokio::test]
async fn fields_are_those_of_the_newest_logs() {
    let scratch = Scratch::new("fields");
    // The oldest logs are beyond the sample.
    let log = |n: i64| {
        let fields: Value =
            if n < 200 { json!({"old": n}) } else { json!({"n": n % 20, "deep": {"er": [n % 2 == 0, "x"]}}) };
        json!({"level": "info", "message": "m", "service": format!("s{}", n % 3), "tags": {"t": "1"}, "fields": fields})
    };
    let records: Vec<_> = (0..1_200).map(|n| record(&format!("f{n:04}"), NOON + n * 1_000, log(n))).collect();
    scratch.store.write(&records.as_slice().into()).await.unwrap();
    scratch.settle().await;
    let shown = |query: &'static str, span| {
        let scratch = &scratch;
        async move {
            let found = scratch.store.fields(&Query::parse(query).unwrap(), span).await.unwrap();
            let field = |field: &taffrail_logstore::FieldSummary| {
                let values: Vec<_> = field.values.iter().map(|it| format!("{}={}", it.value, it.count)).collect();
                format!("{} {}: {}", field.name, field.count, values.join(" "))
            };
            found.iter().map(field).collect::<Vec<_>>()
        }
    };
    assert_eq!(
        shown("*", TimeSpan::default()).await,
        [
            "fields.deep.er 1000: x=1000 false=500 true=500",
            "fields.n 1000: 0=50 1=50 10=50 11=50 12=50 13=50 14=50 15=50 16=50 17=50",
            "level 1000: info=1000",
            "service 1000: s2=334 s0=333 s1=333",
            "tags.t 1000: 1=1000",
        ]
    );
    let before = TimeSpan { from: None, to: Some(NOON + 2_000) };
    assert_eq!(
        shown("service:s0", before).await,
        ["fields.old 1: 0=1", "level 1: info=1", "service 1: s0=1", "tags.t 1: 1=1"]
    );
}
