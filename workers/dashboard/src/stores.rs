//! Searches in every log store there is, as if they were one.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use taffrail_logstore::q::Query;
use taffrail_logstore::{
    FieldSummary, FieldValue, Histogram, LogStore, SearchError, SearchPage, SearchRequest, StoredLog, TimeSpan,
};

/// The log stores that the pipelines write to, asked anew for each request: pipelines come and go.
pub type LogStores = Arc<dyn Fn() -> Vec<Arc<dyn LogStore>> + Send + Sync>;

/// Values of a field that are shown.
const FACET_VALUES: usize = 10;

/// Where the next page starts in one store: behind `skip` logs of the page at `cursor`. None where the store has no more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Position {
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(rename = "s", default)]
    skip: usize,
}

/// Finds logs in all stores, newest first.
pub(crate) async fn search(stores: &[Arc<dyn LogStore>], request: &SearchRequest) -> Result<SearchPage, SearchError> {
    if let [only] = stores {
        return only.search(request).await;
    }
    let positions = positions(request.cursor.as_deref(), stores.len())?;
    let pages = try_join_all(stores.iter().zip(&positions).map(|(store, position)| async move {
        // A store without more logs is still asked: its total counts.
        let position = position.clone().unwrap_or_default();
        let limit = request.limit + position.skip;
        store.search(&SearchRequest { limit, cursor: position.cursor, ..request.clone() }).await
    }))
    .await?;

    let mut page = SearchPage { total: pages.iter().map(|page| page.total).sum(), ..SearchPage::default() };
    let mut candidates: Vec<(i64, usize, StoredLog)> = Vec::new();
    let mut lengths = Vec::with_capacity(pages.len());
    let mut next_cursors = Vec::with_capacity(pages.len());
    for (index, (found, position)) in pages.into_iter().zip(&positions).enumerate() {
        lengths.push(found.logs.len());
        next_cursors.push(found.cursor);
        let Some(position) = position else { continue };
        candidates.extend(found.logs.into_iter().skip(position.skip).map(|log| (time_of(&log), index, log)));
    }
    // Newest first, ties by id, as each store orders its own.
    candidates.sort_by(|one, other| (other.0, &other.2.id).cmp(&(one.0, &one.2.id)));
    let more_here = candidates.len() > request.limit;
    candidates.truncate(request.limit);
    let mut taken = vec![0; stores.len()];
    for (_, index, log) in candidates {
        taken[index] += 1;
        page.logs.push(log);
    }
    let next: Vec<Option<Position>> = positions
        .into_iter()
        .enumerate()
        .map(|(index, position)| {
            let position = position?;
            let consumed = position.skip + taken[index];
            if consumed < lengths[index] {
                return Some(Position { skip: consumed, ..position });
            }
            next_cursors[index].clone().map(|cursor| Position { cursor: Some(cursor), skip: 0 })
        })
        .collect();
    if more_here || next.iter().any(Option::is_some) {
        page.cursor = serde_json::to_string(&next).ok();
    }
    Ok(page)
}

fn positions(cursor: Option<&str>, stores: usize) -> Result<Vec<Option<Position>>, SearchError> {
    let Some(cursor) = cursor else { return Ok(vec![Some(Position::default()); stores]) };
    serde_json::from_str::<Vec<Option<Position>>>(cursor)
        .ok()
        .filter(|positions| positions.len() == stores)
        .filter(|positions| positions.iter().flatten().all(|position| position.skip <= 20_000))
        .ok_or(SearchError::Cursor)
}

fn time_of(log: &StoredLog) -> i64 {
    log.entry.timestamp.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond)
}

/// Counts logs of all stores over time.
pub(crate) async fn histogram(
    stores: &[Arc<dyn LogStore>],
    query: &Query,
    span: TimeSpan,
    interval: i64,
) -> Result<Histogram, SearchError> {
    let all = try_join_all(stores.iter().map(|store| store.histogram(query, span, interval))).await?;
    let mut sum = Histogram::default();
    let mut buckets = BTreeMap::new();
    for histogram in all {
        sum.total += histogram.total;
        for bucket in histogram.buckets {
            let slot = buckets
                .entry(bucket.time)
                .or_insert_with(|| taffrail_logstore::HistogramBucket { time: bucket.time, ..Default::default() });
            slot.count += bucket.count;
            for (level, count) in bucket.levels {
                *slot.levels.entry(level).or_default() += count;
            }
        }
    }
    sum.buckets = buckets.into_values().collect();
    Ok(sum)
}

/// The fields of logs of all stores.
pub(crate) async fn fields(
    stores: &[Arc<dyn LogStore>],
    query: &Query,
    span: TimeSpan,
) -> Result<Vec<FieldSummary>, SearchError> {
    let all = try_join_all(stores.iter().map(|store| store.fields(query, span))).await?;
    let mut fields: BTreeMap<String, (u64, BTreeMap<String, u64>)> = BTreeMap::new();
    for field in all.into_iter().flatten() {
        let slot = fields.entry(field.name).or_default();
        slot.0 += field.count;
        for value in field.values {
            *slot.1.entry(value.value).or_default() += value.count;
        }
    }
    let summary = |(name, (count, values)): (String, (u64, BTreeMap<String, u64>))| {
        let mut values: Vec<_> = values.into_iter().map(|(value, count)| FieldValue { value, count }).collect();
        // Stable: equal counts stay in the order of their values.
        values.sort_by_key(|value| std::cmp::Reverse(value.count));
        values.truncate(FACET_VALUES);
        FieldSummary { name, count, values }
    };
    Ok(fields.into_iter().map(summary).collect())
}
