//! Pages of logs in an order that two stores can agree on.
//!
//! The order is by time and then by id, both descending, but Elasticsearch does not sort by `_id`: it keeps no columns of
//! it, and a copy of the id in the document would be a change to it. So the server sorts by time, and where a page cuts
//! through the logs of one millisecond, those are fetched and sorted here. There are few as a rule. Where there are very
//! many (a service that writes whole seconds), their ids alone are read first.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::search::{Hit, newest_first, read};
use super::{ElasticsearchStore, index};
use crate::cursor::Cursor;
use crate::limits::MAX_PAGE;
use crate::q::Query;
use crate::{SearchError, SearchPage, SearchRequest, StoredLog, TimeSpan};

/// How many documents one search gives at most: `index.max_result_window` as it is by default.
const WINDOW: usize = 10_000;
/// Of so many logs in one millisecond the documents are fetched at once.
const SMALL_MILLISECOND: usize = 1_000;

/// What is asked for, through all requests that a page takes.
struct Ask<'a> {
    query: &'a Query,
    span: TimeSpan,
    indices: &'a str,
}

/// Logs with their times.
type Timed = Vec<(i64, StoredLog)>;

impl ElasticsearchStore {
    pub(super) async fn find_page(&self, request: &SearchRequest) -> Result<SearchPage, SearchError> {
        let cursor = request.cursor.as_deref().map(Cursor::decode).transpose()?;
        let limit = request.limit.min(MAX_PAGE);
        let Some(indices) = index::searched(&self.options.index, request.span) else {
            return Ok(SearchPage::default());
        };
        let ask = Ask { query: &request.query, span: request.span, indices: &indices };
        let mut logs: Timed = Vec::new();
        if let Some(Cursor { time, id }) = &cursor {
            logs = self.in_millisecond(&ask, *time, Some(id), limit + 1).await?;
        }
        let mut more = logs.len() > limit;
        let needed = limit.saturating_sub(logs.len());
        let (older, total, older_more) = self.older(&ask, cursor.as_ref().map(|cursor| cursor.time), needed).await?;
        more |= older_more;
        logs.extend(older);
        logs.truncate(limit);
        let last = logs.last().filter(|_| more);
        let cursor = last.map(|(time, log)| Cursor { time: *time, id: log.id.clone() }.encode());
        Ok(SearchPage { logs: logs.into_iter().map(|(_, log)| log).collect(), total, cursor })
    }

    /// The newest `count` logs before a time, how many match in all (at whatever time), and whether there are more.
    async fn older(&self, ask: &Ask<'_>, before: Option<i64>, count: usize) -> Result<(Timed, u64, bool), SearchError> {
        let size = (count + 1).min(WINDOW);
        let mut body = self.translated(ask.query, ask.span).await?.body();
        body["size"] = size.into();
        body["track_total_hits"] = true.into();
        body["sort"] = newest_first();
        if let Some(time) = before {
            body["search_after"] = json!([time]);
        }
        let answer = self.ask(ask.indices, &body).await?;
        let found = read(&answer)?;
        let total = found.hits.total.value;
        let mut logs = timed(&found.hits.hits);
        if logs.len() < size {
            // All there are.
            sort(&mut logs);
            let more = logs.len() > count;
            logs.truncate(count);
            return Ok((logs, total, more));
        }
        // The last millisecond of the page may go on behind it, or behind what we were given.
        let Some(boundary) = count.checked_sub(1).and_then(|last| logs.get(last)).map(|(time, _)| *time) else {
            return Ok((Vec::new(), total, true));
        };
        let next = logs.get(count).map(|(time, _)| *time);
        let mut more = next.is_some();
        if next.is_none_or(|time| time == boundary) {
            logs.retain(|(time, _)| *time > boundary);
            let room = count - logs.len();
            let rest = self.in_millisecond(ask, boundary, None, room + 1).await?;
            more |= rest.len() > room;
            logs.extend(rest);
        }
        if !more {
            more = self.is_anything_before(ask, boundary).await?;
        }
        sort(&mut logs);
        logs.truncate(count);
        Ok((logs, total, more))
    }

