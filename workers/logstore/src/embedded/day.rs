//! The index of one day.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tantivy::directory::MmapDirectory;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument};

use super::schema::{self, FIELDS};

/// What a writer holds in memory until it makes a segment of it, at most. Nothing is taken before it is needed.
const WRITER_BYTES: usize = 48 << 20;
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
        std::fs::create_dir_all(folder)?;
        let directory = MmapDirectory::open(folder)?;
        let index = Index::builder()
            .schema(FIELDS.schema.clone())
            .tokenizers(schema::tokenizers())
            .settings(schema::settings())
            .open_or_create(directory)?;
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

    pub(super) fn writer(&self) -> tantivy::Result<IndexWriter<TantivyDocument>> {
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
