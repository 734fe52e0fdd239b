//! The entries: the same in every run, and like those of a shop's services.

use std::fmt::Write as _;
use std::hash::Hasher;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rustc_hash::FxHasher;
use taffrail_tests::kafka;

/// Partitions of a topic.
const PARTITIONS: i32 = 12;
/// The day of all entries, in the form that Taffrail's indices have.
pub const DAY: &str = "2026.11.20";
/// Milliseconds from an entry to the next.
const STEP: u64 = 4;
/// Where a day begins anew, well before its end.
const LONGEST: u64 = 80_000_000;
/// How long Kafka may take to acknowledge what is under way.
const PATIENCE: Duration = Duration::from_secs(60);

/// How large entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// About 300 bytes: a request that was answered.
    Small,
    /// About 1.5 KiB: mostly a stack trace.
    Large,
}

impl Size {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "300 bytes",
            Self::Large => "1.5 KiB",
        }
    }
}

/// Random numbers that are always the same: splitmix64, started anew for each entry.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        from[self.below(N as u64) as usize]
    }
}

/// Writes an entry. Its number is its last field.
pub fn write(size: Size, number: u64, text: &mut String) -> std::fmt::Result {
    let mut random = Random(number << 1 | u64::from(size == Size::Large));
    let at = 3_600_000 + number * STEP % LONGEST;
    let (hours, minutes, seconds, millis) = (at / 3_600_000, at / 60_000 % 60, at / 1_000 % 60, at % 1_000);
    let service = random.pick(["web", "cart", "search", "checkout", "payment", "inventory", "mail", "account"]);
    let (host, zone) = (random.below(24), random.below(3));
    let level = match (size, random.below(100)) {
        (Size::Small, 0..2) | (Size::Large, 0..80) => "error",
        (Size::Small, 2..7) | (Size::Large, _) => "warn",
        (Size::Small, 7..20) => "debug",
        (Size::Small, _) => "info",
    };
    let method = random.pick(["GET", "GET", "GET", "POST", "PUT", "DELETE"]);
    let (resource, id) = (random.pick(["products", "orders", "carts", "users", "stock"]), random.below(100_000));
    let status = match level {
        "error" => random.pick([500, 502, 503, 504]),
        "warn" => random.pick([400, 404, 409, 429]),
        _ => random.pick([200, 200, 200, 201, 204, 304]),
    };
    // Mostly short, now and then long.
    let took = (random.below(30_000) + 300) * (1 << random.below(5)) / 4;
    write!(
        text,
        r#"{{"timestamp":"2026-11-20T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z","level":"{level}","message":""#
    )?;
    match size {
        Size::Small if number % 8 == 3 => write!(
            text,
            r#"search for \"{} – {}\" gave {} hits"#,
            random.pick(["käse", "brød", "crème", "чай"]),
            random.pick(["bio", "groß", "50 %"]),
            random.below(500)
        )?,
        Size::Small => write!(text, "{method} /api/v1/{resource}/{id} answered {status} in {} ms", took / 1_000)?,
        Size::Large => write_trace(&mut random, service, text)?,
    }
    write!(
        text,
        r#"","service":"{service}","host":"node-{host:02}","tags":{{"env":"prod","zone":"eu-{zone}"}},"fields":{{"method":"{method}","status":{status},"duration_ms":{}.{:03},"bytes":{},"trace_id":"{:016x}","#,
        took / 1_000,
        took % 1_000,
        random.below(60_000),
        random.next(),
    )?;
    if size == Size::Large {
        write!(
            text,
            r#""path":"/api/v1/{resource}/{id}","user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0","attempt":{},"thread":"http-nio-8080-exec-{}","retry":{},"#,
            110 + random.below(30),
            random.below(4),
            random.below(200),
            random.below(2) == 0,
        )?;
    }
    write!(text, r#""seq":{number}}}}}"#)
}

fn write_trace(random: &mut Random, service: &str, text: &mut String) -> std::fmt::Result {
    let what = random.pick(["could not place the order", "payment was not confirmed", "no answer from stock"]);
    write!(text, r#"{what}: \"{:08x}\"\njava.lang.IllegalStateException: upstream did not answer"#, random.next())?;
    for frame in 0..15 + random.below(4) {
        let class = random.pick(["OrderService", "StockClient", "Retry", "HttpPool", "Dispatcher", "Filter"]);
        let method = random.pick(["place", "reserve", "call", "send", "doFilter", "invoke"]);
        write!(text, r"\n\tat dev.shop.{service}.{class}.{method}({class}.java:{})", frame * 31 + random.below(30))?;
    }
    Ok(())
}

/// What tells whether bytes are the same.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

/// A topic that is filled.
#[derive(Debug, Clone)]
pub struct Topic {
    pub name: String,
    pub size: Size,
    pub entries: u64,
    /// The sum of the entries' hashes.
    pub sum: u64,
    /// Bytes of all entries.
    pub bytes: u64,
}

/// Makes a topic and fills it, compressed by lz4, in batches as busy producers send them.
pub async fn fill(size: Size, entries: u64) -> Result<Topic> {
    let name = taffrail_tests::unique("bench");
    kafka::create_topic(&name, PARTITIONS).await?;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka::address())
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "50")
        .set("batch.size", "131072")
        .create()?;
    let (mut text, mut sum, mut bytes, mut partition) = (String::new(), 0_u64, 0, 0);
    for number in 0..entries {
        text.clear();
        write(size, number, &mut text)?;
        sum = sum.wrapping_add(hash(text.as_bytes()));
        bytes += text.len() as u64;
        let mut record = BaseRecord::<(), str>::to(&name).partition(partition).payload(&text);
        partition = (partition + 1) % PARTITIONS;
        while let Err((error, back)) = producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(error.into());
            }
            record = back;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    producer.flush(PATIENCE).context("Kafka did not acknowledge all entries")?;
    Ok(Topic { name, size, entries, sum, bytes })
}
