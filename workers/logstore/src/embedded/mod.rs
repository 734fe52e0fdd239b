//! Logs in a folder of this machine, for a single process.
//!
//! ```text
//! <folder>/lock                 held by the process that has the store open
//! <folder>/wal/wal-….log        what is acknowledged, and is in no index yet
//! <folder>/days/2024-08-16/     an index of the logs of one UTC day of their own time
//! <folder>/dead-letters/        an index of the dead letters
//! ```
//!
//! # Writing
//! A write is read and checked where it comes from; one thread (`intake`) tells new records from known ones and brings
//! them to the write-ahead log, which is what makes them durable; another one (`indexer`) brings them into the indices
//! of their days within a second. Each day costs a commit, and that a dozen waits for the disk: logs of hundreds of days
//! that come at once are found later than others, but are as safe. When the indices can't be written (a full disk), logs are taken for as long as there
//! is room for them in memory and in the log. Then writes are refused as [`WriteError::Unavailable`] until there is.
//!
//! # Retention
//! A day is deleted as a whole when nothing has been written to it for the retention. It counts from when logs came, not
//! from when they happened: who reads in an old file sees its logs for as long as any others, and a late log does not
//! vanish at once. For logs that come as they happen there is no difference.

mod any_token;
mod complement;
mod day;
mod days;
mod folder;
mod histogram;
mod ids;
mod indexer;
mod intake;
mod letters;
mod opening;
mod page;
mod pending;
mod query;
mod schema;
mod segments;
mod tokens;
mod wal;
mod writers;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::cursor::Cursor;
use crate::limits::FIELDS_SAMPLE;
use crate::q::Query;
use crate::{
    DeadLetter, DeadLetters, FieldSummary, Histogram, LetterPage, LetterRequest, LogStore, Outcome, Records,
    SearchError, SearchPage, SearchRequest, TimeSpan, WriteError, facets,
};
use days::Days;
use intake::Write;
use letters::Letters;
pub use opening::{EmbeddedError, EmbeddedOptions};
use pending::{Pending, Prepared};
use wal::Wal;
#[cfg(any(test, fuzzing))]
pub(crate) use wal::read_segment;

/// A larger write, in bytes of sources, is refused; and writes that are under way together are not larger either.
const MAX_WRITE: usize = 64 << 20;
/// The unit in which room for writes is given out.
const ROOM_UNIT: usize = 1 << 10;
/// So many writes wait at most to be acknowledged.
const QUEUE: usize = 256;

/// The store.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    /// None once it is closed.
    running: Mutex<Option<Running>>,
    searches: Arc<Semaphore>,
    /// Room for writes that are under way.
    room: Arc<Semaphore>,
}

struct Running {
    writes: mpsc::Sender<Write>,
    threads: Vec<JoinHandle<()>>,
    /// Held for as long as the threads are there.
    _lock: File,
}

/// What searches and both threads have in common. `wal` is locked before `pending` by who needs both.
struct Shared {
    days: Days,
    letters: Letters,
    wal: Mutex<Wal>,
    pending: Mutex<Pending>,
    /// Something about `pending` is not as it was.
    changed: Condvar,
    /// In seconds.
    retention: AtomicU64,
}

impl EmbeddedStore {
    /// Opens the store in a folder, which is made if it is not there. What was acknowledged before is there at once, and
    /// is found within a second.
    ///
    /// # Errors
    /// When the folder is in use, or can't be read or written.
    pub fn open(folder: &Path, options: EmbeddedOptions) -> Result<Arc<Self>, EmbeddedError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| EmbeddedError::Io { path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let lock = opening::locked(folder)?;
        let days = Days::open(&folder.join("days")).map_err(failed(folder))?;
        let path = folder.join("dead-letters");
        let letters = Letters::open(&path).map_err(|source| EmbeddedError::Index { path, source })?;
        let mut pending = Pending::default();
        let path = folder.join("wal");
        let wal = opening::recover(&path, &days, &mut pending).map_err(failed(&path))?;
        folder::sync(folder).map_err(failed(folder))?;
        let shared = Arc::new(Shared {
            days,
            letters,
            wal: Mutex::new(wal),
            pending: Mutex::new(pending),
            changed: Condvar::new(),
            retention: AtomicU64::new(options.retention.as_secs()),
        });
        let (writes, received) = mpsc::channel(QUEUE);
        let (of_intake, of_indexer) = (Arc::clone(&shared), Arc::clone(&shared));
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(failed(folder))
        };
        let threads = vec![
            spawn("log-intake", Box::new(move || intake::run(&of_intake, received)))?,
            spawn("log-indexer", Box::new(move || indexer::run(&of_indexer)))?,
        ];
        // Searches are work for the processor: more of them at a time are not quicker.
        let searches = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Arc::new(Self {
            shared,
            running: Mutex::new(Some(Running { writes, threads, _lock: lock })),
            searches: Arc::new(Semaphore::new(searches)),
            room: Arc::new(Semaphore::new(MAX_WRITE / ROOM_UNIT)),
        }))
    }

    /// Keeps logs for another time from now on.
    pub fn set_retention(&self, retention: Duration) {
        self.shared.retention.store(retention.as_secs(), Ordering::Relaxed);
        // Under the lock, so that who is about to wait does not miss it.
        let _pending = self.shared.pending.lock();
        self.shared.changed.notify_all();
    }

    /// Ends all work in the background. Everything acknowledged is durable; what is not indexed yet will be when the
    /// store is opened again. Writes are refused from now on.
    pub async fn close(&self) {
        if let Some(stop) = self.stop() {
            let _ = tokio::task::spawn_blocking(stop).await;
        }
    }

    /// What is to be done, on a thread that may wait, to stop.
    fn stop(&self) -> Option<impl FnOnce() + Send + 'static> {
        let Running { writes, threads, _lock: lock } = self.running.lock().take()?;
        let shared = Arc::clone(&self.shared);
        Some(move || {
            shared.pending.lock().stopping = true;
            shared.changed.notify_all();
            drop(writes);
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the log store had panicked");
                }
            }
            drop(lock);
        })
    }

    /// Does something with the letters where it holds up nobody.
    async fn with_letters(
        &self,
        work: impl FnOnce(&Letters) -> Result<(), WriteError> + Send + 'static,
    ) -> Result<(), WriteError> {
        let shared = Arc::clone(&self.shared);
        let writing = tokio::task::spawn_blocking(move || work(&shared.letters));
        writing.await.map_err(|error| WriteError::Unavailable(error.to_string()))?
    }

    /// Does the work of a search where it holds up nobody.
    async fn search_apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> tantivy::Result<T> + Send + 'static,
    ) -> Result<T, SearchError> {
        let unavailable = |text: String| SearchError::Unavailable(text);
        let permit =
            Arc::clone(&self.searches).acquire_owned().await.map_err(|error| unavailable(error.to_string()))?;
        let shared = Arc::clone(&self.shared);
        let searching = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&shared)
        });
        let result = searching.await.map_err(|error| unavailable(error.to_string()))?;
        result.map_err(|error| unavailable(error.to_string()))
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        if let Some(stop) = self.stop() {
            stop();
        }
    }
}

