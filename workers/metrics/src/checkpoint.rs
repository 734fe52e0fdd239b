//! Checkpoints: the store's content in one file, so that the log before it can go and a restart is quick.
//!
//! A file `checkpoint-<number>` belongs before the log segment of the same number: 8 bytes of magic, then records as in
//! [`crate::frame`]. The first holds positions and descriptions, the last the number of series; those between hold series
//! of one shard each. Shards are written one after the other while batches go on coming; each record says from which
//! record of the log on its shard is still to be updated.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::codec::{Malformed, Reader, put_f64, put_len, put_str, put_u64};
use crate::error::StoreError;
use crate::frame::{self, FrameError, FrameReader};
use crate::index::Index;
use crate::model::Description;
use crate::record::{NewSeries, put_series, read_series};
use crate::series::Series;
use crate::state::{Descriptions, SHARDS, Shard, State, id_of, place, shard_of};
use crate::wal::{numbered, sync_directory};

const MAGIC: &[u8; 8] = b"TFRLCKP1";

/// A record with series is ended when it is larger than this.
const RECORD_BYTES: usize = 4 << 20;

const HEAD: u8 = 1;
const SERIES: u8 = 2;
const END: u8 = 3;

fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("checkpoint-{number:010}"))
}

/// Writes a checkpoint. It does not exist until it is finished.
pub(crate) struct Writer {
    directory: PathBuf,
    number: u64,
    path: PathBuf,
    output: BufWriter<File>,
    series: u64,
    bytes: u64,
}

impl Writer {
    /// Begins the checkpoint that goes before a segment of the log. `next` is the number of that segment's first record.
    pub(crate) fn begin<'a>(
        directory: &Path,
        number: u64,
        next: u64,
        positions: impl ExactSizeIterator<Item = (&'a String, &'a u64)>,
        descriptions: &Descriptions,
    ) -> Result<Self, StoreError> {
        let path = directory.join("checkpoint.tmp");
        let file = File::create(&path).map_err(StoreError::io("create", &path))?;
        let output = BufWriter::with_capacity(1 << 18, file);
        let mut writer = Self { directory: directory.to_owned(), number, path, output, series: 0, bytes: 0 };
        writer.write(MAGIC)?;
        let mut record = Vec::new();
        frame::begin(&mut record);
        record.push(HEAD);
        put_u64(&mut record, next);
        put_len(&mut record, positions.len());
        for (source, position) in positions {
            put_str(&mut record, source);
            put_u64(&mut record, *position);
        }
        put_len(&mut record, descriptions.len());
        for (metric, description) in descriptions.iter() {
            put_str(&mut record, metric);
            put_str(&mut record, &description.help);
            put_len(&mut record, description.bounds.len());
            description.bounds.iter().for_each(|bound| put_f64(&mut record, *bound));
        }
        frame::end(&mut record);
        writer.write(&record)?;
        Ok(writer)
    }

    /// Makes the records of a shard, whose content holds the effects of all records of the log before `next`.
    pub(crate) fn encode(&mut self, number: usize, next: u64, shard: &Shard, index: &Index) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let mut record = Vec::new();
        for (slot, series) in shard.iter().enumerate() {
            let id = id_of(number, slot);
            let Some((series, (metric, labels))) = series.as_deref().zip(index.describe(id)) else { continue };
            if record.is_empty() {
                frame::begin(&mut record);
                record.push(SERIES);
                put_u64(&mut record, next);
            }
            put_series(&mut record, &NewSeries { id, kind: series.kind(), metric, labels: labels.collect() });
            series.save(&mut record);
            self.series += 1;
            if record.len() >= RECORD_BYTES {
                frame::end(&mut record);
                records.push(std::mem::take(&mut record));
            }
        }
        if !record.is_empty() {
            frame::end(&mut record);
            records.push(record);
        }
        records
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.bytes += bytes.len() as u64;
        self.output.write_all(bytes).map_err(StoreError::io("write", &self.path))
    }

    /// Makes the checkpoint exist and deletes those before it. Gives its size in bytes.
    pub(crate) fn finish(mut self) -> Result<u64, StoreError> {
        let mut record = Vec::new();
        frame::begin(&mut record);
        record.push(END);
        put_u64(&mut record, self.series);
        frame::end(&mut record);
        self.write(&record)?;
        let fail = |action| StoreError::io(action, &self.path);
        let file = self.output.into_inner().map_err(|error| fail("write")(error.into_error()))?;
        file.sync_all().map_err(fail("sync"))?;
        fs::rename(&self.path, path_of(&self.directory, self.number)).map_err(fail("rename"))?;
        sync_directory(&self.directory)?;
        for old in numbered(&self.directory, "checkpoint", "")?.into_iter().filter(|old| *old < self.number) {
            let path = path_of(&self.directory, old);
            fs::remove_file(&path).map_err(StoreError::io("delete", &path))?;
        }
        Ok(self.bytes)
    }
}

