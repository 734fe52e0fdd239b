//! Places and accounts of sources that do not keep them, in one file of the pipeline's folder.
//!
//! The file is replaced as a whole, so that position and ledger belong together (see [`crate::lane`]). It is written
//! before anybody is told that a record was taken. A process that is killed leaves the last file or the one before it;
//! it is forced to the disk when the pipeline stops, and without that a power cut may cost it. A file that can't be
//! read is put aside, and the source is read from its beginning: ids collapse what is stored already.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lane::{Books, Lane, Ledger, Snapshot};

/// A lane as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kept {
    pub(crate) position: i64,
    pub(crate) ledger: Ledger,
    pub(crate) watermark: Option<i64>,
    /// What the source needs to find it again.
    #[serde(default)]
    pub(crate) about: Value,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    /// The account of lanes that are gone for good.
    closed: Ledger,
    lanes: BTreeMap<String, Kept>,
}

/// The file of places.
pub(crate) struct Positions {
    path: PathBuf,
    books: Arc<Books>,
    lanes: Mutex<BTreeMap<String, (Arc<Lane>, Value)>>,
    /// What was kept and has no lane yet.
    unclaimed: Mutex<BTreeMap<String, Kept>>,
    /// One writer at a time.
    writing: Mutex<()>,
}

impl Positions {
    /// Opens the file of a folder, which is made where it is missing.
    ///
    /// # Errors
    /// When the folder can't be made or the file can't be read for want of rights.
    pub(crate) fn open(folder: &Path, books: Arc<Books>) -> io::Result<Arc<Self>> {
        fs::create_dir_all(folder)?;
        let path = folder.join("positions.json");
        let contents = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                let aside = path.with_extension("unreadable");
                tracing::error!(path = %path.display(), %error, "the file of places can't be read; reading all again");
                // Only for whoever wants to know what was in it.
                let _ = fs::rename(&path, aside);
                Contents::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contents::default(),
            Err(error) => return Err(error),
        };
        books.set_closed(contents.closed);
        Ok(Arc::new(Self {
            path,
            books,
            lanes: Mutex::default(),
            unclaimed: Mutex::new(contents.lanes),
            writing: Mutex::default(),
        }))
    }

    /// What was kept of lanes that nobody has claimed yet.
    pub(crate) fn unclaimed(&self) -> BTreeMap<String, Kept> {
        self.unclaimed.lock().clone()
    }

    /// Keeps a lane from now on, in place of what was kept under this key.
    pub(crate) fn keep(&self, key: &str, lane: Arc<Lane>, about: Value) {
        self.books.open(lane.book.clone());
        self.lanes.lock().insert(key.to_owned(), (lane, about));
        self.unclaimed.lock().remove(key);
    }

    /// Keeps something else about a lane from now on.
    pub(crate) fn describe(&self, key: &str, about: Value) {
        if let Some(lane) = self.lanes.lock().get_mut(key) {
            lane.1 = about;
        }
    }

    /// Forgets a lane that is gone for good. Its account stays.
    pub(crate) fn forget(&self, key: &str) {
        if let Some((lane, _)) = self.lanes.lock().remove(key) {
            self.books.close(&lane.book);
        }
        if let Some(kept) = self.unclaimed.lock().remove(key) {
            let mut closed = self.books.closed();
            closed += kept.ledger;
            self.books.set_closed(closed);
        }
    }

    /// Replaces the file by what is now. A failure is logged: then a restart reads more again than it would need to.
    pub(crate) fn save(&self, force: bool) {
        let _writing = self.writing.lock();
        if let Err(error) = self.write(force) {
            tracing::error!(path = %self.path.display(), %error, "could not write the file of places");
        }
    }

    fn write(&self, force: bool) -> io::Result<()> {
        let mut lanes = self.unclaimed.lock().clone();
        for (key, (lane, about)) in &*self.lanes.lock() {
            let Snapshot { position, ledger, watermark, .. } = lane.snapshot();
            lanes.insert(key.clone(), Kept { position, ledger, watermark, about: about.clone() });
        }
        let contents = Contents { closed: self.books.closed(), lanes };
        let temporary = self.path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&contents)?)?;
        if force {
            file.sync_all()?;
        }
        fs::rename(&temporary, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{Book, Identity};

    #[test]
    fn places_and_accounts_outlive_the_process() {
        let folder = tempfile::tempdir().expect("folder");
        let open = || {
            let books = Arc::new(Books::default());
            (Positions::open(&folder.path().join("deeper"), books.clone()).expect("open"), books)
        };
        let ledger = Ledger { indexed: 5, ..Ledger::default() };
        let lane = |position| {
            Lane::new(Book::new("file", 0, ledger, Some(7)), Identity::Offset("x".into()), None, position, None)
        };
        let (positions, _) = open();
        positions.keep("one", lane(17), serde_json::json!({"inode": 3}));
        positions.keep("two", lane(18), Value::Null);
        positions.save(true);

        let (positions, books) = open();
        let kept = positions.unclaimed();
        assert_eq!(
            kept["one"],
            Kept { position: 17, ledger, watermark: Some(7), about: serde_json::json!({"inode": 3}) }
        );
        positions.keep("one", lane(20), Value::Null);
        positions.forget("two");
        positions.save(false);
        assert_eq!(books.total().consumed(), 10);

        let (positions, books) = open();
        assert_eq!(positions.unclaimed().keys().collect::<Vec<_>>(), ["one"]);
        assert_eq!(books.total().consumed(), 5, "the account of what is gone stays");
    }

    #[test]
    fn an_unreadable_file_is_put_aside() {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join("positions.json"), "{").expect("write");
        let positions = Positions::open(folder.path(), Arc::default()).expect("open");
        assert!(positions.unclaimed().is_empty());
        assert!(folder.path().join("positions.unreadable").exists());
    }
}
