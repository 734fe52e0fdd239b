//! Delivery: a batch is written until every record of it is stored, kept as a dead letter, or found to be stored.
//!
//! - A record that the store refuses goes to the dead letters; one that it did not take this time is written again, and
//!   only it.
//! - Faults of the environment or of credentials stall: the whole write is repeated, with longer and longer pauses, for
//!   as long as it takes. They never make a dead letter. The batch keeps its place meanwhile, so that no more than a
//!   few batches wait in memory.
//! - A write that is too large, or refused as a whole, is halved until the record at fault is alone; that one is a dead
//!   letter.
//!
//! Delivery may be dropped at any time: then nothing of the batch is accounted for, and it is read again later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use taffrail_logstore::{DeadLetter, DeadLetters, LogStore, Outcome, Records, WriteError};

use crate::batch::{Batch, Item, Sender};
use crate::health::{self, DEAD_LETTERS_UNAVAILABLE, Health, Part, SINK_AUTH_FAILED, SINK_UNAVAILABLE};
use crate::random::{Random, seed};
use crate::record::Fate;

/// Dead letters that are written at once, at most.
const LETTERS_AT_ONCE: usize = 500;
/// Their bytes, at most, unless one has more.
const LETTER_BYTES_AT_ONCE: usize = 4 << 20;

/// How often delivery had to wait or split, since the pipeline started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Records that were written again because the store did not take them.
    pub(crate) retried: AtomicU64,
    /// Writes that failed as a whole.
    pub(crate) failed_writes: AtomicU64,
    /// Writes that went through.
    pub(crate) writes: AtomicU64,
    /// Bytes of records that the store acknowledged.
    pub(crate) bytes: AtomicU64,
}

/// Delivers batches of one pipeline.
pub(crate) struct Courier {
    pub(crate) store: Arc<dyn LogStore>,
    pub(crate) letters: Arc<dyn DeadLetters>,
    pub(crate) sender: Sender,
    pub(crate) health: Arc<Health>,
    pub(crate) counters: Arc<Counters>,
}

/// Records, and beside them their items.
type Work = (Records, Vec<Item>);

impl Courier {
    /// Writes until every item of the batch is settled.
    pub(crate) async fn deliver(&self, batch: &mut Batch) {
        let mut letters = std::mem::take(&mut batch.letters);
        let mut pause = Pause::new();
        let mut stack: Vec<Work> = Vec::new();
        let all = (std::mem::take(&mut batch.records), std::mem::take(&mut batch.items));
        if !all.0.is_empty() {
            stack.push(all);
        }
        while let Some((records, items)) = stack.pop() {
            match self.store.write(&records).await {
                Ok(outcomes) => {
                    self.counters.writes.fetch_add(1, Ordering::Relaxed);
                    if let Some(again) = self.sort(batch, &mut letters, (records, items), outcomes) {
                        stack.push(again);
                        pause.wait().await;
                    } else {
                        self.health.recover(Part::Sink);
                        pause = Pause::new();
                    }
                }
                Err(error) => {
                    self.counters.failed_writes.fetch_add(1, Ordering::Relaxed);
                    match self.react(batch, &mut letters, (records, items), &error) {
                        Reaction::Again(work) => {
                            stack.push(work);
                            pause.wait().await;
                        }
                        Reaction::Smaller(first, second) => {
                            stack.push(second);
                            stack.push(first);
                        }
                        Reaction::Settled => {}
                    }
                }
            }
        }
        self.bury(batch, letters).await;
    }

    /// Settles what the store decided, and gives back what must be written again.
    fn sort(
        &self,
        batch: &mut Batch,
        letters: &mut Vec<(Item, DeadLetter)>,
        (records, items): Work,
        mut outcomes: Vec<Outcome>,
    ) -> Option<Work> {
        if outcomes.len() != records.len() {
            // A store that does not keep its word must not cost a record.
            let reason = format!("the log store gave {} outcomes for {} records", outcomes.len(), records.len());
            outcomes = vec![Outcome::Retry { status: 0, reason }; records.len()];
        }
        let mut again = Vec::new();
        let mut bytes = records.bytes();
        let mut why = (SINK_UNAVAILABLE, String::new());
        let refused_before = letters.len();
        for (index, (item, outcome)) in items.iter().zip(outcomes).enumerate() {
            match outcome {
                Outcome::Indexed => batch.settle(*item, Fate::Indexed),
                Outcome::Duplicate => batch.settle(*item, Fate::Duplicate),
                Outcome::Refused { status, reason } => {
                    bytes -= records.get(index).source.len();
                    letters.push((*item, self.sender.letter(batch.raw(*item), status, reason)));
                }
                Outcome::Retry { status, reason } => {
                    if why.1.is_empty() {
                        why.1 = format!("the log store did not take all records (status {status}): {reason}");
                    }
                    bytes -= records.get(index).source.len();
                    again.push(index);
                }
                Outcome::Stalled { obstacle, reason } => {
                    if why.0 == SINK_UNAVAILABLE {
                        why = (health::reason_of(obstacle), format!("the log store can't take all records: {reason}"));
                    }
                    bytes -= records.get(index).source.len();
                    again.push(index);
                }
            }
        }
        let refused = letters[refused_before..].iter().map(|(_, letter)| (letter.status, letter.reason.as_str()));
        self.health.decided(records.len() - again.len(), refused);
        self.counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if again.is_empty() {
            return None;
        }
        self.counters.retried.fetch_add(again.len() as u64, Ordering::Relaxed);
        self.health.fail(Part::Sink, why.0, why.1);
        let items = again.iter().map(|index| items[*index]).collect();
        Some((records.select(again), items))
    }

