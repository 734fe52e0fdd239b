//! The write-ahead log: what is acknowledged is in it, on the disk, until the indices have it.
//!
//! Segments are files `wal-<number>.log`: 8 bytes of magic, then frames. A frame is the records of a group of writes:
//! `u32` length and `u32` CRC-32 (IEEE) of the content, both little-endian, then for each record its timestamp (`i64`),
//! its id and its source, each after its length (`u32`).
//!
//! What follows a frame that is not whole is not read: it was never acknowledged, or the disk has lost it. Numbers grow
//! as long as the folder lives (they begin with the time, in case the log is deleted), since indices say by them which
//! segments they have.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes};

use super::folder;
use crate::Record;

const MAGIC: &[u8; 8] = b"TFRLLOG1";
const HEADER: usize = 8;
/// The longest frame that can be: no write is as large.
const MAX_FRAME: usize = 1 << 30;

/// The log, and the segment that is written.
#[derive(Debug)]
pub(super) struct Wal {
    folder: PathBuf,
    number: u64,
    /// None when the last write has failed: what comes next must not stand behind half a frame.
    file: Option<File>,
    length: u64,
    frame: Vec<u8>,
}

impl Wal {
    /// Hands over all records that are there, each with the number of its segment, and goes on in a new segment.
    pub(super) fn open(folder: &Path, mut each: impl FnMut(u64, Record) -> io::Result<()>) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut last = 0;
        for number in segments(folder)? {
            last = number;
            let segment = BufReader::with_capacity(1 << 18, File::open(path_of(folder, number))?);
            if let Some(damage) = read_segment(segment, |record| each(number, record))? {
                tracing::info!(path = %path_of(folder, number).display(), damage, "the write-ahead log ends early");
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
        let number = u64::try_from(now).unwrap_or(0).max(last + 1);
        let mut wal = Self { folder: folder.to_owned(), number, file: None, length: 0, frame: Vec::new() };
        wal.create()?;
        Ok(wal)
    }

    fn create(&mut self) -> io::Result<()> {
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).open(path_of(&self.folder, self.number))?;
        file.write_all(MAGIC)?;
        file.sync_all()?;
        folder::sync(&self.folder)?;
        self.file = Some(file);
        self.length = MAGIC.len() as u64;
        Ok(())
    }

    /// Brings records to the disk. On an error none of them counts.
    pub(super) fn append<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> io::Result<()> {
        if self.file.is_none() {
            self.rotate()?;
        }
        let Some(file) = &mut self.file else { return Err(io::Error::other("there is no segment")) };
        self.frame.clear();
        self.frame.resize(HEADER, 0);
        for record in records {
            self.frame.extend_from_slice(&record.timestamp.to_le_bytes());
            for part in [record.id.as_bytes(), &record.source] {
                // A write is far smaller than what a u32 can count.
                self.frame.extend_from_slice(&(part.len() as u32).to_le_bytes());
                self.frame.extend_from_slice(part);
            }
        }
        let (header, content) = self.frame.split_at_mut(HEADER);
        header[..4].copy_from_slice(&(content.len() as u32).to_le_bytes());
        header[4..].copy_from_slice(&crc32fast::hash(content).to_le_bytes());
        if let Err(error) = file.write_all(&self.frame).and_then(|()| file.sync_data()) {
            // Whatever of it stays is read after a crash as if it had been acknowledged, which does no harm.
            let _ = file.set_len(self.length);
            self.file = None;
            return Err(error);
        }
        self.length += self.frame.len() as u64;
        Ok(())
    }

    /// Goes on in a new segment, and gives its number: all that was written before is in segments below it.
    pub(super) fn rotate(&mut self) -> io::Result<u64> {
        self.number += 1;
        self.file = None;
        self.create()?;
        Ok(self.number)
    }

    /// Deletes the segments below a number.
    pub(super) fn delete_before(&self, number: u64) -> io::Result<()> {
        for old in segments(&self.folder)?.into_iter().take_while(|old| *old < number) {
            fs::remove_file(path_of(&self.folder, old))?;
        }
        Ok(())
    }
}

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("wal-{number:016}.log"))
}

