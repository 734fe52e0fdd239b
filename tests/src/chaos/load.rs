//! What is produced: records that their numbers decide, and a thread that produces them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use jiff::Timestamp;
use serde_json::json;

use super::random::{Random, mix};
use crate::kafka::Cluster;

const DAY: i64 = 86_400_000;

/// Days on which entries happened.
pub(super) const DAYS: u64 = 5;

/// How many days ago that day was of which Elasticsearch takes nothing.
const BAD_DAY: i64 = 7;

/// Levels, in turn.
const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];

/// How often a burst or a lull begins.
const PHASE: Duration = Duration::from_secs(4);

/// How often records are sent.
const TICK: Duration = Duration::from_millis(20);

/// What must become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An entry in the shape in which it is stored.
    Canonical,
    /// An entry in other words.
    Mapped,
    /// An entry that the transform drops.
    Dropped,
    /// An entry that Elasticsearch refuses by its mapping.
    Refused,
    /// No entry.
    Rubbish,
}

/// What records are made of.
#[derive(Debug, Clone)]
pub(super) struct Load {
    seed: u64,
    /// Start of the day on which all began, milliseconds since 1970.
    today: i64,
    /// Prefix of the indices.
    pub(super) name: String,
    /// Whether there is a transform that drops some.
    pub(super) has_transform: bool,
}

impl Load {
    pub(super) fn new(seed: u64, name: &str) -> Self {
        let today = Timestamp::now().as_millisecond() / DAY * DAY;
        Self { seed, today, name: name.to_owned(), has_transform: seed.is_multiple_of(2) }
    }

    fn chance(&self, n: u64) -> u64 {
        mix(self.seed.wrapping_mul(0x0100_0000_01B3) ^ n)
    }

    pub(super) fn kind(&self, n: u64) -> Kind {
        match self.chance(n) % 100 {
            0..2 => Kind::Rubbish,
            2..4 => Kind::Refused,
            4..6 if self.has_transform => Kind::Dropped,
            6..14 => Kind::Mapped,
            _ => Kind::Canonical,
        }
    }

    fn millis(&self, n: u64) -> i64 {
        let days = if self.kind(n) == Kind::Refused { BAD_DAY } else { (self.chance(n) / 100 % DAYS).cast_signed() };
        self.today - days * DAY + (n % 3_600_000).cast_signed()
    }

    fn index_at(&self, millis: i64) -> String {
        let day = Timestamp::from_millisecond(millis).unwrap_or_default();
        format!("{}-{}", self.name, day.strftime("%Y.%m.%d"))
    }

    /// The index that an entry belongs to.
    pub(super) fn index(&self, n: u64) -> String {
        self.index_at(self.millis(n))
    }

    /// The index in which `message` is to be a number.
    pub(super) fn bad_index(&self) -> String {
        self.index_at(self.today - BAD_DAY * DAY)
    }

    /// The level of an entry.
    pub(super) fn level(n: u64) -> &'static str {
        LEVELS[(n % 4) as usize]
    }

    /// What an entry says.
    pub(super) fn message(&self, n: u64) -> String {
        let filling = "and goes on ".repeat((self.chance(n) >> 32) as usize % 12);
        format!("entry number {n} of the test {filling}")
    }

    /// The record itself.
    pub(super) fn record(&self, n: u64) -> Vec<u8> {
        let (kind, message, level) = (self.kind(n), self.message(n), Self::level(n));
        let time = Timestamp::from_millisecond(self.millis(n)).unwrap_or_default();
        match kind {
            Kind::Rubbish => match self.chance(n) >> 40 & 3 {
                0 => format!("no JSON at all, number {n}").into_bytes(),
                1 => [b"\xff\xfe\x00".as_slice(), &n.to_le_bytes()].concat(),
                2 => format!("[{n}]").into_bytes(),
                _ => format!("{{\"message\": \"cut off, number {n}").into_bytes(),
            },
            Kind::Mapped => json!({
                "@timestamp": time.to_string(), "severity": level.to_uppercase(), "msg": message, "n": n,
                "service.name": "api",
            })
            .to_string()
            .into_bytes(),
            Kind::Canonical | Kind::Dropped | Kind::Refused => format!(
                r#"{{"timestamp":"{time}","level":"{level}","message":"{message}","service":"api","host":"web-{}","tags":{{"env":"{}"}},"fields":{{"n":{n}}}}}"#,
                n % 7,
                if kind == Kind::Dropped { "drop" } else { "test" },
            )
            .into_bytes(),
        }
    }
}

/// A thread that produces, at a rate that changes.
pub(super) struct Producing {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<()>>,
}

struct Shared {
    is_over: AtomicBool,
    is_resting: AtomicBool,
    /// Whether all that was handed to the client is acknowledged, since it rests.
    is_flushed: AtomicBool,
    produced: AtomicU64,
}

impl Producing {
    /// Begins, with so many records a second on average.
    pub(super) fn start(load: Load, cluster: &Cluster, partitions: i32, rate: u64) -> Result<Self> {
        // However long the brokers are away, each record goes out once.
        let settings = [("acks", "all"), ("message.timeout.ms", "0"), ("queue.buffering.max.messages", "50000")];
        let mut producer = cluster.producer(&load.name, partitions, &settings)?;
        let shared = Arc::new(Shared {
            is_over: AtomicBool::new(false),
            is_resting: AtomicBool::new(false),
            is_flushed: AtomicBool::new(false),
            produced: AtomicU64::new(0),
        });
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                let mut random = Random(load.seed ^ 0xF00D);
                let per_tick = rate * TICK.as_millis() as u64 / 1_000;
                let (mut factor, mut left) = (1, Duration::ZERO);
                while !shared.is_over.load(Ordering::Acquire) {
                    if shared.is_resting.load(Ordering::Acquire) {
                        if !shared.is_flushed.load(Ordering::Acquire) {
                            producer.flush()?;
                            shared.is_flushed.store(true, Ordering::Release);
                        }
                    } else {
                        if left.is_zero() {
                            (factor, left) = ([0, 1, 1, 2][random.below(4)], PHASE);
                        }
                        left = left.saturating_sub(TICK);
                        for _ in 0..per_tick * factor {
                            let n = shared.produced.fetch_add(1, Ordering::AcqRel);
                            producer.send_with_key(&n.to_be_bytes(), &load.record(n))?;
                        }
                    }
                    std::thread::sleep(TICK);
                }
                Ok(())
            }
        });
        Ok(Self { shared, thread })
    }

    /// How many records were produced.
    pub(super) fn produced(&self) -> u64 {
        self.shared.produced.load(Ordering::Acquire)
    }

    /// Has it produce nothing for a while.
    pub(super) fn rest(&self) {
        self.shared.is_flushed.store(false, Ordering::Release);
        self.shared.is_resting.store(true, Ordering::Release);
    }

    /// Has it go on.
    pub(super) fn go_on(&self) {
        self.shared.is_resting.store(false, Ordering::Release);
    }

    /// Whether it rests, and all is acknowledged.
    ///
    /// # Errors
    /// When it can't produce any more.
    pub(super) fn has_settled(&self) -> Result<bool> {
        if self.thread.is_finished() {
            return Err(anyhow!("the producer of the test has ended"));
        }
        Ok(self.shared.is_flushed.load(Ordering::Acquire))
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it could not produce.
    pub(super) fn end(self) -> Result<()> {
        self.shared.is_over.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow!("the producer of the test has panicked"))?
    }
}
