//! Dead letters, in an index of their own.

use std::borrow::Cow;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use elasticsearch::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::nodes::Body;
use super::{ElasticsearchStore, bulk, outcome};
use crate::cursor::Cursor;
use crate::dead_letter::{cause, in_order};
use crate::limits::{MAX_ID_BYTES, MAX_LETTER_GROUPS, MAX_LETTERS};
use crate::{
    CountedAs, DeadLetter, DeadLetters, LetterGroup, LetterHead, LetterPage, LetterRequest, Outcome, Provenance,
    SearchError, WriteError,
};

/// Letters are sent in portions of about this size: together they may be many times as large as what a batch was.
const PORTION: usize = 8 << 20;

/// Statuses that are told apart of one cause.
const STATUSES: usize = 10;

/// A letter as a document.
#[derive(Serialize, Deserialize)]
struct Letter<'a> {
    #[serde(default)]
    id: Cow<'a, str>,
    /// Milliseconds since 1970.
    timestamp: i64,
    pipeline: Cow<'a, str>,
    generation: i64,
    topic: Cow<'a, str>,
    partition: i32,
    offset: i64,
    status: u16,
    reason: Cow<'a, str>,
    /// Letters are grouped and found by it.
    #[serde(default)]
    cause: Cow<'a, str>,
    /// The bytes of the record.
    #[serde(default)]
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted_as: Option<(Cow<'a, str>, i64)>,
    /// The record, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original: Option<Cow<'a, str>>,
    /// The record, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original_base64: Option<String>,
}

impl<'a> Letter<'a> {
    fn of(letter: &'a DeadLetter) -> Self {
        let from = &letter.provenance;
        let text = std::str::from_utf8(&letter.original).ok();
        Self {
            id: Cow::Borrowed(&letter.id),
            timestamp: from.timestamp,
            pipeline: Cow::Borrowed(&from.pipeline),
            generation: from.generation,
            topic: Cow::Borrowed(&from.topic),
            partition: from.partition,
            offset: from.offset,
            status: letter.status,
            reason: Cow::Borrowed(&letter.reason),
            cause: Cow::Owned(cause(&letter.reason)),
            size: letter.original.len() as u64,
            counted_as: letter.counted_as.as_ref().map(|counted| (Cow::Borrowed(&*counted.source), counted.offset)),
            original: text.map(Cow::Borrowed),
            original_base64: text.is_none().then(|| BASE64.encode(&letter.original)),
        }
    }

    fn head(&self, id: &str) -> LetterHead {
        LetterHead {
            id: id.to_owned(),
            reason: self.reason.clone().into_owned(),
            status: self.status,
            provenance: Provenance {
                pipeline: self.pipeline.clone().into_owned(),
                generation: self.generation,
                topic: self.topic.clone().into_owned(),
                partition: self.partition,
                offset: self.offset,
                timestamp: self.timestamp,
            },
            size: self.size,
        }
    }

    fn into_letter(self, id: &str) -> DeadLetter {
        let LetterHead { id, reason, status, provenance, size: _ } = self.head(id);
        let encoded = || self.original_base64.and_then(|text| BASE64.decode(text).ok()).unwrap_or_default();
        let original = self.original.map_or_else(|| Bytes::from(encoded()), |text| Bytes::from(text.into_owned()));
        let counted_as = self.counted_as.map(|(source, offset)| CountedAs { source: source.into_owned(), offset });
        DeadLetter { id, reason, status, provenance, counted_as, original }
    }
}

/// What a search for letters found.
#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    hits: Hits<'a>,
    #[serde(default)]
    aggregations: Option<Aggregations>,
}

#[derive(Deserialize)]
struct Hits<'a> {
    #[serde(default)]
    total: Option<Total>,
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Hit<'a> {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source", borrow)]
    source: &'a serde_json::value::RawValue,
}

#[derive(Deserialize)]
struct Aggregations {
    causes: Buckets<CauseBucket>,
}

#[derive(Deserialize)]
struct Buckets<T> {
    buckets: Vec<T>,
}

#[derive(Deserialize)]
struct CauseBucket {
    key: String,
    statuses: Buckets<StatusBucket>,
}

#[derive(Deserialize)]
struct StatusBucket {
    key: u16,
    doc_count: u64,
}

impl Hit<'_> {
    /// The letter; none if the document is somebody else's.
    fn letter(&self) -> Option<Letter<'_>> {
        serde_json::from_str(self.source.get()).ok()
    }
}

impl ElasticsearchStore {
    async fn keep_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        if letters.is_empty() {
            return Ok(());
        }
        let index = self.options.dead_letter_index();
        self.setup.for_dead_letters(&self.nodes, &index).await?;
        let action = format!(r#"{{"index":{{"_index":"{index}","_id":"#);
        let (mut lines, mut count) = (Vec::new(), 0);
        for letter in letters {
            if letter.id.is_empty() || letter.id.len() > MAX_ID_BYTES {
                let text =
                    format!("a dead letter's id has {} bytes; 1 to {MAX_ID_BYTES} are possible", letter.id.len());
                return Err(WriteError::Refused(text));
            }
            let source = serde_json::to_vec(&Letter::of(letter))
                .map_err(|error| WriteError::Refused(format!("a dead letter can't be written: {error}")))?;
            if !lines.is_empty() && lines.len() + source.len() > PORTION {
                self.keep_portion(std::mem::take(&mut lines), std::mem::take(&mut count)).await?;
            }
            bulk::push_document(&mut lines, &action, &letter.id, &source);
            count += 1;
        }
        self.keep_portion(lines, count).await
    }

