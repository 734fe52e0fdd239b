//! How quick the store is, and how much memory it takes. `cargo bench -p taffrail-metrics` prints a line for each figure.

#![allow(clippy::print_stdout, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use taffrail_metrics::{Delta, DeltaBatch, Kind, Options, Origin, Store};
use taffrail_query::{Labels, MetricsEngine, ShortQuery, TimeRange};
use taffrail_runtime::Telemetry;

const NOW: i64 = 1_700_000_000_000;
const STEP: i64 = 15_000;
const SERIES: usize = 10_000;
const ROUNDS: i64 = 480;
const BATCH: usize = 1_000;

fn open(directory: &Path) -> Store {
    let options = Options { clock: Arc::new(|| NOW), ..Options::default() };
    Store::open(directory, options, &Telemetry::default()).expect("the store opens")
}

/// Samples of one round, half counters and half gauges, in batches. Times are a little off the beat, as in real life.
fn round(round: i64, series: usize) -> Vec<DeltaBatch> {
    let sample = |number: usize| {
        let labels = Labels::from([
            ("host".to_owned(), format!("host-{}", number / 20 % 100)),
            ("instance".to_owned(), format!("instance-{number}")),
            ("service".to_owned(), format!("service-{}", number % 20)),
        ]);
        let jitter = (number as i64 * 31 + round * 17) % 5;
        let (metric, kind, value) = if number.is_multiple_of(2) {
            ("requests", Kind::Counter, ((number as i64 + round) % 7) as f64)
        } else {
            ("temperature", Kind::Gauge, 20.0 + ((number as i64 * 7 + round * 3) % 40) as f64 / 4.0)
        };
        let timestamp_ms = NOW - (ROUNDS - round) * STEP + jitter;
        Delta { metric: metric.into(), kind, labels: Arc::new(labels), timestamp_ms, value }
    };
    let batches = (0..series).step_by(BATCH).enumerate();
    batches
        .map(|(index, start)| {
            let first = (round as u64) * 1_000 + index as u64;
            let origin = Origin { source: "bench".to_owned(), first, next: first + 1 };
            let samples = (start..(start + BATCH).min(series)).map(sample).collect();
            DeltaBatch { origin: Some(origin), samples }
        })
        .collect()
}

/// Pushes rounds, and gives the time that took without making the batches.
fn fill(store: &Store, rounds: i64, series: usize) -> Duration {
    let mut taken = Duration::ZERO;
    for number in 0..rounds {
        let batches = round(number, series);
        let start = Instant::now();
        for batch in &batches {
            let pushed = store.push(batch).expect("the batch is stored");
            assert_eq!(pushed.accepted, batch.samples.len());
        }
        taken += start.elapsed();
    }
    taken
}

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let taken = fill(&store, ROUNDS, SERIES);
    let samples = (ROUNDS as usize * SERIES) as f64;
    let usage = store.usage();
    println!("append          {:>10.0} samples/s ({SERIES} series, batches of {BATCH})", samples / taken.as_secs_f64());
    println!(
        "memory          {:>10.2} bytes per sample, with all that belongs to a series",
        usage.bytes as f64 / samples
    );
    println!("                {:>10} series, {} chunks", usage.series, usage.chunks);

    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for (text, window, hours) in [
        ("sum requests", 300, 0),
        ("sum requests by service", 300, 0),
        ("p95 temperature by host", 300, 0),
        ("max temperature instance=instance-17", 300, 0),
        ("rate requests by service", 300, 1),
        ("p95 temperature", 300, 1),
    ] {
        let query: ShortQuery = text.parse().expect("a query");
        let range = TimeRange { from: NOW - hours * 3_600_000, to: NOW, step: STEP };
        let start = Instant::now();
        let answer = runtime.block_on(store.range(&query, Duration::from_secs(window), range)).expect("an answer");
        let taken = start.elapsed().as_secs_f64() * 1000.0;
        let points: usize = answer.iter().map(|series| series.points.len()).sum();
        println!("query           {taken:>10.1} ms  {text} ({points} points)");
    }
    drop(store);
    let start = Instant::now();
    let store = open(directory.path());
    println!("restart         {:>10.0} ms  with {samples} samples", start.elapsed().as_secs_f64() * 1000.0);
    drop(store);

    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    fill(&store, 100, SERIES);
    drop(store);
    let start = Instant::now();
    let store = open(directory.path());
    let taken = start.elapsed().as_secs_f64() * 1000.0;
    println!("restart         {taken:>10.0} ms  with {} samples of {} series", 100 * SERIES, store.series());
}
