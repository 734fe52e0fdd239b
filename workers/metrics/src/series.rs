//! One series: its samples, compressed, and its running totals.

use std::sync::Arc;

use crate::chunk::{CHUNK_SAMPLES, Chunk, Encoder};
use crate::codec::{Malformed, Reader, put_f64, put_i64, put_len};
use crate::dense::DenseSeconds;
use crate::model::Kind;
use crate::sketch::Sketch;
use crate::totals::Totals;

/// The samples of a series.
///
/// Samples that come in the order of their times are appended to the open chunk. Those that come later than a younger
/// one are kept in a list, and become chunks of their own that overlap the others in time.
#[derive(Debug)]
pub(crate) struct Series {
    /// The series' name and labels by their hash: tells whether the number was given to another series.
    pub(crate) identity: u64,
    kind: Kind,
    open: Encoder,
    /// In order of time.
    sealed: Vec<Chunk>,
    late: Option<Box<Late>>,
    dense: DenseSeconds,
    /// Time and value of the latest sample; of one time the one that came last.
    newest: (i64, f64),
    totals: Totals,
}

#[derive(Debug, Default)]
struct Late {
    /// In order of arrival.
    open: Vec<(i64, f64)>,
    /// In order of arrival; each sorted by time.
    sealed: Vec<Chunk>,
}

/// The samples of a series that a query needs, taken out of the store so that it is not held up by decoding.
#[derive(Debug, Default)]
pub(crate) struct View {
    sealed: Vec<Chunk>,
    late: Vec<(i64, f64)>,
    dense: Vec<(i64, Sketch)>,
}

impl View {
    /// Samples in the window `(from, to]`. Of samples of one time the one that came last is given last.
    pub(crate) fn samples(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, f64)> + '_ {
        let sealed = self.sealed.iter().flat_map(Chunk::samples);
        sealed.chain(self.late.iter().copied()).filter(move |(time, _)| *time > from && *time <= to)
    }

    /// Samples up to a time, sorted; of those of one time only the one that came last. For running totals.
    pub(crate) fn sorted(&self, to: i64) -> Vec<(i64, f64)> {
        let mut samples: Vec<_> = self.samples(i64::MIN, to).collect();
        samples.sort_by_key(|(time, _)| *time);
        samples.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                *earlier = *later;
            }
            same
        });
        samples
    }

    /// Dense seconds that count in the window, with the times at which they do.
    pub(crate) fn dense(&self) -> &[(i64, Sketch)] {
        &self.dense
    }

    /// Samples that are decoded to read this, at most; a dense second counts as one.
    pub(crate) fn len(&self) -> usize {
        self.sealed.iter().map(|chunk| usize::from(chunk.count())).sum::<usize>() + self.late.len() + self.dense.len()
    }
}

