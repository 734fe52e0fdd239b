//! Batches: what is sent at once, and what becomes of it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use taffrail_crds::{Format, LogPipelineSpec};
use taffrail_logstore::{DeadLetter, Provenance, Records};

use crate::decode::canonical::{Reader, Wanted};
use crate::decode::{self, Mapped};
use crate::derive::Deriver;
use crate::lane::{Lane, Ledger, Mark, Resolved};
use crate::record::{Chunk, Fate, RawRecord};
use crate::transform::Transform;
use crate::{Delta, DeltaBatch};

/// Records of one lane in one batch.
#[derive(Debug)]
struct Part {
    lane: Arc<Lane>,
    ledger: Ledger,
    watermark: Option<i64>,
    last: Mark,
    /// Where the range begins; known once the batch is cut.
    first: i64,
    next: i64,
    deltas: Vec<Delta>,
}

/// A record of a batch: which of its chunks it is in, where there, and which part it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    chunk: u32,
    index: u32,
    part: u32,
}

/// Records that are sent at once, with everything needed to say what became of each.
#[derive(Debug)]
pub(crate) struct Batch {
    chunks: Vec<Arc<Chunk>>,
    parts: Vec<Part>,
    /// Records that came from the source.
    count: usize,
    /// What is to be written, and beside it what each of them was made of.
    pub(crate) records: Records,
    pub(crate) items: Vec<Item>,
    /// What could not be read, and what it was made of.
    pub(crate) letters: Vec<(Item, DeadLetter)>,
    /// What became of items that somebody waits for.
    fates: Vec<(Item, Fate)>,
    /// Bytes of what is to be written or kept as dead letters.
    pub(crate) bytes: usize,
    /// When the first record came.
    pub(crate) since: Instant,
}

impl Batch {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            chunks: Vec::new(),
            parts: Vec::new(),
            count: 0,
            records: Records::default(),
            items: Vec::new(),
            letters: Vec::new(),
            fates: Vec::new(),
            bytes: 0,
            since: now,
        }
    }

    /// Records that came from the source.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Closes the batch: from now on its ranges are fixed. Gives the metrics of each lane, in order of offset.
    pub(crate) fn cut(&mut self, deriver: Option<&mut Deriver>) -> Vec<(Arc<Lane>, DeltaBatch)> {
        self.parts.iter_mut().for_each(|part| part.first = part.lane.cut(part.next));
        let Some(deriver) = deriver else { return Vec::new() };
        let batches = self.parts.iter_mut().map(|part| {
            let batch = deriver.batch(std::mem::take(&mut part.deltas), part.lane.origin_of(part.first..part.next));
            (part.lane.clone(), batch)
        });
        batches.filter(|(_, batch)| !batch.is_over()).collect()
    }

    /// The item of the first record that is added of a chunk's run. The chunk, and a part for the lane, are added where
    /// they are not there yet.
    fn start(&mut self, chunk: &Arc<Chunk>, raw: RawRecord<'_>) -> Item {
        if self.chunks.last().is_none_or(|last| !Arc::ptr_eq(last, chunk)) {
            self.chunks.push(chunk.clone());
        }
        let part = self.parts.iter().rposition(|part| Arc::ptr_eq(&part.lane, raw.lane()));
        let part = part.unwrap_or_else(|| {
            self.parts.push(Part {
                lane: raw.lane().clone(),
                ledger: Ledger::default(),
                watermark: None,
                last: raw.mark(),
                first: 0,
                next: raw.head().next,
                deltas: Vec::new(),
            });
            self.parts.len() - 1
        });
        // A batch has fewer chunks and parts than records.
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Item { chunk: narrow(self.chunks.len() - 1), index: 0, part: narrow(part) }
    }

    /// The raw record of an item.
    pub(crate) fn raw(&self, item: Item) -> RawRecord<'_> {
        self.chunks[item.chunk as usize].get(item.index as usize)
    }

    /// Notes what became of an item. Whoever waits for it learns it when the batch is resolved.
    pub(crate) fn settle(&mut self, item: Item, fate: Fate) {
        let ledger = &mut self.parts[item.part as usize].ledger;
        match fate {
            Fate::Indexed => ledger.indexed += 1,
            Fate::Duplicate => ledger.deduplicated += 1,
            Fate::DeadLetter { .. } => ledger.dead_lettered += 1,
            Fate::Filtered => ledger.filtered += 1,
        }
        if self.raw(item).ticket().is_some() {
            self.fates.push((item, fate));
        }
    }

    /// Accounts for the whole batch, lets the source note it (`checkpoint`), and then tells those who wait. Every item
    /// must have been settled.
    pub(crate) fn resolve(self, checkpoint: &(dyn Fn() + Send + Sync)) {
        for part in &self.parts {
            part.lane.resolve(Resolved {
                first: part.first,
                next: part.next,
                ledger: part.ledger,
                watermark: part.watermark,
                last: part.last,
            });
        }
        checkpoint();
        for (item, fate) in &self.fates {
            if let Some((ticket, number)) = self.raw(*item).ticket() {
                ticket.tell(number, fate.clone());
            }
        }
    }
}

