//! A folder as the library's directory of an index.
//!
//! It is the library's own in all but one thing. That keeps a list of the files it has made, to know which of them it may
//! delete, and brings the list to the disk for each file; with many days written at once that is most of the waiting. But
//! all files in our folders are its own, so the list of them is made by looking, and lives in memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    Directory, DirectoryLock, FileHandle, Lock, MmapDirectory, WatchCallback, WatchHandle, WritePtr,
};

/// The list, in the library's eyes.
const LIST: &str = ".managed.json";

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    directory: MmapDirectory,
    list: Arc<Mutex<Vec<u8>>>,
}

impl Folder {
    /// Opens a folder, which is made if it is not there, durably.
    pub(super) fn open(path: &Path) -> tantivy::Result<Self> {
        if !path.exists() {
            fs::create_dir_all(path)?;
            if let Some(parent) = path.parent() {
                sync(parent)?;
            }
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(path)? {
            let name = entry?.file_name();
            if !name.as_encoded_bytes().starts_with(b".") {
                files.push(PathBuf::from(name));
            }
        }
        let list = serde_json::to_vec(&files).map_err(io::Error::other)?;
        Ok(Self { directory: MmapDirectory::open(path)?, list: Arc::new(Mutex::new(list)) })
    }
}

/// Brings what has become of the names in a folder to the disk.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

impl Directory for Folder {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.directory.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.directory.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.directory.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        self.directory.open_write(path)
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        if path == Path::new(LIST) { Ok(self.list.lock().clone()) } else { self.directory.atomic_read(path) }
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        if path == Path::new(LIST) {
            *self.list.lock() = data.to_vec();
            return Ok(());
        }
        self.directory.atomic_write(path, data)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.directory.sync_directory()
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.directory.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.directory.watch(callback)
    }
}
