//! Batches: what is sent at once, and what becomes of it.

use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut as _, Bytes, BytesMut};
use taffrail_crds::{Format, LogPipelineSpec};
use taffrail_logstore::{DeadLetter, LogEntry, Provenance, Record};

use crate::decode::canonical::{self, Wanted};
use crate::decode::{self, Mapped};
use crate::derive::Deriver;
use crate::lane::{Lane, Ledger, Mark, Resolved};
use crate::record::{Fate, RawRecord};
use crate::transform::Transform;
use crate::{Delta, DeltaBatch, Origin};

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
    /// The first offset whose metrics have not been counted yet.
    counted: i64,
    deltas: Vec<Delta>,
}

/// Records that are sent at once, with everything needed to say what became of each.
#[derive(Debug)]
pub(crate) struct Batch {
    /// What came from the source, in order, each with the part it belongs to.
    items: Vec<(usize, RawRecord)>,
    parts: Vec<Part>,
    /// What is to be written, and beside it the indices of its items.
    pub(crate) records: Vec<Record>,
    pub(crate) indices: Vec<usize>,
    /// What could not be read, and beside it the indices of its items.
    pub(crate) letters: Vec<(usize, DeadLetter)>,
    /// What became of items that somebody waits for.
    fates: Vec<(usize, Fate)>,
    /// Bytes of what is to be written or kept as dead letters.
    pub(crate) bytes: usize,
    /// When the first record came.
    pub(crate) since: Instant,
}

