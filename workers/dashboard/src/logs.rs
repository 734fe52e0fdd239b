//! `/api/v1/logs/…`: search, histogram, fields.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use taffrail_logstore::q::{Key, Query};
use taffrail_logstore::{Level, LogEntry, SearchRequest};
use utoipa::ToSchema;

use crate::error::{ApiError, ErrorBody};
use crate::params::Params;
use crate::{Shared, stores};

const KNOWN: &str = "q, service, level, host, tag.<k>, field.<k>, from, to, limit, cursor, buckets";

/// Bars that fit on a page.
const MAX_BUCKETS: usize = 1000;

/// Lengths of a histogram's buckets, in milliseconds, that people can read off an axis.
const INTERVALS: [i64; 22] = [
    1,
    10,
    100,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    21_600_000,
    43_200_000,
    86_400_000,
    604_800_000,
];

/// Logs that were found, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct SearchResponse {
    /// The logs.
    #[schema(value_type = Vec<Object>)]
    logs: Vec<LogEntry>,
    /// How many match in all.
    total: u64,
    /// The parameters as they were given.
    query: BTreeMap<String, String>,
    /// Give it as `cursor` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// Logs over time.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistogramResponse {
    /// Start, Unix milliseconds.
    from: i64,
    /// End, Unix milliseconds.
    to: i64,
    /// Length of a bucket in milliseconds.
    interval: i64,
    /// How many logs match in all.
    total: u64,
    /// All buckets that the span touches, empty ones as well.
    buckets: Vec<Bucket>,
}

/// One bar.
#[derive(Serialize, ToSchema)]
pub(crate) struct Bucket {
    /// Start, Unix milliseconds.
    time: i64,
    /// How many logs.
    count: u64,
    /// How many of each level.
    levels: BTreeMap<String, u64>,
}

/// Fields of the logs that match.
#[derive(Serialize, ToSchema)]
pub(crate) struct FieldsResponse {
    /// By name.
    fields: Vec<Field>,
}

/// One field.
#[derive(Serialize, ToSchema)]
pub(crate) struct Field {
    /// As queries have it.
    name: String,
    /// How many of the newest logs have it.
    count: u64,
    /// Its most frequent values.
    values: Vec<Value>,
}

/// One value.
#[derive(Serialize, ToSchema)]
pub(crate) struct Value {
    /// The value.
    value: String,
    /// How many logs have it.
    count: u64,
}

/// The query that `q` and the single filters make together.
fn query(params: &mut Params) -> Result<Query, ApiError> {
    let mut all = Vec::new();
    if let Some(q) = params.text("q") {
        match Query::parse(&q).map_err(|error| ApiError::query("q", error.column, &error.message))? {
            Query::All => {}
            query => all.push(query),
        }
    }
    if let Some(level) = params.text("level") {
        let problem = || ApiError::parameter("level", format!("`{level}` is not a level: debug, info, warn or error"));
        let level = Level::normalise(&level).ok_or_else(problem)?;
        all.push(Query::Term(Key::Level, level.as_str().to_owned()));
    }
    for (name, key) in [("service", Key::Service), ("host", Key::Host)] {
        all.extend(params.text(name).map(|value| Query::Term(key, value)));
    }
    for (name, value) in params.prefixed("tag.") {
        all.push(Query::Term(Key::Tag(name), value));
    }
    for (name, value) in params.prefixed("field.") {
        all.push(Query::Term(Key::Field(name), value));
    }
    Ok(match all.len() {
        0 => Query::All,
        1 => all.remove(0),
        _ => Query::And(all),
    })
}

/// Search in logs.
///
/// Newest first. Without `from` and `to` all logs are searched. Times are Unix seconds, Unix milliseconds or RFC 3339.
#[utoipa::path(
    get,
    path = "/api/v1/logs/search",
    tag = "logs",
    params(
        ("q" = Option<String>, Query, description = "What to look for, in Lucene's manner: `level:error AND timeout`"),
        ("service" = Option<String>, Query, description = "Only this service"),
        ("level" = Option<String>, Query, description = "Only this level: debug, info, warn or error"),
        ("host" = Option<String>, Query, description = "Only this host"),
        ("tag.<k>" = Option<String>, Query, description = "Only logs whose tag `<k>` has this value"),
        ("field.<k>" = Option<String>, Query, description = "Only logs whose field `<k>` has this value"),
        ("from" = Option<String>, Query, description = "Not before this time"),
        ("to" = Option<String>, Query, description = "Before this time"),
        ("limit" = Option<u32>, Query, description = "At most so many logs, 1 to 10000; default 100"),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
    ),
    responses(
        (status = 200, body = SearchResponse),
        (status = 400, body = ErrorBody, description = "A parameter is wrong; the message names it"),
        (status = 503, body = ErrorBody, description = "A log store does not answer"),
    )
)]
pub(crate) async fn search(State(shared): State<Shared>, mut params: Params) -> Result<Json<SearchResponse>, ApiError> {
    let given = params.given();
    let request = SearchRequest {
        query: query(&mut params)?,
        span: params.span()?,
        limit: params.limit()?,
        cursor: params.text("cursor"),
    };
    params.finish(KNOWN)?;
    let page = stores::search(&(shared.stores)(), &request).await?;
    let logs = page.logs.into_iter().map(|log| log.entry).collect();
    Ok(Json(SearchResponse { logs, total: page.total, query: given, cursor: page.cursor }))
}

