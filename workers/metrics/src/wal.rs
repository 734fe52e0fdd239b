//! The write-ahead log: every batch is in it before it counts.
//!
//! Segments are files `wal-<number>.log`: 8 bytes of magic, the sequence number of the first record (`u64`,
//! little-endian), then records as in [`crate::frame`]. Each batch is handed to the operating system before it is
//! acknowledged, so that nothing acknowledged is lost when the process is killed; it is brought to the disk within
//! 100 ms, which is what a loss of power may cost.
//!
//! A segment that ends in a torn record is cut before it. Whatever follows a bad record is set aside, not read: counting
//! on after a gap would say of what is lost that it was counted.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::Malformed;
use crate::error::StoreError;
use crate::frame::{FrameError, FrameReader};

const MAGIC: &[u8; 8] = b"TFRLWAL1";
const HEADER: u64 = 16;

/// The segment that is written.
#[derive(Debug)]
pub(crate) struct Wal {
    directory: PathBuf,
    number: u64,
    file: Arc<File>,
    path: PathBuf,
    length: u64,
    /// The sequence number of the next record.
    next: u64,
    /// A record could neither be written nor taken back.
    torn: bool,
}

/// What was found in the log.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// What was cut off or set aside, and why.
    pub(crate) damage: Option<String>,
}

fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("wal-{number:010}.log"))
}

/// The numbers of files `<prefix>-<number><suffix>` in a directory, sorted.
pub(crate) fn numbered(directory: &Path, prefix: &str, suffix: &str) -> Result<Vec<u64>, StoreError> {
    let fail = || StoreError::io("list", directory);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail())? {
        let name = entry.map_err(fail())?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_prefix('-')?.strip_suffix(suffix));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes what happened to names in a directory survive a loss of power.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(StoreError::io("sync", directory))
}

impl Wal {
    /// Reads all records from segment `from` on, oldest first, then goes on writing where they end. `next` is the
    /// sequence number that the first of them should have; any is fine without it.
    pub(crate) fn open(
        directory: &Path,
        from: u64,
        next: Option<u64>,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), Malformed>,
    ) -> Result<(Self, Recovered), StoreError> {
        let mut recovered = Recovered::default();
        let mut numbers = numbered(directory, "wal", ".log")?;
        numbers.retain(|number| *number >= from);
        let mut expected = next;
        let mut last = None;
        let mut rest = numbers.iter();
        for &number in &mut rest {
            let path = segment_path(directory, number);
            if last.is_some_and(|last| number != last + 1) {
                recovered.damage = Some(format!("a segment before {} is missing", path.display()));
                set_aside(&path)?;
                break;
            }
            match read_segment(&path, &mut expected, &mut recovered, &mut each)? {
                Segment::Whole => last = Some(number),
                Segment::Cut(reason) => {
                    recovered.damage = Some(format!("{}: {reason}", path.display()));
                    last = Some(number);
                    break;
                }
                Segment::Strange(reason) => {
                    recovered.damage = Some(format!("{}: {reason}", path.display()));
                    set_aside(&path)?;
                    break;
                }
            }
        }
        for &number in rest {
            set_aside(&segment_path(directory, number))?;
        }
        let next = expected.unwrap_or(0);
        let wal = match last {
            Some(number) => Self::resume(directory, number, next)?,
            None => Self::create(directory, from, next)?,
        };
        Ok((wal, recovered))
    }

    fn create(directory: &Path, number: u64, next: u64) -> Result<Self, StoreError> {
        let path = segment_path(directory, number);
        let fail = |action| StoreError::io(action, &path);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(fail("create"))?;
        file.set_len(0).map_err(fail("empty"))?;
        // On the disk before anything else: a segment without it could not be told from another program's file.
        (&file).write_all(&header(next)).and_then(|()| file.sync_all()).map_err(fail("write"))?;
        sync_directory(directory)?;
        let file = Arc::new(file);
        Ok(Self { directory: directory.to_owned(), number, file, path, length: HEADER, next, torn: false })
    }

    fn resume(directory: &Path, number: u64, next: u64) -> Result<Self, StoreError> {
        let path = segment_path(directory, number);
        let file = OpenOptions::new().append(true).open(&path).map_err(StoreError::io("open", &path))?;
        let length = file.metadata().map_err(StoreError::io("look at", &path))?.len();
        let file = Arc::new(file);
        Ok(Self { directory: directory.to_owned(), number, file, path, length, next, torn: false })
    }

    /// Writes a record, in its frame, and gives its sequence number. On an error the log is as it was before.
    pub(crate) fn append(&mut self, frame: &[u8]) -> Result<u64, StoreError> {
        if self.torn {
            self.file.set_len(self.length).map_err(StoreError::io("repair", &self.path))?;
            self.torn = false;
        }
        if let Err(error) = (&*self.file).write_all(frame) {
            self.torn = self.file.set_len(self.length).is_err();
            return Err(StoreError::io("write", &self.path)(error));
        }
        self.length += frame.len() as u64;
        self.next += 1;
        Ok(self.next - 1)
    }

    /// The sequence number of the next record.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// The segment that is written.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Bytes in the segment that is written.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// The file that is written, to be synced without holding up the next batch.
    pub(crate) fn file(&self) -> (Arc<File>, PathBuf) {
        (Arc::clone(&self.file), self.path.clone())
    }

    /// Goes on in a new segment. The one before is still to be synced.
    pub(crate) fn rotate(&mut self) -> Result<(), StoreError> {
        *self = Self::create(&self.directory, self.number + 1, self.next)?;
        Ok(())
    }
}

