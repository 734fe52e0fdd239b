//! Dead letters, in an index of their own. They are few, so each write of them is a commit.

use std::collections::HashMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tantivy::collector::{Count, DocSetCollector};
use tantivy::directory::Directory as _;
use tantivy::indexer::IndexWriterOptions;
use tantivy::query::{BooleanQuery, Query, RangeQuery, TermQuery, TermSetQuery};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, STORED, STRING, Schema, Value as _};
use tantivy::{
    DocAddress, Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument, TantivyError, Term,
};

use super::folder::Folder;
use crate::cursor::Cursor;
use crate::dead_letter::{cause, in_order};
use crate::limits::{MAX_ID_BYTES, MAX_LETTERS};
use crate::{CountedAs, DeadLetter, LetterGroup, LetterHead, LetterPage, LetterRequest, Provenance, WriteError};

const WRITER_BYTES: usize = 16 << 20;
const CACHED_BLOCKS: usize = 8;
const ID: &str = "id";
const CAUSE: &str = "cause";
const STATUS: &str = "status";
const TIMESTAMP: &str = "timestamp";

struct Fields {
    schema: Schema,
    id: Field,
    pipeline: Field,
    cause: Field,
    status: Field,
    /// When the source got it.
    timestamp: Field,
    /// When it was written, milliseconds since 1970.
    written: Field,
    about: Field,
    original: Field,
}

static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let mut schema = Schema::builder();
    Fields {
        id: schema.add_text_field(ID, STRING | STORED | FAST),
        pipeline: schema.add_text_field("pipeline", STRING),
        cause: schema.add_text_field(CAUSE, STRING | FAST),
        status: schema.add_u64_field(STATUS, INDEXED | FAST),
        timestamp: schema.add_i64_field(TIMESTAMP, FAST),
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
    size: u64,
    counted_as: Option<(String, i64)>,
}

/// The letters.
pub(super) struct Letters {
    index: Index,
    reader: IndexReader,
    /// Only who holds it writes.
    writing: Mutex<()>,
}

impl Letters {
    pub(super) fn open(folder: &Path) -> tantivy::Result<Self> {
        let index = Index::builder().schema(FIELDS.schema.clone()).open_or_create(Folder::open(folder)?)?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .doc_store_cache_num_blocks(CACHED_BLOCKS)
            .try_into()?;
        Ok(Self { index, reader, writing: Mutex::default() })
    }

    /// Keeps letters; one with the id of an earlier one replaces it.
    pub(super) fn write(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        if let Some(letter) = letters.iter().find(|letter| letter.id.is_empty() || letter.id.len() > MAX_ID_BYTES) {
            let text = format!("a dead letter's id has {} bytes; 1 to {MAX_ID_BYTES} are possible", letter.id.len());
            return Err(WriteError::Refused(text));
        }
        if letters.is_empty() {
            return Ok(());
        }
        self.keep(letters).map_err(unavailable)
    }

    fn keep(&self, letters: &[DeadLetter]) -> tantivy::Result<()> {
        let _writing = self.writing.lock();
        let written = milliseconds(SystemTime::now());
        let writer = self.writer()?;
        for letter in letters {
            writer.delete_term(Term::from_field_text(FIELDS.id, &letter.id));
            writer.add_document(document(letter, written)?)?;
        }
        self.finish(writer)
    }

    /// Removes letters of a pipeline.
    pub(super) fn remove(&self, pipeline: &str, ids: &[String]) -> Result<(), WriteError> {
        let remove = || {
            let _writing = self.writing.lock();
            let writer = self.writer()?;
            writer.delete_query(Box::new(with_ids(pipeline, ids)))?;
            self.finish(writer)
        };
        if ids.is_empty() { Ok(()) } else { remove().map_err(unavailable) }
    }

    /// Forgets letters that were written before a time.
    pub(super) fn delete_before(&self, horizon: SystemTime) -> tantivy::Result<()> {
        let _writing = self.writing.lock();
        let time = |time| Term::from_field_i64(FIELDS.written, time);
        let old = RangeQuery::new(Bound::Unbounded, Bound::Excluded(time(milliseconds(horizon))));
        if self.reader.searcher().search(&old, &Count)? == 0 {
            return Ok(());
        }
        let writer = self.writer()?;
        writer.delete_query(Box::new(old))?;
        self.finish(writer)
    }