/// Who a dead letter says it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    /// `namespace/name`.
    pub(crate) pipeline: String,
    pub(crate) generation: i64,
}

impl Sender {
    /// A dead letter of a record.
    pub(crate) fn letter(&self, raw: RawRecord<'_>, status: u16, reason: String) -> DeadLetter {
        DeadLetter {
            id: raw.id(),
            reason,
            status,
            provenance: Provenance {
                pipeline: self.pipeline.clone(),
                generation: self.generation,
                topic: raw.lane().book.topic.clone(),
                partition: raw.lane().book.partition,
                offset: raw.mark().offset,
                timestamp: raw.mark().timestamp,
            },
            counted_as: None,
            original: raw.share(),
        }
    }
}

/// Makes batches of records: reads, transforms, derives.
pub(crate) struct Batcher {
    format: Format,
    transform: Option<Transform>,
    /// One for all batchers of a pipeline, so that they agree on which series there are.
    pub(crate) deriver: Option<Arc<Mutex<Deriver>>>,
    reader: Reader,
    sender: Sender,
    /// Entries are written here one behind the other, so that a batch is few allocations.
    buffer: BytesMut,
}

/// How far a batch may grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// What one record is.
enum Made {
    /// A log entry: the record's own bytes, or those that were written anew.
    Log {
        millis: i64,
        rewritten: Option<Bytes>,
    },
    Filtered,
}

/// What a rewritten entry may have more than the record it was made of, in most cases.
const REWRITING: usize = 256;

impl Batcher {
    /// # Errors
    /// When the transform does not compile, or a metric can't be derived.
    pub(crate) fn new(spec: &LogPipelineSpec, sender: Sender) -> Result<Self, crate::StartError> {
        let transform = spec.transform.as_deref().map(Transform::new).transpose();
        let mut wanted = Wanted::new();
        let deriver =
            if spec.metrics.is_empty() { Ok(None) } else { Deriver::new(&spec.metrics, &mut wanted).map(Some) };
        let deriver = deriver.map_err(crate::StartError::Spec)?;
        Ok(Self {
            format: spec.format,
            transform: transform.map_err(crate::StartError::Transform)?,
            deriver: deriver.map(|deriver| Arc::new(Mutex::new(deriver))),
            reader: Reader::new(wanted),
            sender,
            buffer: BytesMut::new(),
        })
    }

