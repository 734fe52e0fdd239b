//! Sending dead letters again, through the same transform, to the same sink.
//!
//! **Nothing is lost.** A letter stays until its record is acknowledged as stored, or filtered on purpose, and only then is
//! removed. One that is refused again is replaced by the letter of its new refusal.
//!
//! **Nothing is doubled.** A record keeps the id that it had when it first came, so that the store has it once, however
//! often it is sent; and it keeps its provenance, so that a new letter tells of the same place. The account of what the
//! source gave does not change: there the record is a dead letter for good.
//!
//! **Metrics count once.** A record that the store refused (its status is not 0) had been read, and its metrics counted:
//! they are not derived again. One that could not be read had none. Before such records go, each letter is marked with a
//! name and an offset ([`CountedAs`]); under that name the metrics are pushed, and the metrics store counts them once.
//! When the process dies before the letter is gone, whoever sends it next asks how far that name was counted, and by the
//! same request sees to it that nothing more will be counted under it ([`Inner::settle`]): so he knows which records are
//! counted already, and counts the others under a name of his own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use taffrail_logstore::limits::MAX_LETTER_GROUPS;
use taffrail_logstore::{CountedAs, DeadLetter, DeadLetters, LetterFilter, LetterHead, LetterRequest, TimeSpan, cause};
use taffrail_runtime::redrive::{Group, Order, Redrive, RedriveError, Report};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::Hurry;
use crate::lane::{Book, Identity, Lane, Ledger, Mark};
use crate::random::seed;
use crate::record::{Chunk, Fate, Filling, Ticket};
use crate::{DeltaBatch, MetricsSink, Origin, PushError};

/// Letters that are looked at together.
const PAGE: usize = 1_000;
/// Bytes of letters that are under way together, unless one has more.
const PORTION_BYTES: u64 = 4 << 20;
/// For so long, further letters are sent.
const SEND_FOR: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 12 });
/// For so long, what becomes of those that were sent is waited for.
const SETTLE_FOR: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// What a request to the metrics store may need at most to be carried out.
const TRIES: usize = 10;

/// From here on a position in the metrics store says that a name is settled: what is beyond this was counted.
const SETTLED: u64 = 1 << 62;

/// Sends the dead letters of a pipeline again, while it runs.
#[derive(Clone)]
pub struct Redriver(Arc<Inner>);

struct Inner {
    /// `namespace/name`.
    pipeline: String,
    letters: Arc<dyn DeadLetters>,
    /// Where metrics are counted, if any are derived.
    metrics: Option<Arc<dyn MetricsSink>>,
    /// Goes when the pipeline stops.
    records: mpsc::WeakSender<Chunk>,
    stopping: CancellationToken,
    hurry: Arc<Hurry>,
    /// One order at a time.
    busy: Mutex<()>,
}

#[async_trait]
impl Redrive for Redriver {
    async fn redrive(&self, order: Order) -> Result<Report, RedriveError> {
        let inner = self.0.clone();
        // On its own, so that one who hangs up does not leave records whose letters nobody removes.
        let carrying_out = tokio::spawn(async move {
            let _busy = inner.busy.try_lock().map_err(|_| RedriveError::Busy)?;
            inner.carry_out(order).await
        });
        carrying_out.await.map_err(|error| RedriveError::Unavailable(format!("sending broke off: {error}")))?
    }
}

fn unavailable(error: impl std::fmt::Display) -> RedriveError {
    RedriveError::Unavailable(error.to_string())
}

impl Redriver {
    pub(crate) fn new(
        pipeline: String,
        letters: Arc<dyn DeadLetters>,
        metrics: Option<Arc<dyn MetricsSink>>,
        records: mpsc::WeakSender<Chunk>,
        stopping: CancellationToken,
        hurry: Arc<Hurry>,
    ) -> Self {
        Self(Arc::new(Inner { pipeline, letters, metrics, records, stopping, hurry, busy: Mutex::default() }))
    }
}

