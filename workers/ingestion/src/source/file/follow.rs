//! One file that is followed.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lane::{Book, Identity, Lane, Ledger, Mark};
use crate::positions::Kept;
use crate::record::Filling;
use crate::source::Records;
use crate::source::lines::{Line, Lines};
use crate::source::local::now;

/// Bytes at the beginning of a file that tell it from another one with the same inode.
const HEAD: usize = 256;

/// Bytes that are read from a file before the next one has its turn.
const TURN: usize = 1 << 20;

const READ_AT_ONCE: usize = 64 << 10;

/// What tells a file from others as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    device: u64,
    inode: u64,
}

impl Key {
    /// The key of the file at a path; none where it is no file.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        let metadata = fs::metadata(path)?;
        Ok(metadata.is_file().then(|| Self { device: metadata.dev(), inode: metadata.ino() }))
    }
}

/// What is kept of a file beside its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// How many bytes of the head were there when they were looked at, and their CRC-32.
    head_length: usize,
    head_crc: u32,
}

/// A file that is followed.
pub(super) struct Followed {
    pub(super) key: Key,
    /// Under which its place is kept, and from which the ids of its lines derive.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) lane: Arc<Lane>,
    /// Other content has taken its place.
    pub(super) is_replaced: bool,
    /// More of its head is known than before: what is kept about it must be kept anew.
    pub(super) has_longer_head: bool,
    about: About,
    file: File,
    lines: Lines,
    filling: Filling,
    /// Bytes that were read.
    read: u64,
    moved: Instant,
}

/// What reading came to.
pub(super) struct Progress {
    pub(super) has_more: bool,
}

impl Followed {
    /// Opens a file that is not known yet, at its beginning. None while it is empty: its head is what it is known by.
    pub(super) fn open(pipeline: &str, path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let head = head(&file, HEAD)?;
        if head.is_empty() {
            return Ok(None);
        }
        let about = About {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            head_length: head.len(),
            head_crc: crc32fast::hash(&head),
        };
        // The time tells it from a file that had the same inode and the same first lines before.
        let name = format!("{:x}-{:x}-{:08x}", now(), about.inode, about.head_crc);
        Ok(Some(Self::at(pipeline, name, about, file, 0, Ledger::default(), None)))
    }

    /// Goes on with a file, or with the copy that was made of it before it was cut off. None where both are gone.
    pub(super) fn resume(pipeline: &str, name: &str, kept: &Kept) -> io::Result<Option<Self>> {
        let Ok(mut about) = serde_json::from_value::<About>(kept.about.clone()) else { return Ok(None) };
        let position = u64::try_from(kept.position).unwrap_or(0);
        let found = match find(&about)? {
            Some(path) => Some((File::open(&path)?, path)),
            None => None,
        };
        let (mut file, path) = match found {
            Some((file, path)) if file.metadata()?.len() >= position && has_head(&file, &about)? => (file, path),
            _ => match copy(&about, position)? {
                Some(copy) => copy,
                None => return Ok(None),
            },
        };
        let metadata = file.metadata()?;
        about = About { path, device: metadata.dev(), inode: metadata.ino(), ..about };
        file.seek(SeekFrom::Start(position))?;
        Ok(Some(Self::at(pipeline, name.to_owned(), about, file, position, kept.ledger, kept.watermark)))
    }

    /// Whether what is kept is about the file with this key.
    pub(super) fn is_about(kept: &Kept, key: Key) -> bool {
        serde_json::from_value::<About>(kept.about.clone())
            .is_ok_and(|about| key == Key { device: about.device, inode: about.inode })
    }

    fn at(
        pipeline: &str,
        name: String,
        about: About,
        file: File,
        position: u64,
        ledger: Ledger,
        watermark: Option<i64>,
    ) -> Self {
        let book = Book::new(about.path.display().to_string(), 0, ledger, watermark);
        let start = i64::try_from(position).unwrap_or(i64::MAX);
        let origin = Some(format!("{pipeline}/file/{name}"));
        let lane = Lane::new(book, Identity::Offset(name.clone()), origin, start, None);
        Self {
            key: Key { device: about.device, inode: about.inode },
            name,
            path: about.path.clone(),
            lane,
            is_replaced: false,
            has_longer_head: false,
            about,
            file,
            lines: Lines::at(start),
            filling: Filling::default(),
            read: position,
            moved: Instant::now(),
        }
    }

    /// What to keep beside the place.
    pub(super) fn about(&self) -> Value {
        // A struct of texts and numbers always has JSON.
        serde_json::to_value(&self.about).unwrap_or_default()
    }

    /// How long nothing new has come.
    pub(super) fn idle(&self) -> Duration {
        self.moved.elapsed()
    }