    /// Another one for the same pipeline. Both share what is known of derived metrics.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn another(&self, spec: &LogPipelineSpec) -> Result<Self, crate::StartError> {
        Ok(Self { deriver: self.deriver.clone(), ..Self::new(spec, self.sender.clone())? })
    }

    /// Adds records of a chunk to a batch, from one at an index on, for as long as they are of the same run and there is
    /// room. Gives the index of the first that was not added. An empty batch takes one whatever its size. Metrics are
    /// derived from a record only if it is not below the offset `derive_from`.
    pub(crate) fn add(
        &mut self,
        batch: &mut Batch,
        chunk: &Arc<Chunk>,
        from: usize,
        derive_from: i64,
        room: Room,
    ) -> usize {
        let run = chunk.run_of(from);
        let deriver = self.deriver.clone();
        let mut deriver = deriver.as_ref().map(|deriver| deriver.lock());
        let mut index = from;
        let mut item = None;
        while index < run.indices.end {
            let raw = RawRecord::of(chunk, run, index);
            let is_full = batch.count >= room.records || batch.bytes + raw.range().len() + REWRITING > room.bytes;
            if is_full && !batch.is_empty() {
                break;
            }
            let item = item.get_or_insert_with(|| batch.start(chunk, raw));
            item.index = u32::try_from(index).unwrap_or(u32::MAX);
            let deriver = deriver.as_deref_mut().filter(|_| raw.head().next > derive_from);
            self.add_one(batch, chunk, raw, *item, deriver);
            index += 1;
        }
        index
    }

    fn add_one(
        &mut self,
        batch: &mut Batch,
        chunk: &Chunk,
        raw: RawRecord<'_>,
        item: Item,
        deriver: Option<&mut Deriver>,
    ) {
        batch.count += 1;
        let to = &mut batch.parts[item.part as usize];
        (to.last, to.next) = (raw.mark(), raw.head().next);
        match self.read(raw, deriver.map(|deriver| (deriver, &mut to.deltas)), &mut batch.records) {
            Ok(Made::Log { millis, rewritten }) => {
                to.watermark = to.watermark.max(Some(millis));
                let (buffer, source) = match &rewritten {
                    Some(source) => (source, 0..source.len()),
                    None => (chunk.buffer(), raw.range()),
                };
                batch.bytes += source.len();
                batch.records.push(millis, buffer, source, |id| raw.write_id(id));
                batch.items.push(item);
            }
            Ok(Made::Filtered) => batch.settle(item, Fate::Filtered),
            Err(reason) => {
                batch.bytes += raw.payload().len();
                batch.letters.push((item, self.sender.letter(raw, 0, reason)));
            }
        }
    }

    /// What records of a lane in a chunk mean for metrics, and for nothing else. `range` are their offsets.
    pub(crate) fn derive(&mut self, lane: &Lane, chunk: &Chunk, range: Range<i64>) -> DeltaBatch {
        let Some(deriver) = self.deriver.clone() else { return DeltaBatch::default() };
        let mut deriver = deriver.lock();
        let (mut deltas, mut unwritten) = (Vec::new(), Records::default());
        for index in 0..chunk.len() {
            // What can't be read, or is filtered, means nothing to them.
            let _ = self.read(chunk.get(index), Some((&mut deriver, &mut deltas)), &mut unwritten);
        }
        deriver.batch(deltas, lane.origin_of(range))
    }

    fn read(
        &mut self,
        raw: RawRecord<'_>,
        derived: Option<(&mut Deriver, &mut Vec<Delta>)>,
        records: &mut Records,
    ) -> Result<Made, String> {
        let text = decode::text(raw.payload())?;
        let is_read_only = self.format == Format::Json && self.transform.is_none();
        let canonical = if is_read_only { self.reader.read(text, records) } else { None };
        let (millis, rewritten) = match canonical {
            Some(millis) => (millis, None),
            None => match self.rewrite(text, raw.mark().timestamp)? {
                Some((millis, source)) => (millis, Some(source)),
                None => return Ok(Made::Filtered),
            },
        };
        let text = match &rewritten {
            Some(source) => {
                // What was written is read as any other entry, so that there is one way to pick from it. It may be longer
                // than a record may be.
                let text = std::str::from_utf8(source).map_err(|error| error.to_string())?;
                if self.reader.read(text, records).is_none() {
                    serde_json::from_str::<serde_json::Value>(text)
                        .map_err(|error| format!("what was made of it can't be read again: {error}"))?;
                }
                text
            }
            None => text,
        };
        if let Some((deriver, deltas)) = derived {
            // Offsets are not negative.
            let offset = u64::try_from(raw.head().next - 1).unwrap_or_default();
            deriver.derive(self.reader.picked(text), millis, offset, deltas);
        }
        Ok(Made::Log { millis, rewritten })
    }

    /// Maps a record onto an entry, transforms it, and writes it anew. Gives when it happened, too; none where the
    /// transform drops it.
    fn rewrite(&mut self, text: &str, arrived: i64) -> Result<Option<(i64, Bytes)>, String> {
        let mut log = match self.format {
            Format::Json => decode::json(text, arrived)?,
            Format::Text => decode::line(text, arrived),
        };
        if let Some(transform) = &mut self.transform {
            match transform.run(log)? {
                Some(transformed) => log = transformed,
                None => return Ok(None),
            }
        }
        let Mapped { entry, millis } = log;
        let source = decode::write(&mut self.buffer, &entry).map_err(|error| format!("has no JSON: {error}"))?;
        Ok(Some((millis, source)))
    }
}

#[cfg(test)]
mod tests;