impl Inner {
    async fn carry_out(&self, order: Order) -> Result<Report, RedriveError> {
        let mut report = Report::default();
        if let Some(id) = order.id {
            self.send(&[id], Instant::now() + SETTLE_FOR, &mut report).await?;
            return Ok(report);
        }
        let over = Instant::now() + SEND_FOR;
        let (mut last, mut sent_some) = (order.cursor.clone(), false);
        let span = TimeSpan { from: order.from, to: order.to };
        let filter = LetterFilter { reason: order.reason, status: order.status, span };
        let mut request = LetterRequest { pipeline: self.pipeline.clone(), filter, limit: PAGE, cursor: order.cursor };
        loop {
            let page = self.letters.dead_letters(&request).await;
            let page = page.map_err(|error| match error {
                taffrail_logstore::SearchError::Unavailable(_) => unavailable(error),
                other => RedriveError::Invalid(other.to_string()),
            })?;
            let mut rest = page.letters.as_slice();
            while let Some(count) = portion(rest) {
                let (these, others) = rest.split_at(count);
                let ids: Vec<String> = these.iter().map(|letter| letter.id.clone()).collect();
                let is_settled = match self.send(&ids, over + SETTLE_FOR, &mut report).await {
                    // What became of the others is worth telling; the next order meets the fault itself.
                    Err(error) if sent_some => {
                        tracing::warn!(pipeline = self.pipeline, %error, "dead letters could not be sent");
                        report.cursor = last;
                        return Ok(report);
                    }
                    other => other?,
                };
                rest = others;
                sent_some = true;
                last = these.last().map(LetterHead::cursor);
                let is_last = rest.is_empty() && page.cursor.is_none();
                if !is_last && (!is_settled || Instant::now() >= over) {
                    report.cursor = last;
                    return Ok(report);
                }
            }
            request.cursor = page.cursor;
            if request.cursor.is_none() {
                return Ok(report);
            }
        }
    }

    /// Sends letters, and sees to what becomes of them. False if that is not known in time.
    async fn send(&self, ids: &[String], until: Instant, report: &mut Report) -> Result<bool, RedriveError> {
        let letters = self.letters.whole_dead_letters(&self.pipeline, ids).await.map_err(unavailable)?;
        if letters.is_empty() {
            return Ok(true);
        }
        let (counted, uncounted) = self.sort(letters).await?;
        let source = format!("redrive {} {:016x}{:016x}", self.pipeline, seed(), seed());
        let uncounted = self.mark(uncounted, &source).await?;
        let count = counted.len() + uncounted.len();
        let ticket = Ticket::new(count);
        let records: Vec<Sent> =
            into_lanes(counted, None, i64::MAX).chain(into_lanes(uncounted, Some(&source), 0)).collect();
        let ids: Vec<String> = records.iter().map(|record| record.id.clone()).collect();
        // Others need not fill the batch: somebody waits.
        self.hurry.set(true);
        let fates = async {
            self.hand_over(records, &ticket, until).await?;
            Ok(tokio::time::timeout_at(until, ticket.all()).await)
        };
        let fates = fates.await;
        self.hurry.set(false);
        if self.stopping.is_cancelled() {
            self.hurry.set(true);
        }
        let Ok(fates) = fates? else {
            report.unsettled += count as u64;
            return Ok(false);
        };
        let gone = tally(ids, fates, report);
        self.letters.remove_dead_letters(&self.pipeline, &gone).await.map_err(unavailable)?;
        Ok(true)
    }

    async fn hand_over(&self, records: Vec<Sent>, ticket: &Arc<Ticket>, until: Instant) -> Result<(), RedriveError> {
        let stopping = || RedriveError::Unavailable("the pipeline is stopping; try again later".to_owned());
        let full = || RedriveError::Unavailable("the sink does not take logs; try again later".to_owned());
        let sender = self.records.upgrade().ok_or_else(stopping)?;
        let mut records = records.into_iter().enumerate().peekable();
        while records.peek().is_some() {
            let place = tokio::select! {
                () = self.stopping.cancelled() => return Err(stopping()),
                place = tokio::time::timeout_at(until, sender.reserve()) => place,
            };
            let place = place.map_err(|_| full())?.map_err(|_| stopping())?;
            let mut filling = Filling::default();
            while !filling.is_full() {
                let Some((number, Sent { id, lane, mark, next, original })) = records.next() else { break };
                filling.push_for((ticket, number), Some(id), (&lane, mark, next), &original);
            }
            if let Some(chunk) = filling.take() {
                place.send(chunk);
            }
        }
        Ok(())
    }

    /// Those whose metrics are counted already (or which have none), and the others.
    async fn sort(&self, letters: Vec<DeadLetter>) -> Result<(Vec<DeadLetter>, Vec<DeadLetter>), RedriveError> {
        let Some(metrics) = &self.metrics else { return Ok((letters, Vec::new())) };
        let (mut counted, mut uncounted) = (Vec::new(), Vec::new());
        let mut settled: HashMap<String, u64> = HashMap::new();
        for letter in letters {
            let is_counted = match &letter.counted_as {
                _ if letter.status != 0 => true,
                None => false,
                Some(CountedAs { source, offset }) => {
                    let position = match settled.get(source) {
                        Some(position) => *position,
                        None => Self::settle(&**metrics, source).await?,
                    };
                    settled.insert(source.clone(), position);
                    u64::try_from(*offset).is_ok_and(|offset| offset < position)
                }
            };
            if is_counted { counted.push(letter) } else { uncounted.push(letter) }
        }
        Ok((counted, uncounted))
    }

