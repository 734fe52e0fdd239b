//! The limits: a consumer that discards, and the floor, which does what can't be left out and nothing else. Each is a
//! process of its own, so that processor time and memory are its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _};

use crate::contenders::{BATCH_BYTES, BATCH_ENTRIES, BATCH_WAIT};
use crate::entries::DAY;

/// Requests under way at a time.
const AT_ONCE: usize = 2;
/// How long a poll waits.
const POLL: Duration = Duration::from_millis(100);
/// What the consumer that discards prints once it has read everything.
pub const DONE: &str = "done";

/// Where a limit reads from, and how much.
#[derive(Debug, Clone, clap::Args)]
pub struct From {
    #[arg(long)]
    pub kafka: String,
    #[arg(long)]
    pub topic: String,
    #[arg(long)]
    pub group: String,
    #[arg(long)]
    pub entries: u64,
}

impl From {
    fn consumer(&self) -> Result<BaseConsumer> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.kafka)
            .set("group.id", &self.group)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            // With the default of a second it stalls as soon as whoever reads from it is slower than the broker.
            .set("fetch.queue.backoff.ms", "20")
            .create()?;
        consumer.subscribe(&[&self.topic])?;
        Ok(consumer)
    }
}

/// Reads everything, and keeps nothing.
pub fn bare(from: &From) -> Result<()> {
    let consumer = from.consumer()?;
    let mut read = 0;
    while read < from.entries {
        if let Some(message) = consumer.poll(POLL) {
            message?;
            read += 1;
        }
    }
    println!("{DONE}");
    stay()
}

/// Posts the bytes as they are, each under its partition and offset.
pub fn floor(from: &From, sink: &str) -> Result<()> {
    let consumer = from.consumer()?;
    let (bodies, waiting) = sync_channel::<Vec<u8>>(0);
    let waiting = std::sync::Arc::new(std::sync::Mutex::new(waiting));
    let (emptied, empty) = sync_channel(AT_ONCE + 1);
    for _ in 0..=AT_ONCE {
        emptied.send(Vec::with_capacity(BATCH_BYTES))?;
    }
    for _ in 0..AT_ONCE {
        let (sink, waiting, emptied) = (sink.to_owned(), waiting.clone(), emptied.clone());
        std::thread::spawn(move || {
            if let Err(error) = post_all(&sink, &waiting, &emptied) {
                eprintln!("the floor gave up: {error:#}");
                std::process::exit(1);
            }
        });
    }
    let mut body = empty.recv()?;
    let (mut count, mut read, mut begun) = (0, 0, Instant::now());
    while read < from.entries {
        if let Some(message) = consumer.poll(POLL) {
            let message = message?;
            let payload = message.payload().unwrap_or_default();
            if body.len() + payload.len() + 100 > BATCH_BYTES {
                hand_over(&bodies, &empty, &mut body)?;
                count = 0;
            }
            if count == 0 {
                begun = Instant::now();
            }
            let (partition, offset) = (message.partition(), message.offset());
            writeln!(body, "{{\"create\":{{\"_index\":\"bench-{DAY}\",\"_id\":\"{partition}-{offset}\"}}}}")?;
            body.extend_from_slice(payload);
            body.push(b'\n');
            count += 1;
            read += 1;
        }
        if count == BATCH_ENTRIES || count > 0 && begun.elapsed() > BATCH_WAIT {
            hand_over(&bodies, &empty, &mut body)?;
            count = 0;
        }
    }
    if count > 0 {
        hand_over(&bodies, &empty, &mut body)?;
    }
    stay()
}

/// Until it is killed: its processor time is still to be asked for.
fn stay() -> Result<()> {
    loop {
        std::thread::park();
    }
}

fn hand_over(bodies: &SyncSender<Vec<u8>>, empty: &Receiver<Vec<u8>>, body: &mut Vec<u8>) -> Result<()> {
    bodies.send(std::mem::replace(body, empty.recv()?)).context("nobody posts any more")
}

fn post_all(sink: &str, waiting: &std::sync::Mutex<Receiver<Vec<u8>>>, emptied: &SyncSender<Vec<u8>>) -> Result<()> {
    let mut stream = TcpStream::connect(sink)?;
    stream.set_nodelay(true)?;
    let mut answer = Vec::new();
    loop {
        let body = waiting.lock().ok().and_then(|waiting| waiting.recv().ok());
        let Some(mut body) = body else { return Ok(()) };
        post(&mut stream, sink, &body, &mut answer)?;
        body.clear();
        emptied.send(body)?;
    }
}

/// Posts a body to `_bulk`, and makes sure that all of it was taken.
pub fn post(stream: &mut TcpStream, host: &str, body: &[u8], answer: &mut Vec<u8>) -> Result<()> {
    let head = format!(
        "POST /_bulk?filter_path=errors,items.*.status HTTP/1.1\r\nhost: {host}\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    answer.clear();
    let mut piece = [0; 64 << 10];
    let mut end = None;
    while !end.is_some_and(|end: End| end.is_reached(answer)) {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the answer was cut off");
        answer.extend_from_slice(&piece[..read]);
        if end.is_none() {
            end = End::of(answer)?;
        }
    }
    let text = &answer[..answer.len().min(512)];
    ensure!(
        text.starts_with(b"HTTP/1.1 200") && text.windows(14).any(|at| at == b"\"errors\":false"),
        "not all was taken: {}",
        String::from_utf8_lossy(text)
    );
    Ok(())
}

/// Where an answer ends.
#[derive(Debug, Clone, Copy)]
enum End {
    At(usize),
    /// With an empty chunk, which JSON can't be taken for.
    LastChunk,
}

impl End {
    /// What the head says of it, once it is there.
    fn of(answer: &[u8]) -> Result<Option<Self>> {
        let Some(end) = answer.windows(4).position(|at| at == b"\r\n\r\n") else { return Ok(None) };
        let head = std::str::from_utf8(&answer[..end])?.to_ascii_lowercase();
        if head.contains("transfer-encoding: chunked") {
            return Ok(Some(Self::LastChunk));
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("an answer without a length")?.trim().parse()?;
        Ok(Some(Self::At(end + 4 + length)))
    }

    fn is_reached(self, answer: &[u8]) -> bool {
        match self {
            Self::At(end) => answer.len() >= end,
            Self::LastChunk => answer.ends_with(b"\r\n0\r\n\r\n"),
        }
    }
}
