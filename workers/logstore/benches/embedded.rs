//! How quick the embedded store is. `cargo bench -p taffrail-logstore` prints a line for each figure; the number of logs
//! may be given behind `--`.

#![allow(clippy::print_stdout, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use taffrail_logstore::embedded::EmbeddedOptions;
use taffrail_logstore::q::Query;
use taffrail_logstore::{EmbeddedStore, LogStore, Outcome, Record, SearchRequest, TimeSpan};

/// 2024-08-16T00:00:00Z.
const START: i64 = 1_723_766_400_000;
const DAYS: i64 = 3;
const BATCH: i64 = 1_000;
/// Writes that are under way at a time.
const WRITERS: i64 = 4;

/// The nth of `count` logs, which happen in order over some days; about 330 bytes.
fn log(n: i64, count: i64) -> Record {
    let mixed = n.wrapping_mul(0x5851_F42D_4C95_7F2D).rotate_left(29) as u64;
    let timestamp = START + n * DAYS * 86_400_000 / count;
    let time = jiff::Timestamp::from_millisecond(timestamp).expect("a time");
    let level =
        ["info", "info", "info", "info", "info", "info", "debug", "debug", "warn", "error"][(mixed % 10) as usize];
    let service = ["api", "web", "cart", "checkout", "search", "mail"][(mixed / 10 % 6) as usize];
    let path = ["products", "cart", "orders", "users", "search"][(mixed / 60 % 5) as usize];
    let status = [200, 200, 200, 200, 201, 204, 301, 404, 500, 503][(mixed / 300 % 10) as usize];
    let (host, user, took) = (mixed / 3_000 % 20, mixed / 60_000 % 10_000, mixed / 7_000 % 30_000);
    let source = format!(
        r#"{{"timestamp":"{time}","level":"{level}","message":"GET /api/v1/{path}/{user} answered {status} in {took} us, request {mixed:016x} from 10.0.{host}.{}","service":"{service}","host":"node-{host:02}","tags":{{"env":"prod","zone":"eu-{}"}},"fields":{{"status":{status},"duration_ms":{}.{:03},"user":"u{user}","path":"/api/v1/{path}"}}}}"#,
        user % 250,
        host % 3,
        took / 1_000,
        took % 1_000,
    );
    Record { id: format!("shop-logs-7f3a-{}-{}", n % 12, n / 12), timestamp, source: source.into() }
}

fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = |place: usize| stat.split(' ').nth(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(13) + ticks(14)) * 10)
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 4 / 1024
}

fn size_of(folder: &Path) -> u64 {
    std::fs::read_dir(folder).expect("a folder").flatten().fold(0, |size, entry| {
        let meta = entry.metadata().expect("a file");
        size + if meta.is_dir() { size_of(&entry.path()) } else { meta.len() }
    })
}

async fn search(store: &EmbeddedStore, q: &str, span: TimeSpan, limit: usize) -> (u64, usize) {
    let query = Query::parse(q).expect(q);
    let page = store.search(&SearchRequest { query, span, limit, cursor: None }).await.expect("a page");
    (page.total, page.logs.len())
}