    async fn keep_portion(&self, lines: Vec<u8>, count: usize) -> Result<(), WriteError> {
        for outcome in self.send_lines(lines, count).await? {
            match outcome {
                Outcome::Indexed | Outcome::Duplicate => {}
                Outcome::Retry { reason, .. } => return Err(WriteError::Unavailable(reason)),
                Outcome::Stalled { obstacle, reason } => return Err(WriteError::Stalled(obstacle, reason)),
                Outcome::Refused { reason, .. } => return Err(WriteError::Refused(reason)),
            }
        }
        Ok(())
    }

    /// Makes what is written in the index so far found by everybody.
    async fn refresh(&self) -> Result<(), WriteError> {
        let path = format!("{}/_refresh", self.options.dead_letter_index());
        let options = [("ignore_unavailable", "true"), ("allow_no_indices", "true")];
        let answer = self.nodes.send(Method::Post, &path, &options, &Body::None).await;
        let answer = answer?;
        match answer.status {
            200 | 404 => Ok(()),
            _ => Err(outcome::request_error(&answer)),
        }
    }

    fn query(request: &LetterRequest) -> Value {
        let filter = &request.filter;
        let mut clauses = vec![json!({"term": {"pipeline": {"value": request.pipeline}}})];
        if let Some(cause) = filter.wanted_cause() {
            let mut pattern = String::from("*");
            for character in cause.chars() {
                if matches!(character, '*' | '?' | '\\') {
                    pattern.push('\\');
                }
                pattern.push(character);
            }
            pattern.push('*');
            clauses.push(json!({"wildcard": {"cause": {"value": pattern}}}));
        }
        clauses.extend(filter.status.map(|status| json!({"term": {"status": {"value": status}}})));
        let mut range = json!({});
        if let Some(from) = filter.span.from {
            range["gte"] = from.into();
        }
        if let Some(to) = filter.span.to {
            range["lt"] = to.into();
        }
        if range != json!({}) {
            range["format"] = "epoch_millis".into();
            clauses.push(json!({"range": {"timestamp": range}}));
        }
        json!({"bool": {"filter": clauses}})
    }
}

#[async_trait]
impl DeadLetters for ElasticsearchStore {
    async fn write_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        self.keep_letters(letters).await
    }

    async fn dead_letters(&self, request: &LetterRequest) -> Result<LetterPage, SearchError> {
        let limit = request.limit.min(MAX_LETTERS);
        let mut body = json!({
            "query": Self::query(request),
            // One more tells whether there is another page.
            "size": limit + 1,
            "sort": [
                {"timestamp": {"order": "desc", "unmapped_type": "date"}},
                {"id": {"order": "desc", "unmapped_type": "keyword"}},
            ],
            "track_total_hits": true,
            "_source": {"excludes": ["original", "original_base64"]},
            "aggs": {"causes": {
                "terms": {"field": "cause", "size": MAX_LETTER_GROUPS, "shard_size": 10 * MAX_LETTER_GROUPS},
                "aggs": {"statuses": {"terms": {"field": "status", "size": STATUSES}}},
            }},
        });
        if let Some(cursor) = &request.cursor {
            let Cursor { time, id } = Cursor::decode(cursor)?;
            body["search_after"] = json!([time, id]);
        }
        let answer = self.ask(&self.options.dead_letter_index(), &body).await?;
        let mut found: Found<'_> = read(&answer.body)?;
        let more = found.hits.hits.len() > limit;
        found.hits.hits.truncate(limit);
        let letters: Vec<LetterHead> =
            found.hits.hits.iter().filter_map(|hit| Some(hit.letter()?.head(&hit.id))).collect();
        let last = letters.last().filter(|_| more);
        let cursor = last.map(LetterHead::cursor);
        let causes = found.aggregations.map(|found| found.causes.buckets).unwrap_or_default();
        let groups = causes.into_iter().flat_map(|CauseBucket { key, statuses }| {
            let group = move |status: StatusBucket| LetterGroup {
                cause: key.clone(),
                status: status.key,
                count: status.doc_count,
            };
            statuses.buckets.into_iter().map(group)
        });
        let groups = in_order(groups.collect());
        Ok(LetterPage { letters, total: found.hits.total.map_or(0, |total| total.value), groups, cursor })
    }

    async fn whole_dead_letters(&self, pipeline: &str, ids: &[String]) -> Result<Vec<DeadLetter>, SearchError> {
        let body = json!({
            "query": {"bool": {"filter": [{"term": {"pipeline": {"value": pipeline}}}, {"ids": {"values": ids}}]}},
            "size": ids.len(),
            "track_total_hits": false,
        });
        let answer = self.ask(&self.options.dead_letter_index(), &body).await?;
        let found: Found<'_> = read(&answer.body)?;
        Ok(found.hits.hits.iter().filter_map(|hit| Some(hit.letter()?.into_letter(&hit.id))).collect())
    }

    async fn replace_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        self.keep_letters(letters).await?;
        self.refresh().await
    }

    async fn remove_dead_letters(&self, _: &str, ids: &[String]) -> Result<(), WriteError> {
        if ids.is_empty() {
            return Ok(());
        }
        let index = self.options.dead_letter_index();
        let mut lines = Vec::new();
        for id in ids {
            let action = json!({"delete": {"_index": index, "_id": id}});
            lines.extend_from_slice(action.to_string().as_bytes());
            lines.push(b'\n');
        }
        let body = Body::Lines { bytes: lines.into(), gzip: false };
        let answer = self.nodes.send(Method::Post, "_bulk", &[("filter_path", outcome::FILTER)], &body).await;
        let answer = answer?;
        if let Some(reason) = outcome::not_deleted(&answer)? {
            return Err(WriteError::Unavailable(reason));
        }
        self.refresh().await
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, SearchError> {
    serde_json::from_slice(body).map_err(|error| SearchError::Unavailable(format!("its answer can't be read: {error}")))
}
