//! The index of one day.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tantivy::directory::Directory as _;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher};

use super::folder::Folder;
use super::schema::{self, FIELDS};

/// What a writer holds in memory until it makes a segment of it, at most. Nothing is taken before it is needed.
const WRITER_BYTES: usize = 32 << 20;
/// How many blocks of sources (16 KiB each) are kept uncompressed for each segment that is read from.
const CACHED_BLOCKS: usize = 8;
/// The file that every commit replaces.
const META: &str = "meta.json";

/// A day's index, open for searches.
pub(super) struct Day {
    pub(super) number: i64,
    index: Index,
    reader: IndexReader,
}

impl Day {
    /// Opens the index in a folder, which is made if it is not there.
    pub(super) fn open(number: i64, folder: &Path) -> tantivy::Result<Self> {
        let index = Index::builder()
            .schema(FIELDS.schema.clone())
            .tokenizers(schema::tokenizers())
            .settings(schema::settings())
            .open_or_create(Folder::open(folder)?)?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .doc_store_cache_num_blocks(CACHED_BLOCKS)
            .try_into()?;
        Ok(Self { number, index, reader })
    }

    /// What is searchable now.
    pub(super) fn searcher(&self) -> Searcher {
        self.reader.searcher()
    }

    /// Makes what has been committed searchable.
    pub(super) fn reload(&self) -> tantivy::Result<()> {
        self.reader.reload()
    }

    /// The segments of the write-ahead log below this number are in the index, as far as they are about this day.
    pub(super) fn logged_before(&self) -> tantivy::Result<u64> {
        let payload = self.index.load_metas()?.payload;
        Ok(payload.and_then(|payload| payload.parse().ok()).unwrap_or(0))
    }

    /// Commits what a writer has been given, durably, together with the number for [`Self::logged_before`], and makes it
    /// searchable.
    pub(super) fn commit(&self, writer: &mut IndexWriter, logged_before: u64) -> tantivy::Result<()> {
        let mut commit = writer.prepare_commit()?;
        commit.set_payload(&logged_before.to_string());
        commit.commit()?;
        // The library leaves it to chance when the new state's name is on the disk; we delete the log because of it.
        self.index.directory().sync_directory()?;
        self.reload()
    }

    pub(super) fn writer(&self) -> tantivy::Result<IndexWriter> {
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(WRITER_BYTES)
            .build();
        let writer = self.index.writer_with_options(options)?;
        writer.set_merge_policy(Box::new(LogMergePolicy::default()));
        Ok(writer)
    }
}

/// When logs of a day were last written. None if there is no index in the folder.
pub(super) fn last_written(folder: &Path) -> Option<SystemTime> {
    std::fs::metadata(meta_of(folder)).and_then(|meta| meta.modified()).ok()
}

fn meta_of(folder: &Path) -> PathBuf {
    folder.join(META)
}
