//! Opening a store: what it is told, what can go wrong, and what a process before may have left to do.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::days::Days;
use super::pending::{Pending, Prepared};
use super::wal::Wal;

/// How the store keeps logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// How long logs are kept after they were written, at least.
    pub retention: Duration,
}

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The operating system said no.
    #[error("the logs in {} can't be opened: {source}", path.display())]
    Io {
        /// What was opened.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the logs in {} are in use by another process: stop it, or choose another folder", .0.display())]
    Locked(PathBuf),
    /// An index can't be read.
    #[error("the index in {} can't be opened: {source}; move it away to start without what is in it", path.display())]
    Index {
        /// Its folder.
        path: PathBuf,
        /// What is wrong with it.
        source: tantivy::TantivyError,
    },
}

/// Takes the folder for this process.
pub(super) fn locked(folder: &Path) -> Result<File, EmbeddedError> {
    let path = folder.join("lock");
    let lock = File::create(&path).map_err(|source| EmbeddedError::Io { path: path.clone(), source })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::Locked(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(EmbeddedError::Io { path, source }),
    }
}

/// Opens the write-ahead log, and makes what is in it and in no index pending.
pub(super) fn recover(folder: &Path, days: &Days, pending: &mut Pending) -> io::Result<Wal> {
    let mut indexed: HashMap<i64, u64> = HashMap::new();
    let mut recovered = Vec::new();
    let wal = Wal::open(folder, |segment, record| {
        let prepared = match Prepared::new(record) {
            Ok(prepared) => prepared,
            Err(outcome) => {
                tracing::error!(?outcome, "a log in the write-ahead log can't be stored any more");
                return Ok(());
            }
        };
        let before = match indexed.get(&prepared.day) {
            Some(before) => *before,
            None => {
                let day = days.get(prepared.day).map_err(io::Error::other)?;
                let before = day.map_or(Ok(0), |day| day.logged_before()).map_err(io::Error::other)?;
                *indexed.entry(prepared.day).or_insert(before)
            }
        };
        // A record may be there twice, if the first time nobody was told that it was written.
        if segment >= before && pending.add_id(prepared.day, &prepared.record.id) {
            recovered.push(prepared);
        }
        Ok(())
    })?;
    pending.add(recovered);
    Ok(wal)
}