/// The numbers of all segments, from the lowest.
fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("wal-")?.strip_suffix(".log"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads a segment up to its end, or to what is no whole frame, and says what that is.
pub(crate) fn read_segment(
    mut input: impl Read,
    mut each: impl FnMut(Record) -> io::Result<()>,
) -> io::Result<Option<&'static str>> {
    let mut magic = Vec::new();
    (&mut input).take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    if magic != MAGIC {
        return Ok(Some("it does not begin like one"));
    }
    loop {
        let mut header = Vec::new();
        (&mut input).take(HEADER as u64).read_to_end(&mut header)?;
        if header.is_empty() {
            return Ok(None);
        }
        let mut header = header.as_slice();
        if header.len() < HEADER {
            return Ok(Some("it ends within the head of a frame"));
        }
        let (length, checksum) = (header.get_u32_le() as usize, header.get_u32_le());
        // No frame is empty: a length of none is what a file of zeros looks like, which some file systems leave behind.
        if length == 0 || length > MAX_FRAME {
            return Ok(Some("a frame's length is impossible"));
        }
        let mut content = Vec::new();
        (&mut input).take(length as u64).read_to_end(&mut content)?;
        if content.len() < length {
            return Ok(Some("it ends within a frame"));
        }
        if crc32fast::hash(&content) != checksum {
            return Ok(Some("a frame's checksum is wrong"));
        }
        let mut content = Bytes::from(content);
        while content.has_remaining() {
            let Some(record) = read_record(&mut content) else { return Ok(Some("a frame is of another version")) };
            each(record)?;
        }
    }
}

fn read_record(content: &mut Bytes) -> Option<Record> {
    let timestamp = content.try_get_i64_le().ok()?;
    let mut part = || {
        let length = content.try_get_u32_le().ok()? as usize;
        (length <= content.len()).then(|| content.split_to(length))
    };
    let id = String::from_utf8(part()?.into()).ok()?;
    Some(Record { id, timestamp, source: part()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn record(number: usize) -> Record {
        let source = format!("{{\"n\":\"{}\"}}", "x".repeat(number % 50));
        Record { id: format!("id-{number}"), timestamp: number as i64 - 3, source: source.into() }
    }

    fn read(folder: &Path) -> Vec<Record> {
        let mut records = Vec::new();
        let keep = |_, record| {
            records.push(record);
            Ok(())
        };
        Wal::open(folder, keep).unwrap();
        records
    }

    #[test]
    fn records_come_back_from_all_segments() {
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<_> = (0..10).map(record).collect();
        let mut wal = Wal::open(folder.path(), |_, _| panic!("there is nothing")).unwrap();
        let first = wal.number;
        wal.append(records[..4].iter()).unwrap();
        assert_eq!(wal.rotate().unwrap(), first + 1);
        wal.append(records[4..5].iter()).unwrap();
        wal.append(records[5..].iter()).unwrap();
        drop(wal);
        let mut found = Vec::new();
        let keep = |segment, record| {
            found.push((segment - first, record));
            Ok(())
        };
        let wal = Wal::open(folder.path(), keep).unwrap();
        let expected: Vec<_> = records.iter().enumerate().map(|(n, it)| (u64::from(n >= 4), it.clone())).collect();
        assert_eq!(found, expected);
        wal.delete_before(first + 1).unwrap();
        assert_eq!(read(folder.path()), records[4..]);
    }

    #[test]
    fn what_could_not_be_written_is_not_there_and_what_follows_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = Wal::open(folder.path(), |_, _| Ok(())).unwrap();
        wal.append([record(1)].iter()).unwrap();
        // A file that can't be written to.
        wal.file = Some(File::open(path_of(folder.path(), wal.number)).unwrap());
        wal.append([record(2)].iter()).unwrap_err();
        wal.append([record(3)].iter()).unwrap();
        assert_eq!(read(folder.path()), [record(1), record(3)]);
    }

    proptest! {
        #[test]
        fn damage_costs_nothing_before_it(counts in proptest::collection::vec(1_usize..4, 1..6), at: prop::sample::Index, flip in 1_u8.., cut: bool) {
            let folder = tempfile::tempdir().unwrap();
            let mut wal = Wal::open(folder.path(), |_, _| Ok(())).unwrap();
            let (mut ends, mut written) = (vec![(8, 0)], Vec::new());
            for count in counts {
                let group: Vec<_> = (written.len()..written.len() + count).map(record).collect();
                wal.append(group.iter()).unwrap();
                written.extend(group);
                ends.push((wal.length as usize, written.len()));
            }
            let path = path_of(folder.path(), wal.number);
            let mut bytes = fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            fs::write(&path, &bytes).unwrap();
            let whole = ends.iter().rfind(|(end, _)| *end <= at).map_or(0, |(_, records)| *records);
            prop_assert_eq!(&read(folder.path())[..], &written[..whole]);
            // What is written from now on is behind the damage, and is read.
            let mut wal = Wal::open(folder.path(), |_, _| Ok(())).unwrap();
            wal.append([record(99)].iter()).unwrap();
            prop_assert_eq!(read(folder.path()).pop(), Some(record(99)));
        }
    }
}