async fn fill(store: &Arc<EmbeddedStore>, count: i64) {
    let (begun, processor) = (Instant::now(), processor_time());
    let mut slowest = Duration::ZERO;
    for first in (0..count).step_by((BATCH * WRITERS) as usize) {
        let writes = (0..WRITERS).map(|writer| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let first = first + writer * BATCH;
                let records: Vec<_> = (first..(first + BATCH).min(count)).map(|n| log(n, count)).collect();
                let begun = Instant::now();
                let outcomes = store.write(&records.as_slice().into()).await.expect("the logs are taken");
                assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Indexed));
                begun.elapsed()
            })
        });
        for write in futures::future::join_all(writes).await {
            slowest = slowest.max(write.expect("no panic"));
        }
    }
    let (taken, processor) = (begun.elapsed(), processor_time() - processor);
    println!(
        "ingest       {:>9.0} logs/s, {:.2} s of a processor per 100,000, slowest write {slowest:?}, {} MiB resident",
        count as f64 / taken.as_secs_f64(),
        processor.as_secs_f64() * 1e5 / count as f64,
        resident(),
    );
    let begun = Instant::now();
    while search(store, "*", TimeSpan::default(), 0).await.0 < count as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("found        {:>9.0} ms after the last write", begun.elapsed().as_secs_f64() * 1e3);
}

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000_i64);
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = EmbeddedOptions { retention: Duration::from_secs(604_800) };
        let store = EmbeddedStore::open(folder.path(), options.clone()).expect("the store opens");
        fill(&store, count).await;
        let begun = Instant::now();
        store.close().await;
        println!("close        {:>9.0} ms", begun.elapsed().as_secs_f64() * 1e3);
        drop(store);
        println!("on disk      {:>9.0} bytes per log", size_of(folder.path()) as f64 / count as f64);
        let begun = Instant::now();
        let store = EmbeddedStore::open(folder.path(), options).expect("the store opens");
        println!("open         {:>9.0} ms", begun.elapsed().as_secs_f64() * 1e3);
        measure(&store).await;
        many_days(&store, count).await;
    });
}

/// A log for each day of a year, at once.
async fn many_days(store: &EmbeddedStore, before: i64) {
    let on = |day: i64| Record { timestamp: START - day * 86_400_000, id: format!("day-{day}"), ..log(day, 1_000) };
    let records: Vec<_> = (1..=365).map(on).collect();
    let begun = Instant::now();
    store.write(&records.as_slice().into()).await.expect("the logs are taken");
    let written = begun.elapsed();
    while search(store, "*", TimeSpan::default(), 0).await.0 < before as u64 + 365 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "many days    {:>9.0} ms until logs of 365 days are found, written after {written:?}",
        ms(begun.elapsed())
    );
    let begun = Instant::now();
    search(store, "level:error", TimeSpan::default(), 100).await;
    println!("             {:>9.1} ms for a search in all of them", ms(begun.elapsed()));
}

async fn measure(store: &EmbeddedStore) {
    let all = TimeSpan::default();
    let hour = TimeSpan { from: Some(START + 36 * 3_600_000), to: Some(START + 37 * 3_600_000) };
    let queries = [
        ("*", all, 100),
        ("*", hour, 100),
        ("level:error", all, 100),
        ("level:error AND service:api", all, 100),
        ("answered 503", all, 100),
        ("\"answered 503\"", all, 100),
        ("fields.duration_ms:>=29.5", all, 100),
        ("fields.duration_ms:>=1", all, 100),
        ("status:>=500 AND NOT service:web", all, 100),
        ("user:u1*", all, 100),
        ("message:*ffff*", all, 100),
        ("fields.user:*", all, 100),
        ("u4242 OR user:u4242", all, 100),
        ("*", all, 10_000),
    ];
    for (q, span, limit) in queries {
        let mut times = Vec::new();
        let mut found = (0, 0);
        for _ in 0..11 {
            let begun = Instant::now();
            found = search(store, q, span, limit).await;
            times.push(begun.elapsed());
        }
        let first = times[0];
        times.sort();
        println!(
            "search       {:>9.1} ms, at first {:>6.1}: {} of {} for {q}",
            ms(times[5]),
            ms(first),
            found.1,
            found.0
        );
    }
    let span = TimeSpan { from: Some(START), to: Some(START + DAYS * 86_400_000) };
    for q in ["*", "level:error", "answered 503"] {
        let query = Query::parse(q).expect(q);
        let mut times = Vec::new();
        for _ in 0..11 {
            let begun = Instant::now();
            store.histogram(&query, span, 1_800_000).await.expect("a histogram");
            times.push(begun.elapsed());
        }
        times.sort();
        println!("histogram    {:>9.1} ms for {q}", ms(times[5]));
    }
    let begun = Instant::now();
    store.fields(&Query::All, span).await.expect("a summary");
    println!("fields       {:>9.1} ms", ms(begun.elapsed()));
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
