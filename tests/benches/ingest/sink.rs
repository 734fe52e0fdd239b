//! A bulk endpoint that accepts and counts at memory speed: what is measured with it is the contender, not the server.
//!
//! It answers as Elasticsearch does, as far as the contenders ask, and honours `filter_path` by the short answer that it
//! stands for. Documents are not parsed. Each has its number, by which duplicates are told, and the bytes of all are
//! summed up by their hashes.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;

use crate::entries::{DAY, hash};

/// Of so many documents one is kept, to be looked at afterwards.
const SAMPLED: u64 = 4_096;
/// Longer heads are none that a contender sends.
const LONGEST_HEAD: usize = 64 << 10;
/// Longer bodies are none that a contender sends.
const LONGEST_BODY: usize = 256 << 20;
/// What stands before the number in a document, whatever it makes of the fields around.
const NUMBER: &[u8] = b"seq\":";

/// What has come.
#[derive(Debug)]
pub struct Tally {
    entries: u64,
    /// A bit for each entry.
    seen: Vec<AtomicU64>,
    received: AtomicU64,
    distinct: AtomicU64,
    sum: AtomicU64,
    /// Documents without a number of ours.
    strange: AtomicU64,
    samples: Mutex<Vec<(u64, Vec<u8>)>>,
    complete: OnceLock<Instant>,
}

impl Tally {
    fn new(entries: u64) -> Self {
        Self {
            entries,
            seen: (0..entries.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            received: AtomicU64::new(0),
            distinct: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            strange: AtomicU64::new(0),
            samples: Mutex::default(),
            complete: OnceLock::new(),
        }
    }

    /// Documents, with those that came twice.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Entries that have come.
    pub fn distinct(&self) -> u64 {
        self.distinct.load(Ordering::Relaxed)
    }

    /// The sum of the hashes of the documents, each counted once.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// Documents that are none of the entries.
    pub fn strange(&self) -> u64 {
        self.strange.load(Ordering::Relaxed)
    }

    /// When the last entry came.
    pub fn complete(&self) -> Option<Instant> {
        self.complete.get().copied()
    }

    /// Some documents, with their numbers.
    pub fn samples(&self) -> Vec<(u64, Vec<u8>)> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts the documents of a request, and writes the items of the answer.
    fn take(&self, body: &[u8], items: &mut Items<'_>) -> Result<()> {
        let (mut rest, mut received, mut distinct, mut sum, mut strange) = (body, 0, 0, 0_u64, 0);
        while let Some(action) = line(&mut rest)? {
            if action.is_empty() {
                continue;
            }
            let document = line(&mut rest)?.context("an action without a document")?;
            ensure!(action.starts_with(b"{\"") && document.ends_with(b"}"), "this is no bulk request");
            items.push(action, received);
            received += 1;
            match number(document).filter(|number| *number < self.entries) {
                Some(number) => {
                    let bit = 1 << (number % 64);
                    if self.seen[(number / 64) as usize].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                        distinct += 1;
                        sum = sum.wrapping_add(hash(document));
                        if number % SAMPLED == 0 {
                            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                            samples.push((number, document.to_vec()));
                        }
                    }
                }
                None => strange += 1,
            }
        }
        self.received.fetch_add(received, Ordering::Relaxed);
        self.strange.fetch_add(strange, Ordering::Relaxed);
        self.sum.fetch_add(sum, Ordering::Relaxed);
        if self.distinct.fetch_add(distinct, Ordering::Relaxed) + distinct == self.entries {
            self.complete.get_or_init(Instant::now);
        }
        Ok(())
    }
}

/// The next line, without its end. The standard library's search for a byte goes by words.
fn line<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    let whole = *rest;
    let length = rest.skip_until(b'\n')?;
    Ok((length > 0).then(|| whole[..length].strip_suffix(b"\n").unwrap_or(whole)))
}

