//! How quickly, and at what cost, logs get from a real Kafka broker into a sink: Taffrail, its peers, and what is possible
//! at all. `cargo xtask bench ingest` starts the servers, prints the tables and writes them to `docs/benchmarks.md`.

#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod contenders;
mod entries;
mod limits;
mod measure;
mod report;
mod sink;

use std::fmt::Write as _;
use std::net::TcpStream;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use taffrail_tests::kafka;

use contenders::{BATCH_ENTRIES, Contender};
use entries::Size;
use report::{Row, Table};
use sink::Sink;

#[derive(Debug, Parser)]
struct Options {
    /// Entries of about 300 bytes; of those of 1.5 KiB there are a fifth
    #[arg(long, default_value_t = 5_000_000)]
    entries: u64,
    /// How often each contender drains each topic
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only these
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contender>,
    /// Print the tables, and leave the documentation as it is
    #[arg(long)]
    print_only: bool,
    /// What `cargo bench` says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    limit: Option<Limit>,
}

/// What this program is as a process of its own.
#[derive(Debug, Subcommand)]
enum Limit {
    #[command(hide = true)]
    Bare(limits::From),
    #[command(hide = true)]
    Floor {
        #[command(flatten)]
        from: limits::From,
        #[arg(long)]
        sink: String,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    match &options.limit {
        Some(Limit::Bare(from)) => return limits::bare(from),
        Some(Limit::Floor { from, sink }) => return limits::floor(from, sink),
        None => {}
    }
    let contenders: Vec<Contender> = Contender::value_variants()
        .iter()
        .copied()
        .filter(|contender| options.only.is_empty() || options.only.contains(contender))
        .collect();
    let capacity = capacity()?;
    println!("the sink that accepts everything takes {capacity:.1} million documents a second\n");
    let mut text = String::new();
    for (size, entries) in [(Size::Small, options.entries), (Size::Large, options.entries / 5)] {
        let table = drain(size, entries, options.runs, &contenders).await?.text()?;
        println!("{table}");
        text.push_str(&table);
    }
    if !options.print_only {
        let mut page = String::new();
        let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
        writeln!(
            page,
            "Written by `{}`.",
            ["cargo xtask bench ingest"]
                .into_iter()
                .chain(arguments.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join(" ")
        )?;
        report::write(&(page + &text))?;
    }
    Ok(())
}

/// Lets all contenders drain a topic, in turn, several times.
async fn drain(size: Size, entries: u64, runs: usize, contenders: &[Contender]) -> Result<Table> {
    let begun = Instant::now();
    let topic = entries::fill(size, entries).await?;
    let bytes = topic.bytes / topic.entries.max(1);
    eprintln!("{entries} entries of {bytes} bytes are in Kafka after {:.0} s", begun.elapsed().as_secs_f64());
    let mut rows: Vec<Row> =
        contenders.iter().map(|contender| Row { contender: *contender, runs: Vec::new() }).collect();
    for run in 1..=runs {
        for row in &mut rows {
            let measured = measure::accepting(row.contender, &topic, &kafka::address()).await?;
            eprintln!(
                "run {run}: {:<28} {:>9.0} events/s {:>7.2} CPU s per million {:>6.0} MiB",
                row.contender.name(),
                measured.rate,
                measured.cpu,
                measured.memory,
            );
            row.runs.push(measured);
        }
    }
    kafka::delete_topic(&topic.name).await?;
    Ok(Table { title: format!("{} ({bytes} on average), {entries} entries", size.name()), rows })
}

/// Millions of documents that the sink takes in a second when two clients send what they have at hand.
fn capacity() -> Result<f64> {
    const REQUESTS: usize = 150;
    let mut body = String::new();
    for number in 0..BATCH_ENTRIES {
        writeln!(body, r#"{{"create":{{"_index":"bench-{}","_id":"7-{number}"}}}}"#, entries::DAY)?;
        entries::write(Size::Small, number as u64, &mut body)?;
        body.push('\n');
    }
    let sink = Sink::start(BATCH_ENTRIES as u64)?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let send = || {
            let mut stream = TcpStream::connect(sink.address)?;
            let mut answer = Vec::new();
            (0..REQUESTS).try_for_each(|_| limits::post(&mut stream, "sink", body.as_bytes(), &mut answer))
        };
        let clients = [scope.spawn(send), scope.spawn(send)];
        clients.into_iter().try_for_each(|client| client.join().unwrap_or_else(|_| anyhow::bail!("a client panicked")))
    })?;
    Ok(sink.tally.received() as f64 / 1e6 / begun.elapsed().as_secs_f64())
}
