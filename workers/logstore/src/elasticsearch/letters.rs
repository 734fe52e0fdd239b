//! Dead letters, in an index of their own.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::search::{Hit, read};
use super::{ElasticsearchStore, bulk};
use crate::limits::{MAX_ID_BYTES, MAX_LETTERS};
use crate::{DeadLetter, Outcome, Provenance, SearchError, WriteError};

/// Letters are sent in portions of about this size: together they may be many times as large as what a batch was.
const PORTION: usize = 8 << 20;

/// A letter as a document.
#[derive(Serialize, Deserialize)]
struct Letter<'a> {
    /// Milliseconds since 1970.
    timestamp: i64,
    pipeline: Cow<'a, str>,
    generation: i64,
    topic: Cow<'a, str>,
    partition: i32,
    offset: i64,
    status: u16,
    reason: Cow<'a, str>,
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
            timestamp: from.timestamp,
            pipeline: Cow::Borrowed(&from.pipeline),
            generation: from.generation,
            topic: Cow::Borrowed(&from.topic),
            partition: from.partition,
            offset: from.offset,
            status: letter.status,
            reason: Cow::Borrowed(&letter.reason),
            original: text.map(Cow::Borrowed),
            original_base64: text.is_none().then(|| BASE64.encode(&letter.original)),
        }
    }

    fn into_letter(self, id: String) -> DeadLetter {
        let encoded = || self.original_base64.and_then(|text| BASE64.decode(text).ok()).unwrap_or_default();
        DeadLetter {
            id,
            reason: self.reason.into_owned(),
            status: self.status,
            provenance: Provenance {
                pipeline: self.pipeline.into_owned(),
                generation: self.generation,
                topic: self.topic.into_owned(),
                partition: self.partition,
                offset: self.offset,
                timestamp: self.timestamp,
            },
            original: self.original.map_or_else(|| Bytes::from(encoded()), |text| Bytes::from(text.into_owned())),
        }
    }
}

impl ElasticsearchStore {
    pub(super) async fn keep_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
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

    pub(super) async fn find_letters(&self, pipeline: &str, limit: usize) -> Result<Vec<DeadLetter>, SearchError> {
        let body = json!({
            "query": {"term": {"pipeline": {"value": pipeline}}},
            "size": limit.min(MAX_LETTERS),
            "sort": [{"timestamp": {"order": "desc", "unmapped_type": "date"}}, {"_seq_no": {"order": "desc"}}],
            "track_total_hits": false,
        });
        let answer = self.ask(&self.options.dead_letter_index(), &body).await?;
        let letter = |hit: &Hit<'_>| {
            let letter: Letter<'_> = serde_json::from_str(hit.source.map_or("", RawValue::get)).ok()?;
            Some(letter.into_letter(hit.id.clone()))
        };
        // Whatever else somebody has put there is none of ours.
        Ok(read(&answer)?.hits.hits.iter().filter_map(letter).collect())
    }
}