/// The number of an entry: at the end where the bytes are unchanged, and else somewhere.
fn number(document: &[u8]) -> Option<u64> {
    let tail = document.len().saturating_sub(24);
    let find = |from: usize| document[from..].windows(NUMBER.len()).position(|at| at == NUMBER).map(|at| from + at);
    let start = find(tail).or_else(|| find(0))? + NUMBER.len();
    let digits = document[start..].iter().take_while(|byte| byte.is_ascii_digit());
    let mut number = 0_u64;
    let count = digits.fold(0, |count, digit| {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        count + 1
    });
    (1..=18).contains(&count).then_some(number)
}

/// The items of an answer.
struct Items<'a> {
    text: &'a mut Vec<u8>,
    /// Whether the client asked for statuses alone.
    is_short: bool,
}

impl Items<'_> {
    fn push(&mut self, action: &[u8], place: u64) {
        if place > 0 {
            self.text.push(b',');
        }
        // Whether it is `create` or `index`, which is as far as they differ.
        let kind: &[u8] = if action[2] == b'c' { b"create" } else { b"index" };
        self.text.extend_from_slice(b"{\"");
        self.text.extend_from_slice(kind);
        if self.is_short {
            self.text.extend_from_slice(b"\":{\"status\":201}}");
            return;
        }
        self.text.extend_from_slice(b"\":{\"_index\":\"bench-");
        self.text.extend_from_slice(DAY.as_bytes());
        self.text.extend_from_slice(b"\",\"_id\":\"");
        match id(action) {
            Some(id) => self.text.extend_from_slice(id),
            None => self.text.extend_from_slice(b"kN0wMZEBq3xYtT9fVw5c"),
        }
        self.text.extend_from_slice(
            b"\",\"_version\":1,\"result\":\"created\",\"_shards\":{\"total\":2,\"successful\":1,\"failed\":0},\
              \"_seq_no\":1234567,\"_primary_term\":1,\"status\":201}}",
        );
    }
}

fn id(action: &[u8]) -> Option<&[u8]> {
    const ID: &[u8] = b"\"_id\":";
    let start = action.windows(ID.len()).position(|at| at == ID)? + ID.len();
    action[start..].split(|byte| *byte == b'"').nth(1)
}

/// The endpoint. It takes no more when this goes.
#[derive(Debug)]
pub struct Sink {
    pub address: SocketAddr,
    pub tally: Arc<Tally>,
    stopping: Arc<AtomicBool>,
}

impl Sink {
    /// Listens on a free port, for so many entries.
    pub fn start(entries: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (tally, stopping) = (Arc::new(Tally::new(entries)), Arc::new(AtomicBool::new(false)));
        let (counts, stops) = (tally.clone(), stopping.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stops.load(Ordering::Relaxed) {
                    break;
                }
                let counts = counts.clone();
                std::thread::spawn(move || {
                    let served = Connection::new(stream).and_then(|mut connection| connection.serve(&counts));
                    // Once everything is there contenders are killed, which breaks their connections.
                    if let (Err(error), None) = (served, counts.complete()) {
                        eprintln!("the sink closed a connection: {error:#}");
                    }
                });
            }
        });
        Ok(Self { address, tally, stopping })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the listener. If that fails it has gone already.
        let _ = TcpStream::connect(self.address);
    }
}

struct Connection {
    stream: TcpStream,
    /// What was read and not yet used.
    input: Vec<u8>,
    body: Vec<u8>,
    inflated: Vec<u8>,
    items: Vec<u8>,
}

