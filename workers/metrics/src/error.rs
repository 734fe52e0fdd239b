//! Why the store did not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system said no. What could not be written was not counted either.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// Another process has the directory open.
    #[error("{} is in use by another process: stop it, or choose another data directory", .0.display())]
    Locked(PathBuf),
    /// A file does not hold what this version writes.
    #[error("{} can't be read ({detail}): move it away to start without the data in it", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A batch of which a part has been counted.
    #[error(
        "positions {first} to {next} of `{source_name}` can't be counted as one batch: those before {counted} are \
         counted already; send what comes from {counted} on"
    )]
    Overlap {
        /// The source.
        source_name: String,
        /// The batch's first position.
        first: u64,
        /// The position after the batch's last.
        next: u64,
        /// The first position that is not counted yet.
        counted: u64,
    },
    /// A batch, or a description, that is not valid as a whole.
    #[error("{0}")]
    Invalid(String),
}

impl StoreError {
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