#[async_trait]
impl DeadLetters for EmbeddedStore {
    async fn write_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        let written = letters.to_vec();
        self.with_letters(move |letters| letters.write(&written)).await
    }

    async fn dead_letters(&self, request: &LetterRequest) -> Result<LetterPage, SearchError> {
        let cursor = request.cursor.as_deref().map(Cursor::decode).transpose()?;
        let request = request.clone();
        self.search_apart(move |shared| shared.letters.find(&request, cursor.as_ref())).await
    }

    async fn whole_dead_letters(&self, pipeline: &str, ids: &[String]) -> Result<Vec<DeadLetter>, SearchError> {
        let (pipeline, ids) = (pipeline.to_owned(), ids.to_vec());
        self.search_apart(move |shared| shared.letters.whole(&pipeline, &ids)).await
    }

    async fn replace_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        self.write_dead_letters(letters).await
    }

    async fn remove_dead_letters(&self, pipeline: &str, ids: &[String]) -> Result<(), WriteError> {
        let (pipeline, ids) = (pipeline.to_owned(), ids.to_vec());
        self.with_letters(move |letters| letters.remove(&pipeline, &ids)).await
    }
}

#[async_trait]
impl LogStore for EmbeddedStore {
    async fn write(&self, records: &Records) -> Result<Vec<Outcome>, WriteError> {
        let bytes = records.bytes();
        if bytes > MAX_WRITE {
            return Err(WriteError::TooLarge(format!("it has {bytes} bytes; {MAX_WRITE} are possible")));
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let closed = || WriteError::Unavailable("it is closed".to_owned());
        let writes = self.running.lock().as_ref().map(|running| running.writes.clone()).ok_or_else(closed)?;
        // Whatever the size, it is at most all the room that there is.
        let units = (bytes / ROOM_UNIT) as u32;
        let room = Arc::clone(&self.room).acquire_many_owned(units).await.map_err(|_| closed())?;
        let records = records.clone();
        let prepare = move || (0..records.len()).map(|index| Prepared::new(records.record(index))).collect();
        let records = tokio::task::spawn_blocking(prepare).await.map_err(|_| closed())?;
        let (reply, outcomes) = oneshot::channel();
        writes.send(Write { records, bytes, reply, room }).await.map_err(|_| closed())?;
        drop(writes);
        outcomes.await.map_err(|_| closed())?
    }

    async fn search(&self, request: &SearchRequest) -> Result<SearchPage, SearchError> {
        let cursor = request.cursor.as_deref().map(Cursor::decode).transpose()?;
        let request = request.clone();
        self.search_apart(move |shared| page::page(&shared.days, &request, cursor.as_ref())).await
    }

    async fn histogram(&self, query: &Query, span: TimeSpan, interval: i64) -> Result<Histogram, SearchError> {
        let buckets = facets::empty_buckets(span, interval)?;
        let query = query.clone();
        self.search_apart(move |shared| histogram::count(&shared.days, &query, span, interval, buckets)).await
    }

    async fn fields(&self, query: &Query, span: TimeSpan) -> Result<Vec<FieldSummary>, SearchError> {
        let query = query.clone();
        let logs = self.search_apart(move |shared| page::newest(&shared.days, &query, span, FIELDS_SAMPLE)).await?;
        Ok(facets::summarise(logs.iter().map(|log| &log.entry)))
    }
}