#[derive(Default)]
struct Head {
    method: String,
    target: String,
    length: usize,
    is_chunked: bool,
    is_gzip: bool,
    waits: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::new(), body: Vec::new(), inflated: Vec::new(), items: Vec::new() })
    }

    fn serve(&mut self, tally: &Tally) -> Result<()> {
        while let Some(head) = self.head()? {
            if head.waits {
                self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            self.body.clear();
            if head.is_chunked {
                self.chunks()?;
            } else {
                self.exactly(head.length)?;
            }
            if head.is_gzip {
                self.inflated.clear();
                MultiGzDecoder::new(&self.body[..]).read_to_end(&mut self.inflated)?;
                std::mem::swap(&mut self.body, &mut self.inflated);
            }
            self.answer(&head, tally)?;
        }
        Ok(())
    }

    fn answer(&mut self, head: &Head, tally: &Tally) -> Result<()> {
        let path = head.target.split('?').next().unwrap_or_default();
        self.items.clear();
        let (mut status, mut is_bulk) = ("200 OK", false);
        let text: &[u8] = match (head.method.as_str(), path) {
            ("POST" | "PUT", path) if path.ends_with("/_bulk") => {
                is_bulk = true;
                let is_short = head.target.contains("filter_path=");
                if !is_short {
                    self.items.extend_from_slice(b"{\"took\":1,");
                }
                let begin: &[u8] = if is_short { b"{\"errors\":false,\"items\":[" } else { b"\"errors\":false,\"items\":[" };
                self.items.extend_from_slice(begin);
                tally.take(&self.body, &mut Items { text: &mut self.items, is_short })?;
                self.items.extend_from_slice(b"]}");
                &[]
            }
            ("GET", "/") => {
                br#"{"name":"sink","cluster_name":"bench","cluster_uuid":"bench","version":{"number":"9.5.3","build_flavor":"default","lucene_version":"10.0.0"},"tagline":"You Know, for Search"}"#
            }
            ("GET", path) if path.starts_with("/_index_template/") => {
                status = "404 Not Found";
                br#"{"error":{"type":"resource_not_found_exception","reason":"no such template"},"status":404}"#
            }
            ("HEAD", _) => b"",
            _ => br#"{"acknowledged":true}"#,
        };
        let text = if is_bulk { &self.items[..] } else { text };
        let head = format!(
            "HTTP/1.1 {status}\r\nX-Elastic-Product: Elasticsearch\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(text)?;
        Ok(())
    }

    /// The head of the next request, if there is one.
    fn head(&mut self) -> Result<Option<Head>> {
        let end = loop {
            if let Some(at) = self.input.windows(4).position(|at| at == b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(self.input.len() < LONGEST_HEAD, "the head is too long");
            if !self.more()? {
                ensure!(self.input.is_empty(), "it was cut off");
                return Ok(None);
            }
        };
        let text = std::str::from_utf8(&self.input[..end])?;
        let mut lines = text.lines();
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut head = Head { method, target, ..Head::default() };
        for (key, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match key.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.parse()?,
                "transfer-encoding" => head.is_chunked = value.eq_ignore_ascii_case("chunked"),
                "content-encoding" => head.is_gzip = value.eq_ignore_ascii_case("gzip"),
                "expect" => head.waits = true,
                _ => {}
            }
        }
        self.input.drain(..end);
        Ok(Some(head))
    }

    /// Reads some more. False at the end.
    fn more(&mut self) -> Result<bool> {
        let mut piece = [0; 16 << 10];
        let length = self.stream.read(&mut piece)?;
        self.input.extend_from_slice(&piece[..length]);
        Ok(length > 0)
    }

    /// Appends so many bytes to the body, past the input's buffer.
    fn exactly(&mut self, length: usize) -> Result<()> {
        ensure!(self.body.len() + length <= LONGEST_BODY, "the body is too long");
        let had = length.min(self.input.len());
        self.body.extend(self.input.drain(..had));
        self.body.reserve(length - had);
        let left = (length - had) as u64;
        let read = (&mut self.stream).take(left).read_to_end(&mut self.body)?;
        ensure!(read as u64 == left, "the body was cut off");
        Ok(())
    }

    fn chunks(&mut self) -> Result<()> {
        loop {
            let end = loop {
                match self.input.windows(2).position(|at| at == b"\r\n") {
                    Some(end) => break end,
                    None if !self.more()? => bail!("the chunks were cut off"),
                    None => {}
                }
            };
            let size = std::str::from_utf8(&self.input[..end])?.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).context("not the size of a chunk")?;
            self.input.drain(..end + 2);
            self.exactly(size)?;
            while self.input.len() < 2 {
                ensure!(self.more()?, "a chunk was cut off");
            }
            self.input.drain(..2);
            if size == 0 {
                return Ok(());
            }
        }
    }
}
