//! How quickly, and at what cost, logs get from a real Kafka broker into a sink: Taffrail, its peers, and what is possible
//! at all. `cargo xtask bench ingest` starts the servers, prints the tables and writes them to `docs/benchmarks.md`.

#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod contenders;
mod entries;
mod limits;
mod measure;
mod node;
mod report;
mod sink;
mod targets;

use std::fmt::Write as _;
use std::net::TcpStream;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use taffrail_tests::kafka;

use contenders::{BATCH_ENTRIES, Contender};
use entries::{Size, Topic};
use measure::Kind;
use report::{Row, Table};
use sink::Sink;

/// How many times fewer entries there are of 1.5 KiB, and how many times fewer go to Elasticsearch.
const FEWER: u64 = 5;

#[derive(Debug, Parser)]
struct Options {
    /// Entries of about 300 bytes for the sink that accepts everything; of those of 1.5 KiB there are a fifth, and
    /// Elasticsearch gets a fifth of either
    #[arg(long, default_value_t = 5_000_000)]
    entries: u64,
    /// How often each contender drains each topic
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only these contenders
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contender>,
    /// Leave out Elasticsearch
    #[arg(long)]
    no_elasticsearch: bool,
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
        .filter(|contender| {
            let is_there = contender.is_there();
            if !is_there {
                eprintln!("{} is left out: it is not installed", contender.name());
            }
            is_there
        })
        .collect();
    println!("the sink that accepts everything takes {:.1} million documents a second\n", capacity()?);
    let mut tables = Vec::new();
    for kind in [Kind::Accepting, Kind::Elasticsearch] {
        for size in [Size::Small, Size::Large] {
            let fewer = u64::from(size == Size::Large) + u64::from(kind == Kind::Elasticsearch);
            let entries = options.entries / FEWER.pow(u32::try_from(fewer)?);
            if entries > 0 && !(kind == Kind::Elasticsearch && options.no_elasticsearch) {
                let table = table(size, kind, entries, options.runs, &contenders).await?;
                println!("{}", table.text()?);
                tables.push(table);
            }
        }
    }
    let targets = targets::text(&tables)?;
    println!("{targets}");
    if !options.print_only {
        let arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        let command: Vec<String> = ["cargo xtask bench ingest".to_owned()].into_iter().chain(arguments).collect();
        let mut page = format!("Written by `{}`, on {} cores.\n\n", command.join(" "), cores());
        for table in &tables {
            page.push_str(&table.text()?);
        }
        report::write(&(page + &targets))?;
    }
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lets all contenders drain a topic, in turn, several times.
async fn table(size: Size, kind: Kind, entries: u64, runs: usize, contenders: &[Contender]) -> Result<Table> {
    let begun = Instant::now();
    let topic = entries::fill(size, entries).await?;
    let bytes = topic.bytes / topic.entries.max(1);
    eprintln!("{entries} entries of {bytes} bytes are in Kafka after {:.0} s", begun.elapsed().as_secs_f64());
    let sink = match kind {
        Kind::Accepting => "the sink that accepts everything",
        Kind::Elasticsearch => "Elasticsearch",
    };
    // What reads for itself alone needs no other sink.
    let of = contenders.iter().filter(|contender| kind == Kind::Accepting || **contender != Contender::Bare);
    let mut rows: Vec<Row> = of.map(|contender| Row { contender: *contender, runs: Vec::new() }).collect();
    if kind == Kind::Elasticsearch {
        // It warms up, and has Taffrail's template from now on, whoever writes.
        run(0, Contender::Taffrail, &topic, kind).await?;
    }
    for number in 1..=runs {
        for row in &mut rows {
            row.runs.extend(run(number, row.contender, &topic, kind).await?);
        }
    }
    if kind == Kind::Elasticsearch {
        node::clear().await?;
    }
    kafka::delete_topic(&topic.name).await?;
    let title = format!(
        "{} ({bytes} bytes on average), {} entries, into {sink}",
        size.name(),
        report::thousands(entries as f64)
    );
    Ok(Table { size, kind, title, rows })
}

/// A run. Where a peer fails there is nothing to show, which is no reason to show nothing at all.
async fn run(number: usize, contender: Contender, topic: &Topic, kind: Kind) -> Result<Option<measure::Measured>> {
    match measure::run(contender, topic, kind).await {
        Ok(measured) => {
            eprintln!(
                "run {number}: {:<28} {:>9.0} events/s {:>7.2} CPU s per million {:>6.0} MiB",
                contender.name(),
                measured.rate,
                measured.own.cpu,
                measured.own.memory,
            );
            Ok(Some(measured))
        }
        Err(error) if contender.is_peer() => {
            eprintln!("run {number}: {} failed: {error:#}", contender.name());
            Ok(None)
        }
        Err(error) => Err(error),
    }
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