impl Series {
    pub(crate) fn new(identity: u64, kind: Kind, bounds: &Arc<[f64]>) -> Self {
        Self {
            identity,
            kind,
            open: Encoder::default(),
            sealed: Vec::new(),
            late: None,
            dense: DenseSeconds::default(),
            newest: (i64::MIN, 0.0),
            totals: Totals::new(kind, bounds),
        }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Time and value of the latest sample.
    pub(crate) const fn newest(&self) -> (i64, f64) {
        self.newest
    }

    pub(crate) const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Begins the running totals anew, with other bounds.
    pub(crate) fn set_bounds(&mut self, bounds: &Arc<[f64]>) {
        self.totals = Totals::new(self.kind, bounds);
    }

    /// Counts a sample in the totals, and stores it.
    pub(crate) fn append(&mut self, time: i64, value: f64) {
        self.count(value);
        if time >= self.newest.0 {
            self.newest = (time, value);
        }
        if self.kind != Kind::CumulativeCounter && self.dense.take(time, value) {
            return;
        }
        if time >= self.open.last() && self.sealed.last().is_none_or(|chunk| time >= chunk.last()) {
            self.open.append(time, value);
            if self.open.count() >= CHUNK_SAMPLES {
                self.sealed.extend(self.open.seal());
            }
            return;
        }
        let late = self.late.get_or_insert_default();
        late.open.push((time, value));
        if late.open.len() == usize::from(CHUNK_SAMPLES) {
            late.seal();
        }
    }

    /// Counts a sample in the totals only: one that is not kept any more.
    pub(crate) fn count(&mut self, value: f64) {
        self.totals.add(value);
    }

    /// Takes out what a query of the window `(from, to]` needs; for running totals also the sample before it.
    pub(crate) fn view(&self, from: i64, to: i64) -> View {
        let cumulative = self.kind == Kind::CumulativeCounter;
        let is_in = |chunk: &&Chunk| chunk.first() <= to && chunk.last() > from;
        let mut sealed: Vec<Chunk> = Vec::new();
        let start = self.sealed.partition_point(|chunk| chunk.last() <= from);
        if cumulative && start > 0 {
            sealed.push(self.sealed[start - 1].clone());
        }
        sealed.extend(self.sealed[start..].iter().take_while(|chunk| chunk.first() <= to).cloned());
        if self.open.count() > 0 && self.open.first() <= to && (cumulative || self.open.last() > from) {
            sealed.extend(self.open.chunk());
        }
        let mut late = Vec::new();
        if let Some(all) = &self.late {
            sealed.extend(all.sealed.iter().filter(|chunk| cumulative || is_in(chunk)).cloned());
            late.extend(all.open.iter().filter(|(time, _)| *time <= to && (cumulative || *time > from)));
        }
        View { sealed, late, dense: self.dense.window(from, to).collect() }
    }

    /// Drops what is older than `oldest` wherever that frees memory: whole chunks and seconds.
    pub(crate) fn prune(&mut self, oldest: i64) {
        let expired = self.sealed.partition_point(|chunk| chunk.last() < oldest);
        if expired > 0 {
            self.sealed.drain(..expired);
            self.sealed.shrink_to_fit();
        }
        if self.open.last() < oldest {
            self.open = Encoder::default();
        }
        if let Some(late) = &mut self.late {
            late.sealed.retain(|chunk| chunk.last() >= oldest);
            late.open.retain(|(time, _)| *time >= oldest);
            if late.sealed.is_empty() && late.open.is_empty() {
                self.late = None;
            }
        }
        self.dense.prune(oldest);
    }

    /// Whether there is no sample.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.count() == 0 && self.sealed.is_empty() && self.late.is_none() && self.dense.is_empty()
    }

    /// Chunks, and bytes that the series takes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let sealed = |chunks: &[Chunk]| chunks.iter().map(Chunk::heap_bytes).sum::<usize>();
        let mut chunks = self.sealed.len() + usize::from(self.open.count() > 0);
        let mut bytes = size_of::<Self>() + self.open.heap_bytes() + sealed(&self.sealed) + self.dense.heap_bytes();
        if let Some(late) = &self.late {
            chunks += late.sealed.len();
            bytes += size_of::<Late>() + sealed(&late.sealed) + late.open.capacity() * size_of::<(i64, f64)>();
        }
        (chunks, bytes)
    }

    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        self.open.save(out);
        save_chunks(&self.sealed, out);
        let empty = Late::default();
        let late = self.late.as_deref().unwrap_or(&empty);
        save_chunks(&late.sealed, out);
        put_len(out, late.open.len());
        for (time, value) in &late.open {
            put_i64(out, *time);
            put_f64(out, *value);
        }
        self.dense.save(out);
        put_i64(out, self.newest.0);
        put_f64(out, self.newest.1);
        self.totals.save(out);
    }

    pub(crate) fn load(identity: u64, kind: Kind, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let open = Encoder::load(reader)?;
        let sealed = load_chunks(reader)?;
        let mut late = Late { sealed: load_chunks(reader)?, open: Vec::new() };
        for _ in 0..reader.len()? {
            late.open.push((reader.i64()?, reader.f64()?));
        }
        let late = (!late.sealed.is_empty() || !late.open.is_empty()).then(|| Box::new(late));
        let dense = DenseSeconds::load(reader)?;
        let newest = (reader.i64()?, reader.f64()?);
        let totals = Totals::load(kind, reader)?;
        Ok(Self { identity, kind, open, sealed, late, dense, newest, totals })
    }
}

impl Late {
    fn seal(&mut self) {
        // Stable: samples of one time stay in the order of their arrival.
        self.open.sort_by_key(|(time, _)| *time);
        let mut encoder = Encoder::default();
        for (time, value) in self.open.drain(..) {
            encoder.append(time, value);
        }
        self.sealed.extend(encoder.seal());
    }
}

fn save_chunks(chunks: &[Chunk], out: &mut Vec<u8>) {
    put_len(out, chunks.len());
    for chunk in chunks {
        chunk.save(out);
    }
}

fn load_chunks(reader: &mut Reader<'_>) -> Result<Vec<Chunk>, Malformed> {
    (0..reader.len()?).map(|_| Chunk::load(reader)).collect()
}

#[cfg(test)]
mod tests;