    fn react(
        &self,
        batch: &Batch,
        letters: &mut Vec<(Item, DeadLetter)>,
        (records, mut items): Work,
        error: &WriteError,
    ) -> Reaction {
        match error {
            WriteError::Unavailable(_) => self.health.fail(Part::Sink, SINK_UNAVAILABLE, error.to_string()),
            WriteError::Unauthorized(_) => {
                self.health.fail(Part::Sink, SINK_AUTH_FAILED, error.to_string());
            }
            WriteError::Stalled(obstacle, _) => {
                self.health.fail(Part::Sink, health::reason_of(*obstacle), error.to_string());
            }
            WriteError::TooLarge(_) | WriteError::Refused(_) if records.len() > 1 => {
                let half = records.len() / 2;
                let second = (records.select(half..records.len()), items.split_off(half));
                return Reaction::Smaller((records.select(0..half), items), second);
            }
            WriteError::TooLarge(_) | WriteError::Refused(_) => {
                let status = if matches!(error, WriteError::TooLarge(_)) { 413 } else { 400 };
                let buried =
                    items.iter().map(|item| (*item, self.sender.letter(batch.raw(*item), status, error.to_string())));
                letters.extend(buried);
                return Reaction::Settled;
            }
        }
        Reaction::Again((records, items))
    }

    /// Writes dead letters until they are acknowledged.
    async fn bury(&self, batch: &mut Batch, letters: Vec<(Item, DeadLetter)>) {
        let mut pause = Pause::new();
        let (items, letters): (Vec<Item>, Vec<DeadLetter>) = letters.into_iter().unzip();
        let mut start = 0;
        let mut at_once = LETTERS_AT_ONCE;
        while start < letters.len() {
            let mut bytes = 0;
            let mut end = start;
            while end < letters.len() && end - start < at_once {
                bytes += letters[end].original.len();
                if end > start && bytes > LETTER_BYTES_AT_ONCE {
                    break;
                }
                end += 1;
            }
            match self.letters.write_dead_letters(&letters[start..end]).await {
                Ok(()) => {
                    self.health.recover(Part::DeadLetters);
                    for (item, letter) in items[start..end].iter().zip(&letters[start..end]) {
                        let fate = Fate::DeadLetter { status: letter.status, reason: letter.reason.clone() };
                        batch.settle(*item, fate);
                    }
                    (start, at_once) = (end, LETTERS_AT_ONCE);
                    pause = Pause::new();
                }
                Err(WriteError::TooLarge(_) | WriteError::Refused(_)) if end - start > 1 => at_once = (end - start) / 2,
                Err(error) => {
                    let message = format!("dead letters can't be written: {error}");
                    self.health.fail(Part::DeadLetters, DEAD_LETTERS_UNAVAILABLE, message);
                    pause.wait().await;
                }
            }
        }
    }
}

enum Reaction {
    Again(Work),
    Smaller(Work, Work),
    Settled,
}

/// Pauses that double, up to a limit, each by chance between half of it and all of it, so that workers do not come back
/// all at once.
pub(crate) struct Pause {
    next: Duration,
    random: Random,
}

impl Pause {
    // Tests have no time to lose.
    const FIRST: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });
    const LONGEST: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 15_000 });

    pub(crate) fn new() -> Self {
        Self { next: Self::FIRST, random: Random::new(seed()) }
    }

    fn next(&mut self) -> Duration {
        let this = self.next;
        self.next = (this * 2).min(Self::LONGEST);
        this.mul_f64(0.5 + self.random.unit() / 2.0)
    }

    pub(crate) async fn wait(&mut self) {
        let pause = self.next();
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests;
