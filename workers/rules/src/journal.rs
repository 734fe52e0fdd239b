//! The journal: what a restart must not lose, in one file.
//!
//! A line is what changed at once: an object of keys and their values (`null`: the key is gone), and before it the CRC-32
//! of that text in hexadecimal digits. A line counts as a whole or not at all, so that what belongs together stays
//! together whenever the process ends. The file is replaced by one with the present values when it has grown.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::value::RawValue;

/// The file is not replaced while it is smaller than this.
const SMALL: u64 = 1 << 20;

/// How often the lock is tried, and how long it is waited for in between: who had it may just be going.
const LOCK_TRIES: usize = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// Why the state can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file can't be used.
    #[error("can't {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("the folder {} is in use by another process; stop it, or name another folder", .0.display())]
    Locked(PathBuf),
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { what, path, source }
}

/// A change of one key.
pub(crate) type Change = (String, Option<String>);

/// Values by key, in memory and on disk.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    file: File,
    bytes: u64,
    values: BTreeMap<String, String>,
    /// The file may end in half a line: nothing may be added to it.
    broken: bool,
    _lock: File,
}

impl Journal {
    /// Opens the journal in a folder, which is made if it is not there. A file that is damaged is kept aside; what can be
    /// read of it is used.
    pub(crate) fn open(directory: &Path) -> Result<Self, JournalError> {
        fs::create_dir_all(directory).map_err(failed("make the folder", directory))?;
        let lock = lock(directory)?;
        let path = path_in(directory);
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let (values, damaged) = read(&content);
        if damaged > 0 {
            let aside = directory.join("state.v1.damaged");
            fs::copy(&path, &aside).map_err(failed("write", &aside))?;
            tracing::error!(
                lines = damaged,
                "the state of rules in {} is damaged; it was kept as {}, and rules go on with what can be read of it",
                path.display(),
                aside.display(),
            );
        }
        let (file, bytes) = write_all(directory, &values)?;
        Ok(Self { directory: directory.to_owned(), file, bytes, values, broken: false, _lock: lock })
    }

    /// The values.
    pub(crate) fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// Whether the last write failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Makes changes, all of them or none. They hold in memory even if they can't be written; then the next call tries
    /// again. Blocks until the disk has them.
    pub(crate) fn commit(&mut self, changes: Vec<Change>) -> Result<(), JournalError> {
        let line = line(changes.iter().map(|(key, value)| (key.as_str(), value.as_deref())));
        for (key, value) in changes {
            match value {
                Some(value) => self.values.insert(key, value),
                None => self.values.remove(&key),
            };
        }
        let live: u64 = self.values.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        if self.broken || self.bytes + line.len() as u64 > SMALL.max(4 * live) {
            let written = write_all(&self.directory, &self.values);
            self.broken = written.is_err();
            (self.file, self.bytes) = written?;
            return Ok(());
        }
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        self.broken = written.is_err();
        self.bytes += line.len() as u64;
        written.map_err(failed("write to", &path_in(&self.directory)))
    }
}

fn path_in(directory: &Path) -> PathBuf {
    directory.join("state.v1")
}

fn lock(directory: &Path) -> Result<File, JournalError> {
    let path = directory.join("lock");
    let file = File::create(&path).map_err(failed("make", &path))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
        }
    }
    Err(JournalError::Locked(directory.to_owned()))
}

fn line<'a>(changes: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let mut text = String::from("{");
    for (index, (key, value)) in changes.enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(key).to_string());
        text.push(':');
        text.push_str(value.unwrap_or("null"));
    }
    text.push('}');
    format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()))
}

/// The values of a file, and how many of its lines are damaged. Half a line at the end is none: it was never finished.
fn read(content: &[u8]) -> (BTreeMap<String, String>, usize) {
    let mut values = BTreeMap::new();
    let mut damaged = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let Some(changes) = read_line(line) else {
            damaged += 1;
            continue;
        };
        for (key, value) in changes {
            match value {
                Some(value) => values.insert(key, value),
                None => values.remove(&key),
            };
        }
    }
    (values, damaged)
}

fn read_line(line: &[u8]) -> Option<Vec<Change>> {
    let (sum, text) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(text.as_bytes()) {
        return None;
    }
    let changes: BTreeMap<String, Option<Box<RawValue>>> = serde_json::from_str(text).ok()?;
    Some(changes.into_iter().map(|(key, value)| (key, value.map(|value| value.get().to_owned()))).collect())
}

/// Replaces the file by one with these values.
fn write_all(directory: &Path, values: &BTreeMap<String, String>) -> Result<(File, u64), JournalError> {
    let (path, new) = (path_in(directory), directory.join("state.new"));
    let mut content = String::new();
    for (key, value) in values {
        content.push_str(&line(std::iter::once((key.as_str(), Some(value.as_str())))));
    }
    let mut file = File::create(&new).map_err(failed("make", &new))?;
    file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write to", &new))?;
    fs::rename(&new, &path).map_err(failed("replace", &path))?;
    // The new name must outlive a loss of power, too.
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("write to", directory))?;
    let file = OpenOptions::new().append(true).open(&path).map_err(failed("open", &path))?;
    Ok((file, content.len() as u64))
}

#[cfg(test)]
mod tests;
