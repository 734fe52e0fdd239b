//! What sources that give nothing twice have in common: one lane, whose account is kept in the pipeline's folder.

use std::sync::Arc;

use serde_json::Value;

use super::{Checkpoint, Intake};
use crate::config::{PipelineConfig, StartError};
use crate::lane::{Book, Lane, Mark};
use crate::positions::Positions;
use crate::random::seed;
use crate::record::{Filling, Ticket};

/// Opens the file of places of a pipeline.
pub(super) fn positions(config: &PipelineConfig, intake: &Intake) -> Result<Arc<Positions>, StartError> {
    Positions::open(&config.data_dir, intake.books.clone())
        .map_err(|source| StartError::Folder { path: config.data_dir.clone(), source })
}

/// The one lane of a source.
pub(super) struct Local {
    lane: Arc<Lane>,
    positions: Arc<Positions>,
    next: i64,
}

impl Local {
    /// `kind` is the source's, such as `http`.
    pub(super) fn new(kind: &str, config: &PipelineConfig, intake: &Intake) -> Result<Self, StartError> {
        let positions = positions(config, intake)?;
        let kept = positions.unclaimed().remove(kind);
        let ledger = kept.as_ref().map(|kept| kept.ledger).unwrap_or_default();
        let book = Book::new(kind, 0, ledger, kept.and_then(|kept| kept.watermark));
        book.set_lag(0);
        // No other run of any pipeline has the same prefix.
        let prefix = format!("{:x}-{:016x}", jiff::Timestamp::now().as_millisecond(), seed());
        let lane = Lane::without_replay(book, prefix);
        positions.keep(kind, lane.clone(), Value::Null);
        Ok(Self { lane, positions, next: 0 })
    }

    /// Notes the account after each batch, before anybody is told of it.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        let positions = self.positions.clone();
        Arc::new(move || positions.save(false))
    }

    /// Adds a record to those that are handed over next.
    pub(super) fn push(&mut self, filling: &mut Filling, payload: &[u8], timestamp: i64) {
        let (mark, next) = self.number(timestamp);
        filling.push(&self.lane, mark, next, payload);
    }

    /// Adds a record that somebody waits for, with the id that its sender chose, if any. Gives the record's id.
    pub(super) fn push_for(
        &mut self,
        filling: &mut Filling,
        ticket: (&Arc<Ticket>, usize),
        id: Option<String>,
        payload: &[u8],
        timestamp: i64,
    ) -> String {
        let (mark, next) = self.number(timestamp);
        let shown = id.clone().unwrap_or_else(|| {
            let mut id = String::new();
            self.lane.write_id(mark, &mut id);
            id
        });
        filling.push_for(ticket, id, (&self.lane, mark, next), payload);
        shown
    }

    fn number(&mut self, timestamp: i64) -> (Mark, i64) {
        let offset = self.next;
        self.next += 1;
        self.lane.hand_over(self.next);
        (Mark { offset, timestamp, crc: 0 }, self.next)
    }

    /// Notes the account for good.
    pub(super) fn save(&self) {
        self.positions.save(true);
    }

    /// Waits until the pipeline has stopped, and notes the account for good.
    pub(super) async fn close(&self, intake: &Intake) {
        intake.drained.cancelled().await;
        self.save();
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Nanoseconds since 1970.
pub(super) fn now_nanos() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0)
}
