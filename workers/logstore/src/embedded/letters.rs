//! Dead letters, in an index of their own. They are few, so each write of them is a commit.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tantivy::collector::sort_key::SortByStaticFastValue;
use tantivy::collector::{Count, TopDocs};
use tantivy::directory::Directory as _;
use tantivy::indexer::IndexWriterOptions;
use tantivy::query::{RangeQuery, TermQuery};
use tantivy::schema::{FAST, Field, IndexRecordOption, STORED, STRING, Schema, Value as _};
use tantivy::{Index, IndexReader, IndexWriter, Order, ReloadPolicy, TantivyDocument, TantivyError, Term};

use super::folder::Folder;
use crate::limits::{MAX_ID_BYTES, MAX_LETTERS};
use crate::{DeadLetter, Provenance, WriteError};

const WRITER_BYTES: usize = 16 << 20;
const CACHED_BLOCKS: usize = 8;
const TIMESTAMP: &str = "timestamp";
const SEQUENCE: &str = "sequence";

struct Fields {
    schema: Schema,
    id: Field,
    pipeline: Field,
    /// When the source got it.
    timestamp: Field,
    /// The order of writing, from the start of the process on.
    sequence: Field,
    /// When it was written, milliseconds since 1970.
    written: Field,
    about: Field,
    original: Field,
}

static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let mut schema = Schema::builder();
    Fields {
        id: schema.add_text_field("id", STRING | STORED),
        pipeline: schema.add_text_field("pipeline", STRING),
        timestamp: schema.add_i64_field(TIMESTAMP, FAST),
        sequence: schema.add_i64_field(SEQUENCE, FAST),
        written: schema.add_i64_field("written", FAST),
        about: schema.add_bytes_field("about", STORED),
        original: schema.add_bytes_field("original", STORED),
        schema: schema.build(),
    }
});

/// What is kept of a letter besides its id and the record.
#[derive(Serialize, Deserialize)]
struct About {
    reason: String,
    status: u16,
    pipeline: String,
    generation: i64,
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: i64,
}

/// The letters.
pub(super) struct Letters {
    index: Index,
    reader: IndexReader,
    /// The sequence number of the last letter. Only who holds it writes.
    last: Mutex<i64>,
}

impl Letters {
    pub(super) fn open(folder: &Path) -> tantivy::Result<Self> {
        let index = Index::builder().schema(FIELDS.schema.clone()).open_or_create(Folder::open(folder)?)?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .doc_store_cache_num_blocks(CACHED_BLOCKS)
            .try_into()?;
        let last = reader.searcher().segment_readers().iter().try_fold(0, |last, segment| {
            tantivy::Result::Ok(segment.fast_fields().i64(SEQUENCE)?.max_value().max(last))
        })?;
        Ok(Self { index, reader, last: Mutex::new(last) })
    }

    /// Keeps letters; one with the id of an earlier one replaces it.
    pub(super) fn write(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        if let Some(letter) = letters.iter().find(|letter| letter.id.is_empty() || letter.id.len() > MAX_ID_BYTES) {
            let text = format!("a dead letter's id has {} bytes; 1 to {MAX_ID_BYTES} are possible", letter.id.len());
            return Err(WriteError::Refused(text));
        }
        self.keep(letters).map_err(|error| WriteError::Unavailable(format!("dead letters can't be written: {error}")))
    }

    fn keep(&self, letters: &[DeadLetter]) -> tantivy::Result<()> {
        let mut last = self.last.lock();
        let written = milliseconds(SystemTime::now());
        let writer = self.writer()?;
        for letter in letters {
            *last += 1;
            writer.delete_term(Term::from_field_text(FIELDS.id, &letter.id));
            writer.add_document(document(letter, *last, written)?)?;
        }
        self.finish(writer)
    }

    /// Forgets letters that were written before a time.
    pub(super) fn delete_before(&self, horizon: SystemTime) -> tantivy::Result<()> {
        let _last = self.last.lock();
        let time = |time| Term::from_field_i64(FIELDS.written, time);
        let old = RangeQuery::new(std::ops::Bound::Unbounded, std::ops::Bound::Excluded(time(milliseconds(horizon))));
        if self.reader.searcher().search(&old, &Count)? == 0 {
            return Ok(());
        }
        let writer = self.writer()?;
        writer.delete_query(Box::new(old))?;
        self.finish(writer)
    }

    /// The letters of a pipeline, newest first.
    pub(super) fn find(&self, pipeline: &str, limit: usize) -> tantivy::Result<Vec<DeadLetter>> {
        let limit = limit.min(MAX_LETTERS);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let searcher = self.reader.searcher();
        let query = TermQuery::new(Term::from_field_text(FIELDS.pipeline, pipeline), IndexRecordOption::Basic);
        let by = |column| (SortByStaticFastValue::<i64>::for_field(column), Order::Desc);
        let newest = TopDocs::with_limit(limit).order_by((by(TIMESTAMP), by(SEQUENCE)));
        let found = searcher.search(&query, &newest)?;
        found.into_iter().map(|(_, address)| letter(&searcher.doc(address)?)).collect()
    }

    fn writer(&self) -> tantivy::Result<IndexWriter> {
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(WRITER_BYTES)
            .build();
        self.index.writer_with_options(options)
    }

    fn finish(&self, mut writer: IndexWriter) -> tantivy::Result<()> {
        writer.commit()?;
        self.index.directory().sync_directory()?;
        self.reader.reload()?;
        writer.wait_merging_threads()?;
        self.reader.reload()
    }
}

fn document(letter: &DeadLetter, sequence: i64, written: i64) -> tantivy::Result<TantivyDocument> {
    let from = &letter.provenance;
    let about = About {
        reason: letter.reason.clone(),
        status: letter.status,
        pipeline: from.pipeline.clone(),
        generation: from.generation,
        topic: from.topic.clone(),
        partition: from.partition,
        offset: from.offset,
        timestamp: from.timestamp,
    };
    let about = serde_json::to_vec(&about).map_err(|error| TantivyError::InvalidArgument(error.to_string()))?;
    let mut document = TantivyDocument::with_capacity(letter.original.len() + about.len() + 256);
    document.add_text(FIELDS.id, &letter.id);
    document.add_text(FIELDS.pipeline, &from.pipeline);
    document.add_i64(FIELDS.timestamp, from.timestamp);
    document.add_i64(FIELDS.sequence, sequence);
    document.add_i64(FIELDS.written, written);
    document.add_bytes(FIELDS.about, &about);
    document.add_bytes(FIELDS.original, &letter.original);
    Ok(document)
}

fn letter(document: &TantivyDocument) -> tantivy::Result<DeadLetter> {
    let bytes = |field| document.get_first(field).and_then(|value| value.as_bytes()).unwrap_or_default();
    let about: About = serde_json::from_slice(bytes(FIELDS.about))
        .map_err(|error| TantivyError::InternalError(format!("a dead letter can't be read: {error}")))?;
    Ok(DeadLetter {
        id: document.get_first(FIELDS.id).and_then(|value| value.as_str()).unwrap_or_default().to_owned(),
        reason: about.reason,
        status: about.status,
        provenance: Provenance {
            pipeline: about.pipeline,
            generation: about.generation,
            topic: about.topic,
            partition: about.partition,
            offset: about.offset,
            timestamp: about.timestamp,
        },
        original: Bytes::copy_from_slice(bytes(FIELDS.original)),
    })
}

fn milliseconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
}