impl Batch {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            items: Vec::new(),
            parts: Vec::new(),
            records: Vec::new(),
            indices: Vec::new(),
            letters: Vec::new(),
            fates: Vec::new(),
            bytes: 0,
            since: now,
        }
    }

    /// Records that came from the source.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Closes the batch: from now on its ranges are fixed. Gives the metrics to push, in order of offset per lane.
    pub(crate) fn cut(&mut self) -> Vec<DeltaBatch> {
        let mut batches = Vec::new();
        for part in &mut self.parts {
            part.first = part.lane.cut(part.next);
            let deltas = std::mem::take(&mut part.deltas);
            let uncounted = part.first.max(part.counted);
            let origin = match (&part.lane.origin, u64::try_from(uncounted), u64::try_from(part.next)) {
                (Some(source), Ok(first), Ok(next)) if first < next => {
                    Some(Origin { source: source.clone(), first, next })
                }
                _ => None,
            };
            if origin.is_some() || !deltas.is_empty() {
                batches.push(DeltaBatch { origin, deltas });
            }
        }
        batches
    }

    /// The raw record of an item.
    pub(crate) fn raw(&self, item: usize) -> &RawRecord {
        &self.items[item].1
    }

    /// Notes what became of an item. Whoever waits for it learns it when the batch is resolved.
    pub(crate) fn settle(&mut self, item: usize, fate: Fate) {
        let (part, raw) = &self.items[item];
        let ledger = &mut self.parts[*part].ledger;
        match fate {
            Fate::Indexed => ledger.indexed += 1,
            Fate::Duplicate => ledger.deduplicated += 1,
            Fate::DeadLetter { .. } => ledger.dead_lettered += 1,
            Fate::Filtered => ledger.filtered += 1,
        }
        if raw.ticket.is_some() {
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
        for (item, fate) in self.fates {
            if let Some((ticket, index)) = &self.items[item].1.ticket {
                ticket.tell(*index, fate);
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
    pub(crate) fn letter(&self, raw: &RawRecord, status: u16, reason: String) -> DeadLetter {
        DeadLetter {
            id: raw.id(),
            reason,
            status,
            provenance: Provenance {
                pipeline: self.pipeline.clone(),
                generation: self.generation,
                topic: raw.lane.book.topic.clone(),
                partition: raw.lane.book.partition,
                offset: raw.mark.offset,
                timestamp: raw.mark.timestamp,
            },
            original: raw.payload.clone(),
        }
    }
}

/// Makes batches of records: reads, transforms, derives.
pub(crate) struct Batcher {
    format: Format,
    transform: Option<Transform>,
    pub(crate) deriver: Option<Deriver>,
    sender: Sender,
    /// Entries are written here one behind the other, so that a batch is few allocations.
    buffer: BytesMut,
}

/// What one record is.
enum Made {
    Log { millis: i64, source: Bytes },
    Filtered,
    Unreadable(String),
}

impl Batcher {
    /// # Errors
    /// When the transform does not compile, or a metric can't be derived.
    pub(crate) fn new(spec: &LogPipelineSpec, sender: Sender) -> Result<Self, crate::StartError> {
        let transform = spec.transform.as_deref().map(Transform::new).transpose();
        let deriver = if spec.metrics.is_empty() { Ok(None) } else { Deriver::new(&spec.metrics).map(Some) };
        Ok(Self {
            format: spec.format,
            transform: transform.map_err(crate::StartError::Transform)?,
            deriver: deriver.map_err(crate::StartError::Spec)?,
            sender,
            buffer: BytesMut::new(),
        })
    }

    /// Adds a record to a batch. Metrics are derived from it only if its offset is at or beyond `counted`.
    pub(crate) fn add(&mut self, batch: &mut Batch, raw: RawRecord, counted: i64) {
        let part = batch.parts.iter().rposition(|part| Arc::ptr_eq(&part.lane, &raw.lane)).unwrap_or_else(|| {
            batch.parts.push(Part {
                lane: raw.lane.clone(),
                ledger: Ledger::default(),
                watermark: None,
                last: raw.mark,
                first: 0,
                next: raw.next,
                counted,
                deltas: Vec::new(),
            });
            batch.parts.len() - 1
        });
        let to = &mut batch.parts[part];
        (to.last, to.next) = (raw.mark, raw.next);
        let deltas = (raw.mark.offset >= counted).then_some(&mut to.deltas);
        let made = self.make(&raw, deltas);
        if let Made::Log { millis, .. } = made {
            to.watermark = to.watermark.max(Some(millis));
        }
        let item = batch.items.len();
        match made {
            Made::Log { millis, source } => {
                batch.bytes += source.len();
                batch.records.push(Record { id: raw.id(), timestamp: millis, source });
                batch.indices.push(item);
                batch.items.push((part, raw));
            }
            Made::Filtered => {
                // Nothing of it is needed any more.
                batch.items.push((part, RawRecord { payload: Bytes::new(), ..raw }));
                batch.settle(item, Fate::Filtered);
            }
            Made::Unreadable(reason) => {
                batch.bytes += raw.payload.len();
                batch.letters.push((item, self.sender.letter(&raw, 0, reason)));
                batch.items.push((part, raw));
            }
        }
    }

    fn make(&mut self, raw: &RawRecord, deltas: Option<&mut Vec<Delta>>) -> Made {
        self.read(raw, deltas).unwrap_or_else(Made::Unreadable)
    }

    fn read(&mut self, raw: &RawRecord, deltas: Option<&mut Vec<Delta>>) -> Result<Made, String> {
        const NOTHING: &Wanted = &Wanted::new();
        let text = decode::text(&raw.payload)?;
        let arrived = raw.mark.timestamp;
        let deltas = self.deriver.as_mut().zip(deltas);
        // Offsets are not negative.
        let offset = u64::try_from(raw.mark.offset).unwrap_or_default();
        if self.format == Format::Json && self.transform.is_none() {
            let wanted = deltas.as_ref().map_or(NOTHING, |(deriver, _)| deriver.wanted());
            if let Some(canonical) = canonical::read(text, wanted) {
                if let Some((deriver, deltas)) = deltas {
                    deriver.derive(&canonical.picked, canonical.millis, offset, deltas);
                }
                return Ok(Made::Log { millis: canonical.millis, source: raw.payload.clone() });
            }
        }
        let mut log = match self.format {
            Format::Json => decode::json(text, arrived)?,
            Format::Text => decode::line(text, arrived),
        };
        if let Some(transform) = &mut self.transform {
            match transform.run(log)? {
                Some(transformed) => log = transformed,
                None => return Ok(Made::Filtered),
            }
        }
        let Mapped { entry, millis } = log;
        if let Some((deriver, deltas)) = deltas {
            let picked = canonical::pick(&entry, deriver.wanted());
            deriver.derive(&picked, millis, offset, deltas);
        }
        Ok(Made::Log { millis, source: write(&mut self.buffer, &entry)? })
    }
}

fn write(buffer: &mut BytesMut, entry: &LogEntry) -> Result<Bytes, String> {
    const CHUNK: usize = 64 << 10;
    if buffer.capacity() < 2_048 {
        buffer.reserve(CHUNK);
    }
    serde_json::to_writer(buffer.writer(), entry).map_err(|error| format!("has no JSON: {error}"))?;
    Ok(buffer.split().freeze())
}

#[cfg(test)]
mod tests;
