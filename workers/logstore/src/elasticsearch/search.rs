//! Finding, counting and summarising logs.

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::nodes::{Answer, Body};
use super::query::{Translated, translate};
use super::{ElasticsearchStore, apart, index, outcome};
use crate::facets;
use crate::limits::FIELDS_SAMPLE;
use crate::q::Query;
use crate::{FieldSummary, Histogram, LogEntry, SearchError, StoredLog, TimeSpan, WriteError};

/// Absent indices are days without logs. Shards that don't answer are an error: an answer without them would be wrong
/// without saying so.
pub(super) const OPTIONS: &[(&str, &str)] =
    &[("ignore_unavailable", "true"), ("allow_no_indices", "true"), ("allow_partial_search_results", "false")];

/// What a search found.
#[derive(Deserialize)]
pub(super) struct Found<'a> {
    #[serde(borrow)]
    pub hits: Hits<'a>,
    #[serde(default)]
    pub aggregations: Option<Aggregations>,
}

#[derive(Deserialize)]
pub(super) struct Hits<'a> {
    #[serde(default)]
    pub total: Total,
    #[serde(borrow)]
    pub hits: Vec<Hit<'a>>,
}

#[derive(Deserialize, Default)]
pub(super) struct Total {
    pub value: u64,
}

/// One document that was found.
#[derive(Deserialize)]
pub(super) struct Hit<'a> {
    #[serde(rename = "_id")]
    pub id: String,
    #[serde(rename = "_source", borrow, default)]
    pub source: Option<&'a RawValue>,
    /// What it was sorted by: its time, or its sequence number.
    #[serde(default)]
    pub sort: Vec<i64>,
}

#[derive(Deserialize)]
pub(super) struct Aggregations {
    over_time: Buckets<TimeBucket>,
}

#[derive(Deserialize)]
struct Buckets<T> {
    buckets: Vec<T>,
}

#[derive(Deserialize)]
struct TimeBucket {
    key: i64,
    doc_count: u64,
    levels: Buckets<LevelBucket>,
}

#[derive(Deserialize)]
struct LevelBucket {
    key: String,
    doc_count: u64,
}

impl Hit<'_> {
    pub(super) fn key(&self) -> i64 {
        self.sort.first().copied().unwrap_or(i64::MIN)
    }

    pub(super) fn log(&self) -> StoredLog {
        StoredLog { id: self.id.clone(), entry: entry_of(self.source.map_or("{}", RawValue::get), self.key()) }
    }
}

/// The log that a document is. One that somebody else wrote in a shape of his own is shown as it is.
fn entry_of(source: &str, time: i64) -> LogEntry {
    let Ok(mut entry) = serde_json::from_str::<LogEntry>(source) else {
        let timestamp = jiff::Timestamp::from_millisecond(time).map(|time| time.to_string()).unwrap_or_default();
        return LogEntry { timestamp, message: source.to_owned(), ..LogEntry::default() };
    };
    apart::put_back(source, &mut entry);
    entry
}

impl ElasticsearchStore {
    /// The query in the server's terms.
    pub(super) async fn translated(&self, query: &Query, span: TimeSpan) -> Result<Translated, SearchError> {
        let dialect = self.setup.dialect(&self.nodes).await.map_err(unavailable)?;
        Ok(translate(query, span, dialect))
    }

    /// Sends a search in these indices, and gives the answer if it is a good one.
    pub(super) async fn ask(&self, indices: &str, body: &Value) -> Result<Answer, SearchError> {
        let body = Body::Json(body.to_string().into());
        let answer = self.nodes.send(Method::Post, &format!("{indices}/_search"), OPTIONS, &body).await;
        let answer = answer.map_err(|error| SearchError::Unavailable(error.to_string()))?;
        if answer.status == 200 {
            return Ok(answer);
        }
        Err(match outcome::request_error(&answer) {
            WriteError::Refused(reason) => SearchError::Invalid(format!("the log store refuses the search: {reason}")),
            other => unavailable(other),
        })
    }

    pub(super) async fn count_over_time(
        &self,
        query: &Query,
        span: TimeSpan,
        interval: i64,
    ) -> Result<Histogram, SearchError> {
        let mut histogram = Histogram { buckets: facets::empty_buckets(span, interval)?, total: 0 };
        let Some(indices) = index::searched(&self.options.index, span) else { return Ok(histogram) };
        let mut body = self.translated(query, span).await?.body();
        body["size"] = 0.into();
        body["track_total_hits"] = true.into();
        body["aggs"] = json!({"over_time": {
            "date_histogram": {"field": "timestamp", "fixed_interval": format!("{interval}ms"), "min_doc_count": 1},
            // More than there are levels: others may come from whoever else writes into the indices.
            "aggs": {"levels": {"terms": {"field": "level", "size": 10}}},
        }});
        let answer = self.ask(&indices, &body).await?;
        let found = read(&answer)?;
        histogram.total = found.hits.total.value;
        let first = histogram.buckets.first().map_or(0, |bucket| bucket.time);
        for bucket in found.aggregations.map(|found| found.over_time.buckets).unwrap_or_default() {
            let position = usize::try_from((bucket.key - first) / interval).ok();
            if let Some(place) = position.and_then(|position| histogram.buckets.get_mut(position)) {
                place.count = bucket.doc_count;
                let levels = bucket.levels.buckets.into_iter().filter(|level| !level.key.is_empty());
                place.levels = levels.map(|level| (level.key, level.doc_count)).collect();
            }
        }
        Ok(histogram)
    }

    pub(super) async fn summarise_fields(
        &self,
        query: &Query,
        span: TimeSpan,
    ) -> Result<Vec<FieldSummary>, SearchError> {
        let Some(indices) = index::searched(&self.options.index, span) else { return Ok(Vec::new()) };
        let mut body = self.translated(query, span).await?.body();
        body["size"] = FIELDS_SAMPLE.into();
        body["track_total_hits"] = false.into();
        body["sort"] = newest_first();
        // The summary has no use for the longest part.
        body["_source"] = json!({"excludes": ["message"]});
        let answer = self.ask(&indices, &body).await?;
        let logs: Vec<StoredLog> = read(&answer)?.hits.hits.iter().map(Hit::log).collect();
        Ok(facets::summarise(logs.iter().map(|log| &log.entry)))
    }
}

pub(super) fn newest_first() -> Value {
    json!([{"timestamp": {"order": "desc", "unmapped_type": "date"}}])
}

pub(super) fn read(answer: &Answer) -> Result<Found<'_>, SearchError> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| SearchError::Unavailable(format!("its answer can't be read: {error}")))
}

fn unavailable(error: WriteError) -> SearchError {
    SearchError::Unavailable(match error {
        WriteError::Unavailable(reason)
        | WriteError::Refused(reason)
        | WriteError::TooLarge(reason)
        | WriteError::Stalled(_, reason) => reason,
        WriteError::Unauthorized(reason) => format!("it refuses our credentials: {reason}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_others_are_shown_as_they_are() {
        let entry = entry_of(r#"{"@timestamp":"x","msg":"hello"}"#, 1_723_809_600_000);
        assert_eq!(entry.timestamp, "2024-08-16T12:00:00Z");
        assert_eq!(entry.message, r#"{"@timestamp":"x","msg":"hello"}"#);
    }
}