/// What a checkpoint held, and where the log goes on.
pub(crate) struct Loaded {
    pub(crate) state: State,
    /// The first segment of the log that is still needed.
    pub(crate) segment: u64,
    /// The number of its first record.
    pub(crate) next: Option<u64>,
    pub(crate) bytes: u64,
}

/// Reads the latest checkpoint; an empty state where there is none.
pub(crate) fn load(directory: &Path) -> Result<Loaded, StoreError> {
    let unfinished = directory.join("checkpoint.tmp");
    if unfinished.exists() {
        fs::remove_file(&unfinished).map_err(StoreError::io("delete", &unfinished))?;
    }
    let Some(number) = numbered(directory, "checkpoint", "")?.pop() else {
        let segment = numbered(directory, "wal", ".log")?.first().copied().unwrap_or(1);
        return Ok(Loaded { state: State::default(), segment, next: None, bytes: 0 });
    };
    let path = path_of(directory, number);
    let corrupt = |detail: &str| StoreError::Corrupt { path: path.clone(), detail: detail.to_owned() };
    let file = File::open(&path).map_err(StoreError::io("open", &path))?;
    let mut input = BufReader::with_capacity(1 << 18, file);
    let mut magic = [0; 8];
    input.read_exact(&mut magic).map_err(|_| corrupt("it is too short"))?;
    if &magic != MAGIC {
        return Err(corrupt("it is not a checkpoint of this version"));
    }
    let mut reader = FrameReader::new(input);
    let mut loading = Loading::default();
    loop {
        let content = match reader.next() {
            Ok(Some(content)) => content,
            Ok(None) => return Err(corrupt("its end is missing")),
            Err(FrameError::Bad(reason)) => return Err(corrupt(reason)),
            Err(FrameError::Io(error)) => return Err(StoreError::io("read", &path)(error)),
        };
        let ended =
            loading.record(content).map_err(|Malformed| corrupt("a record is whole, but of another version"))?;
        if ended {
            break;
        }
    }
    let bytes = 8 + reader.good();
    Ok(Loaded { state: loading.state, segment: number, next: Some(loading.next), bytes })
}

#[derive(Default)]
struct Loading {
    state: State,
    next: u64,
    series: u64,
}

impl Loading {
    /// Whether the record was the last.
    fn record(&mut self, content: &[u8]) -> Result<bool, Malformed> {
        let mut reader = Reader::new(content);
        match reader.u8()? {
            HEAD => self.head(&mut reader)?,
            SERIES => {
                let next = reader.u64()?;
                while !reader.is_empty() {
                    self.series(next, &mut reader)?;
                }
            }
            END => return if reader.u64()? == self.series { Ok(true) } else { Err(Malformed) },
            _ => return Err(Malformed),
        }
        Ok(false)
    }

    fn head(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        self.next = reader.u64()?;
        self.state.read_from = [self.next; SHARDS];
        for _ in 0..reader.len()? {
            self.state.positions.insert(reader.str()?.to_owned(), reader.u64()?);
        }
        for _ in 0..reader.len()? {
            let metric = reader.str()?.to_owned();
            let help = reader.str()?.to_owned();
            let bounds = (0..reader.len()?).map(|_| reader.f64()).collect::<Result<_, _>>()?;
            self.state.descriptions.set(&metric, Description { help, bounds });
        }
        Ok(())
    }

    fn series(&mut self, next: u64, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let new = read_series(reader)?;
        let labels = new.labels.iter().copied();
        let identity = self.state.index.insert(new.id, new.kind, new.metric, labels);
        let series = Series::load(identity, new.kind, reader)?;
        let (shard, slot) = shard_of(new.id);
        place(&mut self.state.shards[shard], slot, series);
        self.state.read_from[shard] = next;
        self.series += 1;
        Ok(())
    }
}