    /// Letters of a pipeline, newest first.
    pub(super) fn find(&self, request: &LetterRequest, cursor: Option<&Cursor>) -> tantivy::Result<LetterPage> {
        let searcher = self.reader.searcher();
        let found = Found::new(&searcher, request)?;
        let limit = request.limit.min(MAX_LETTERS);
        let mut page = LetterPage { total: found.letters.len() as u64, groups: found.groups, ..LetterPage::default() };
        let mut newest: Vec<(i64, String, DocAddress)> = Vec::new();
        let mut letters = found.letters;
        letters.retain(|(time, _)| cursor.is_none_or(|cursor| *time <= cursor.time));
        letters.sort_unstable_by_key(|(time, _)| std::cmp::Reverse(*time));
        // Ids are looked up where they decide, or are shown.
        for same in letters.chunk_by(|(one, _), (other, _)| one == other) {
            if newest.len() > limit {
                break;
            }
            let mut same = same
                .iter()
                .map(|(time, at)| Ok((*time, id_of(&searcher, *at)?, *at)))
                .collect::<tantivy::Result<Vec<_>>>()?;
            same.retain(|(time, id, _)| {
                cursor.is_none_or(|cursor| *time < cursor.time || id.as_str() < cursor.id.as_str())
            });
            same.sort_unstable_by(|one, other| other.1.cmp(&one.1));
            newest.extend(same);
        }
        let more = newest.len() > limit;
        newest.truncate(limit);
        page.cursor =
            newest.last().filter(|_| more).map(|(time, id, _)| Cursor { time: *time, id: id.clone() }.encode());
        page.letters =
            newest.into_iter().map(|(.., at)| head(&searcher.doc(at)?)).collect::<tantivy::Result<Vec<_>>>()?;
        Ok(page)
    }