/// Deletes the segments before one.
pub(crate) fn delete_before(directory: &Path, number: u64) -> Result<(), StoreError> {
    for old in numbered(directory, "wal", ".log")?.into_iter().filter(|old| *old < number) {
        let path = segment_path(directory, old);
        fs::remove_file(&path).map_err(StoreError::io("delete", &path))?;
    }
    Ok(())
}

fn header(next: u64) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..].copy_from_slice(&next.to_le_bytes());
    header
}

fn set_aside(path: &Path) -> Result<(), StoreError> {
    let aside = path.with_extension("log.damaged");
    fs::rename(path, &aside).map_err(StoreError::io("set aside", path))
}

enum Segment {
    Whole,
    /// Cut before its first bad record.
    Cut(String),
    /// Not the continuation of what was read before.
    Strange(String),
}

fn read_segment(
    path: &Path,
    expected: &mut Option<u64>,
    recovered: &mut Recovered,
    each: &mut impl FnMut(u64, &[u8]) -> Result<(), Malformed>,
) -> Result<Segment, StoreError> {
    let fail = |action| StoreError::io(action, path);
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(fail("open"))?;
    let mut input = BufReader::with_capacity(1 << 18, &file);
    let mut start = Vec::new();
    (&mut input).take(HEADER).read_to_end(&mut start).map_err(fail("read"))?;
    if start.len() < HEADER as usize {
        // Killed while the segment was made: there can't be a record in it.
        let next = *expected.get_or_insert(0);
        file.set_len(0)
            .and_then(|()| (&file).rewind())
            .and_then(|()| (&file).write_all(&header(next)))
            .map_err(fail("repair"))?;
        return Ok(Segment::Whole);
    }
    let (magic, first) = start.split_at(8);
    if magic != MAGIC {
        return Err(StoreError::Corrupt {
            path: path.to_owned(),
            detail: "it is not a write-ahead log of this version".to_owned(),
        });
    }
    let first = u64::from_le_bytes(first.try_into().unwrap_or_default());
    let mut next = *expected.get_or_insert(first);
    if next != first {
        return Ok(Segment::Strange(format!("it begins with record {first}, not {next}")));
    }
    let mut reader = FrameReader::new(input);
    let outcome = loop {
        match reader.next() {
            Ok(None) => break Segment::Whole,
            Ok(Some(content)) => {
                each(next, content).map_err(|Malformed| StoreError::Corrupt {
                    path: path.to_owned(),
                    detail: format!("record {next} is whole, but of another version"),
                })?;
                next += 1;
                recovered.records += 1;
            }
            Err(FrameError::Io(error)) => return Err(fail("read")(error)),
            Err(FrameError::Bad(reason)) => break Segment::Cut(reason.to_owned()),
        }
    };
    let good = HEADER + reader.good();
    recovered.bytes += good;
    *expected = Some(next);
    if let Segment::Cut(_) = outcome {
        file.set_len(good).and_then(|()| file.sync_all()).map_err(fail("cut"))?;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests;