    /// Up to which offset a name has been counted. Nothing more will be, not even what is on its way: an empty range moves
    /// the position in the metrics store beyond all offsets, and keeps in it where it was.
    async fn settle(metrics: &dyn MetricsSink, source: &str) -> Result<u64, RedriveError> {
        for _ in 0..TRIES {
            let position = metrics.counted(source).await.map_err(unavailable)?.unwrap_or_default();
            if let Some(counted) = position.checked_sub(SETTLED) {
                return Ok(counted);
            }
            let origin = Origin { source: source.to_owned(), first: position, next: SETTLED + position };
            match metrics.push(&DeltaBatch { origin: Some(origin), ..DeltaBatch::default() }).await {
                // Somebody else may have been quicker: what holds is what the store says now.
                Ok(()) | Err(PushError::Overlap(_)) => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(RedriveError::Unavailable("the metrics store counts what is being settled; try again later".to_owned()))
    }

    /// Marks letters with what their metrics are counted as, in the order in which they will be sent.
    async fn mark(&self, mut letters: Vec<DeadLetter>, source: &str) -> Result<Vec<DeadLetter>, RedriveError> {
        if letters.is_empty() {
            return Ok(letters);
        }
        letters.sort_by(|one, other| place(one).cmp(&place(other)));
        for (offset, letter) in (0..).zip(&mut letters) {
            letter.counted_as = Some(CountedAs { source: source.to_owned(), offset });
        }
        self.letters.replace_dead_letters(&letters).await.map_err(unavailable)?;
        Ok(letters)
    }
}

/// How many of these letters are sent together.
fn portion(letters: &[LetterHead]) -> Option<usize> {
    let mut bytes = 0;
    let fit = letters.iter().take_while(|letter| {
        bytes += letter.size;
        bytes <= PORTION_BYTES
    });
    let fit = fit.count();
    (!letters.is_empty()).then_some(fit.max(1))
}

/// The part of the source that a record came from.
fn place(letter: &DeadLetter) -> (&str, i32) {
    (&letter.provenance.topic, letter.provenance.partition)
}

/// A record that is sent again.
struct Sent {
    id: String,
    lane: Arc<Lane>,
    mark: Mark,
    /// The offset after it in the lane.
    next: i64,
    original: Bytes,
}

/// Letters as records: a lane for each part of the source that they came from. All are of one origin, if
/// there is one: each lane's offsets go on where those of the lane before end.
fn into_lanes(letters: Vec<DeadLetter>, origin: Option<&str>, counted: i64) -> impl Iterator<Item = Sent> {
    let mut by_place: BTreeMap<(String, i32), Vec<DeadLetter>> = BTreeMap::new();
    for letter in letters {
        by_place.entry((letter.provenance.topic.clone(), letter.provenance.partition)).or_default().push(letter);
    }
    let origin = origin.map(str::to_owned);
    let mut next = 0;
    by_place.into_iter().flat_map(move |((topic, partition), letters)| {
        let book = Book::new(topic, partition, Ledger::default(), None);
        let lane = Lane::new(book, Identity::Offset(String::new()), origin.clone(), next, None);
        // Nobody need be asked: the name is new.
        lane.counting.learn(counted);
        let start = next;
        next += i64::try_from(letters.len()).unwrap_or_default();
        lane.hand_over(next);
        (start + 1..).zip(letters).map(move |(next, DeadLetter { id, provenance, original, .. })| {
            let mark = Mark { offset: provenance.offset, timestamp: provenance.timestamp, crc: 0 };
            Sent { id, lane: lane.clone(), mark, next, original }
        })
    })
}

/// Adds up what became of records, and gives those whose letters are to be removed.
fn tally(ids: Vec<String>, fates: Vec<Fate>, report: &mut Report) -> Vec<String> {
    let mut gone = Vec::new();
    for (id, fate) in ids.into_iter().zip(fates) {
        match fate {
            Fate::Indexed => report.indexed += 1,
            Fate::Duplicate => report.duplicate += 1,
            Fate::Filtered => report.filtered += 1,
            Fate::DeadLetter { status, reason } => {
                report.refused += 1;
                let reason = cause(&reason);
                let refusals = &mut report.refusals;
                match refusals.iter().position(|group| group.reason == reason && group.status == status) {
                    Some(same) => refusals[same].count += 1,
                    None if refusals.len() < MAX_LETTER_GROUPS => {
                        refusals.push(Group { reason, status, count: 1 });
                    }
                    None => {}
                }
                continue;
            }
        }
        gone.push(id);
    }
    gone
}

#[cfg(test)]
mod tests;