    async fn is_anything_before(&self, ask: &Ask<'_>, time: i64) -> Result<bool, SearchError> {
        let mut body = self.translated(ask.query, ask.span).await?.body();
        body["size"] = 1.into();
        body["_source"] = false.into();
        body["track_total_hits"] = false.into();
        body["sort"] = newest_first();
        body["search_after"] = json!([time]);
        let answer = self.ask(ask.indices, &body).await?;
        Ok(!read(&answer)?.hits.hits.is_empty())
    }

    /// The first `count` logs of a millisecond in descending order of id, from behind the id `below` on.
    async fn in_millisecond(
        &self,
        ask: &Ask<'_>,
        time: i64,
        below: Option<&str>,
        count: usize,
    ) -> Result<Timed, SearchError> {
        let span = TimeSpan { from: Some(time), to: Some(time.saturating_add(1)) };
        let inside = ask.span.from.is_none_or(|from| from <= time) && ask.span.to.is_none_or(|to| time < to);
        let Some(indices) = index::searched(&self.options.index, span).filter(|_| inside) else {
            return Ok(Vec::new());
        };
        let mut body = self.translated(ask.query, span).await?.body();
        body["size"] = SMALL_MILLISECOND.into();
        body["track_total_hits"] = true.into();
        body["sort"] = newest_first();
        let answer = self.ask(&indices, &body).await?;
        let found = read(&answer)?;
        let mut logs = timed(&found.hits.hits);
        if found.hits.total.value > SMALL_MILLISECOND as u64 {
            let ids = self.ids_in_millisecond(&indices, body, below, count).await?;
            logs = self.with_ids(&indices, time, &ids).await?;
        }
        logs.retain(|(_, log)| below.is_none_or(|below| log.id.as_str() < below));
        sort(&mut logs);
        logs.truncate(count);
        Ok(logs)
    }

    /// The `count` greatest ids below one, of all logs that a query finds. They are read in the order in which they were
    /// written, in portions each of which starts with the last number of the one before: shards number independently.
    async fn ids_in_millisecond(
        &self,
        indices: &str,
        mut body: Value,
        below: Option<&str>,
        count: usize,
    ) -> Result<Vec<String>, SearchError> {
        let query = body["query"].take();
        body["size"] = WINDOW.into();
        body["_source"] = false.into();
        body["track_total_hits"] = false.into();
        body["sort"] = json!([{"_seq_no": "asc"}]);
        let mut greatest: BTreeSet<String> = BTreeSet::new();
        let mut from = 0_i64;
        loop {
            body["query"] = json!({"bool": {"filter": [query, {"range": {"_seq_no": {"gte": from}}}]}});
            let answer = self.ask(indices, &body).await?;
            let found = read(&answer)?;
            for hit in &found.hits.hits {
                if below.is_some_and(|below| hit.id.as_str() >= below) {
                    continue;
                }
                if greatest.len() < count || greatest.first().is_some_and(|least| *least < hit.id) {
                    greatest.insert(hit.id.clone());
                    if greatest.len() > count {
                        greatest.pop_first();
                    }
                }
            }
            let last = found.hits.hits.last().map(Hit::key);
            match last.filter(|last| found.hits.hits.len() == WINDOW && *last > from) {
                Some(last) => from = last,
                None => return Ok(greatest.into_iter().collect()),
            }
        }
    }

    async fn with_ids(&self, indices: &str, time: i64, ids: &[String]) -> Result<Timed, SearchError> {
        let mut logs = Vec::with_capacity(ids.len());
        for ids in ids.chunks(WINDOW) {
            let body = json!({"query": {"ids": {"values": ids}}, "size": ids.len(), "sort": newest_first()});
            let answer = self.ask(indices, &body).await?;
            logs.extend(read(&answer)?.hits.hits.iter().map(|hit| (time, hit.log())));
        }
        Ok(logs)
    }
}

fn timed(hits: &[Hit<'_>]) -> Timed {
    hits.iter().map(|hit| (hit.key(), hit.log())).collect()
}

/// Newest first, then by descending id.
fn sort(logs: &mut Timed) {
    logs.sort_by(|(time, log), (other_time, other)| other_time.cmp(time).then_with(|| other.id.cmp(&log.id)));
}