    /// Hands over what is new, up to a turn.
    pub(super) fn read(&mut self, records: &Records) -> io::Result<Progress> {
        let length = self.file.metadata()?.len();
        if length == self.read || self.is_replaced {
            return Ok(Progress { has_more: false });
        }
        if length < self.read || !has_head(&self.file, &self.about)? {
            self.is_replaced = true;
            self.read_copy(records)?;
            return Ok(Progress { has_more: false });
        }
        self.moved = Instant::now();
        if self.about.head_length < HEAD {
            // The longer the head, the surer it tells.
            let head = head(&self.file, HEAD)?;
            (self.about.head_length, self.about.head_crc) = (head.len(), crc32fast::hash(&head));
            self.has_longer_head = true;
        }
        let has_more = self.read_on(records, TURN)?;
        Ok(Progress { has_more })
    }

    /// Hands over what is there, up to so many bytes. False at the end of the file.
    fn read_on(&mut self, records: &Records, limit: usize) -> io::Result<bool> {
        let mut buffer = vec![0; READ_AT_ONCE];
        let mut turn = 0;
        while turn < limit && !records.is_closed() {
            let count = self.file.read(&mut buffer)?;
            if count == 0 {
                return Ok(false);
            }
            turn += count;
            self.read += count as u64;
            self.lines.push(&buffer[..count]);
            while self.hand_over(records, None) {}
        }
        Ok(true)
    }

    /// What was written before the file was cut off, and had not been read by then, is in the copy that was made first.
    fn read_copy(&mut self, records: &Records) -> io::Result<()> {
        let place = u64::try_from(self.lines.place()).unwrap_or(0);
        let Some((mut file, _)) = copy(&self.about, place)? else { return Ok(()) };
        file.seek(SeekFrom::Start(place))?;
        (self.file, self.read, self.lines) = (file, place, Lines::at(self.lines.place()));
        self.read_on(records, usize::MAX)?;
        Ok(())
    }

    /// Hands over a last line without an end: none will come.
    pub(super) fn finish(&mut self, records: &Records) {
        if let Some(rest) = self.lines.rest() {
            self.hand_over(records, Some(rest));
        }
    }

    /// Hands over a chunk of lines. False where there are no more.
    fn hand_over(&mut self, records: &Records, first: Option<Line>) -> bool {
        let mut line = first;
        let mut end = None;
        while !self.filling.is_full() {
            let Some(Line { start, next, bytes }) = line.take().or_else(|| self.lines.next()) else { break };
            self.filling.push(&self.lane, Mark { offset: start, timestamp: now(), crc: 0 }, next, &bytes);
            end = Some(next);
        }
        let (Some(end), Some(chunk)) = (end, self.filling.take()) else { return false };
        self.lane.hand_over(end);
        // Closed when the pipeline stops: then it is read again.
        records.blocking_send(chunk).is_ok()
    }
}

/// Where a file is now: at its path, or beside it.
fn find(about: &About) -> io::Result<Option<PathBuf>> {
    let key = Some(Key { device: about.device, inode: about.inode });
    if Key::of(&about.path).ok().flatten() == key {
        return Ok(Some(about.path.clone()));
    }
    Ok(beside(about)?.find(|path| Key::of(path).ok().flatten() == key))
}

/// The copy that was made of a file before it was cut off: it lies beside it, its name begins with the file's, it begins
/// as the file did, and a line ends in it where the next one is wanted.
fn copy(about: &About, place: u64) -> io::Result<Option<(File, PathBuf)>> {
    let Some(name) = about.path.file_name().map(|name| name.to_string_lossy().into_owned()) else { return Ok(None) };
    for path in beside(about)? {
        let is_named_alike = path.file_name().is_some_and(|other| other.to_string_lossy().starts_with(&name));
        let is_other = Key::of(&path).is_ok_and(|key| key.is_some_and(|key| key.inode != about.inode));
        if !is_named_alike || !is_other {
            continue;
        }
        // What can't be read is no copy for us.
        let Ok(file) = File::open(&path) else { continue };
        let mut before = [b'\n'];
        if place > 0 && file.read_at(&mut before, place - 1)? == 0 {
            continue;
        }
        if before == [b'\n'] && has_head(&file, about)? {
            return Ok(Some((file, path)));
        }
    }
    Ok(None)
}

/// What lies in a file's folder. Without the folder nobody knows: it may be mounted later.
fn beside(about: &About) -> io::Result<impl Iterator<Item = PathBuf> + use<>> {
    let folder = about.path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder.unwrap_or(Path::new(".")))?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths.into_iter())
}

fn head(file: &File, length: usize) -> io::Result<Vec<u8>> {
    let mut head = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut head[filled..], filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    head.truncate(filled);
    Ok(head)
}

fn has_head(file: &File, about: &About) -> io::Result<bool> {
    let head = head(file, about.head_length)?;
    Ok(head.len() == about.head_length && crc32fast::hash(&head) == about.head_crc)
}