    /// Letters with their records.
    pub(super) fn whole(&self, pipeline: &str, ids: &[String]) -> tantivy::Result<Vec<DeadLetter>> {
        let searcher = self.reader.searcher();
        let found = searcher.search(&with_ids(pipeline, ids), &DocSetCollector)?;
        found.into_iter().map(|at| letter(&searcher.doc(at)?)).collect()
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

/// What a request finds: when the source got each letter, and where it is.
struct Found {
    letters: Vec<(i64, DocAddress)>,
    groups: Vec<LetterGroup>,
}

impl Found {
    fn new(searcher: &Searcher, request: &LetterRequest) -> tantivy::Result<Self> {
        let filter = &request.filter;
        let wanted_cause = filter.wanted_cause();
        let time = |time| Term::from_field_i64(FIELDS.timestamp, time);
        let mut clauses: Vec<Box<dyn Query>> = vec![
            Box::new(of_pipeline(&request.pipeline)),
            Box::new(RangeQuery::new(
                filter.span.from.map_or(Bound::Unbounded, |from| Bound::Included(time(from))),
                filter.span.to.map_or(Bound::Unbounded, |to| Bound::Excluded(time(to))),
            )),
        ];
        if filter.span.from.is_none() && filter.span.to.is_none() {
            clauses.pop();
        }
        if let Some(status) = filter.status {
            let status = Term::from_field_u64(FIELDS.status, status.into());
            clauses.push(Box::new(TermQuery::new(status, IndexRecordOption::Basic)));
        }
        let mut letters = Vec::new();
        // By the cause's number in its segment: whether it is one that is wanted, and where its counts are.
        let mut causes: HashMap<(u32, u64), Option<String>> = HashMap::new();
        let mut counts: HashMap<(String, u16), u64> = HashMap::new();
        for at in searcher.search(&BooleanQuery::intersection(clauses), &DocSetCollector)? {
            let columns = searcher.segment_reader(at.segment_ord).fast_fields();
            let Some(column) = columns.str(CAUSE)? else { continue };
            let number = column.ords().first(at.doc_id).unwrap_or_default();
            let known = causes.entry((at.segment_ord, number));
            let cause = match known {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    let mut text = String::new();
                    column.ord_to_str(number, &mut text)?;
                    new.insert(
                        Some(text)
                            .filter(|text| wanted_cause.as_ref().is_none_or(|wanted| text.contains(wanted.as_str()))),
                    )
                }
            };
            let Some(cause) = cause else { continue };
            let status = columns.u64(STATUS)?.first(at.doc_id).unwrap_or_default();
            let status = u16::try_from(status).unwrap_or_default();
            *counts.entry((cause.clone(), status)).or_default() += 1;
            letters.push((columns.i64(TIMESTAMP)?.first(at.doc_id).unwrap_or_default(), at));
        }
        let group = |((cause, status), count)| LetterGroup { cause, status, count };
        Ok(Self { letters, groups: in_order(counts.into_iter().map(group).collect()) })
    }
}

fn of_pipeline(pipeline: &str) -> TermQuery {
    TermQuery::new(Term::from_field_text(FIELDS.pipeline, pipeline), IndexRecordOption::Basic)
}

fn with_ids(pipeline: &str, ids: &[String]) -> BooleanQuery {
    let ids = TermSetQuery::new(ids.iter().map(|id| Term::from_field_text(FIELDS.id, id)));
    BooleanQuery::intersection(vec![Box::new(of_pipeline(pipeline)), Box::new(ids)])
}

fn id_of(searcher: &Searcher, at: DocAddress) -> tantivy::Result<String> {
    let mut id = String::new();
    if let Some(column) = searcher.segment_reader(at.segment_ord).fast_fields().str(ID)?
        && let Some(number) = column.ords().first(at.doc_id)
    {
        column.ord_to_str(number, &mut id)?;
    }
    Ok(id)
}

fn document(letter: &DeadLetter, written: i64) -> tantivy::Result<TantivyDocument> {
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
        size: letter.original.len() as u64,
        counted_as: letter.counted_as.as_ref().map(|counted| (counted.source.clone(), counted.offset)),
    };
    let about = serde_json::to_vec(&about).map_err(|error| TantivyError::InvalidArgument(error.to_string()))?;
    let mut document = TantivyDocument::with_capacity(letter.original.len() + about.len() + 256);
    document.add_text(FIELDS.id, &letter.id);
    document.add_text(FIELDS.pipeline, &from.pipeline);
    document.add_text(FIELDS.cause, cause(&letter.reason));
    document.add_u64(FIELDS.status, letter.status.into());
    document.add_i64(FIELDS.timestamp, from.timestamp);
    document.add_i64(FIELDS.written, written);
    document.add_bytes(FIELDS.about, &about);
    document.add_bytes(FIELDS.original, &letter.original);
    Ok(document)
}

fn bytes(document: &TantivyDocument, field: Field) -> &[u8] {
    document.get_first(field).and_then(|value| value.as_bytes()).unwrap_or_default()
}

fn read(document: &TantivyDocument) -> tantivy::Result<(LetterHead, Option<CountedAs>)> {
    let about: About = serde_json::from_slice(bytes(document, FIELDS.about))
        .map_err(|error| TantivyError::InternalError(format!("a dead letter can't be read: {error}")))?;
    let head = LetterHead {
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
        size: about.size,
    };
    Ok((head, about.counted_as.map(|(source, offset)| CountedAs { source, offset })))
}

fn head(document: &TantivyDocument) -> tantivy::Result<LetterHead> {
    Ok(read(document)?.0)
}

fn letter(document: &TantivyDocument) -> tantivy::Result<DeadLetter> {
    let (LetterHead { id, reason, status, provenance, size: _ }, counted_as) = read(document)?;
    let original = Bytes::copy_from_slice(bytes(document, FIELDS.original));
    Ok(DeadLetter { id, reason, status, provenance, counted_as, original })
}

fn unavailable(error: TantivyError) -> WriteError {
    WriteError::Unavailable(format!("dead letters can't be written: {error}"))
}

fn milliseconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
}