/// Count logs over time.
///
/// The last hour, unless `from` and `to` say otherwise.
#[utoipa::path(
    get,
    path = "/api/v1/logs/histogram",
    tag = "logs",
    params(
        ("q" = Option<String>, Query, description = "What to look for"),
        ("service" = Option<String>, Query, description = "Only this service"),
        ("level" = Option<String>, Query, description = "Only this level"),
        ("host" = Option<String>, Query, description = "Only this host"),
        ("from" = Option<String>, Query, description = "Not before this time"),
        ("to" = Option<String>, Query, description = "Before this time"),
        ("buckets" = Option<u32>, Query, description = "At most about so many buckets, 1 to 1000; default 60"),
    ),
    responses((status = 200, body = HistogramResponse), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody))
)]
pub(crate) async fn histogram(
    State(shared): State<Shared>,
    mut params: Params,
) -> Result<Json<HistogramResponse>, ApiError> {
    let query = query(&mut params)?;
    let buckets = params.count("buckets", 60, MAX_BUCKETS)?;
    let span = params.span()?;
    params.finish(KNOWN)?;
    let to = span.to.unwrap_or_else(|| jiff::Timestamp::now().as_millisecond());
    let from = span.from.unwrap_or(to - 3_600_000);
    if from >= to {
        return Err(ApiError::parameter("from", "must be before `to`, or before the present where there is no `to`"));
    }
    let interval = interval(to - from, i64::try_from(buckets).unwrap_or(i64::MAX));
    let span = taffrail_logstore::TimeSpan { from: Some(from), to: Some(to) };
    let found = stores::histogram(&(shared.stores)(), &query, span, interval).await?;
    let bucket = |bucket: taffrail_logstore::HistogramBucket| Bucket {
        time: bucket.time,
        count: bucket.count,
        levels: bucket.levels,
    };
    let buckets = found.buckets.into_iter().map(bucket).collect();
    Ok(Json(HistogramResponse { from, to, interval, total: found.total, buckets }))
}

/// The shortest readable interval that cuts `length` into at most `buckets` pieces.
fn interval(length: i64, buckets: i64) -> i64 {
    let least = (length + buckets - 1) / buckets;
    let readable = INTERVALS.into_iter().find(|interval| *interval >= least);
    // Beyond weeks: whole weeks.
    readable.unwrap_or_else(|| (least + 604_799_999) / 604_800_000 * 604_800_000)
}

/// List fields and their values.
///
/// Of the newest matching logs, at most a thousand.
#[utoipa::path(
    get,
    path = "/api/v1/logs/fields",
    tag = "logs",
    params(
        ("q" = Option<String>, Query, description = "What to look for"),
        ("service" = Option<String>, Query, description = "Only this service"),
        ("level" = Option<String>, Query, description = "Only this level"),
        ("host" = Option<String>, Query, description = "Only this host"),
        ("from" = Option<String>, Query, description = "Not before this time"),
        ("to" = Option<String>, Query, description = "Before this time"),
    ),
    responses((status = 200, body = FieldsResponse), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody))
)]
pub(crate) async fn fields(State(shared): State<Shared>, mut params: Params) -> Result<Json<FieldsResponse>, ApiError> {
    let query = query(&mut params)?;
    let span = params.span()?;
    params.finish(KNOWN)?;
    let found = stores::fields(&(shared.stores)(), &query, span).await?;
    let fields = found
        .into_iter()
        .map(|field| Field {
            name: field.name,
            count: field.count,
            values: field.values.into_iter().map(|value| Value { value: value.value, count: value.count }).collect(),
        })
        .collect();
    Ok(Json(FieldsResponse { fields }))
}

#[cfg(test)]
mod tests {
    use super::interval;

    #[test]
    fn intervals_are_readable_and_never_too_many() {
        assert_eq!(interval(3_600_000, 60), 60_000);
        assert_eq!(interval(3_600_001, 60), 120_000);
        assert_eq!(interval(5, 60), 1);
        assert_eq!(interval(20 * 365 * 86_400_000, 60) % 604_800_000, 0);
    }
}
