//! How `taffrail standalone` feels: how quickly it is up and stops, when the quick start's alert fires, what it takes
//! while nothing happens. `cargo xtask bench standalone` prints a line for each figure.

#![allow(clippy::print_stdout, missing_docs)]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use taffrail_tests::process::processor_time;
use taffrail_tests::taffrail::{Options, Taffrail};
use taffrail_tests::{checkout, eventually};

const RUNS: usize = 7;
const LOGS: usize = 200_000;
const IDLE: Duration = Duration::from_secs(10);

fn print(name: &str, unit: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let (least, middle, most) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    println!("{name:<58} {middle:>9.1} {unit}  ({least:.1} to {most:.1} of {})", values.len());
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Starts and stops it several times on one data folder.
async fn up_and_down(what: &str, data: &Path, objects: &[PathBuf]) -> Result<()> {
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let taffrail = Taffrail::start(Options::new(data, objects)).await?;
        up.push(millis(taffrail.up_after));
        down.push(millis(taffrail.stop("INT").await?));
    }
    print(&format!("up, {what}"), "ms", up);
    print(&format!("stopped, {what}"), "ms", down);
    Ok(())
}

/// Pipes logs in, and gives how many a second are found.
async fn fill(folder: &Path, data: &Path) -> Result<f64> {
    let mut lines = String::new();
    for n in 0..LOGS {
        writeln!(
            lines,
            r#"{{"timestamp":"2026-11-2{}T0{}:00:00Z","level":"info","message":"GET /products/{n} took {} ms","service":"web","host":"web-{}","tags":{{}},"fields":{{"n":{n}}}}}"#,
            n % 4,
            n % 10,
            n % 700,
            n % 5,
        )?;
    }
    let file = folder.join("logs.ndjson");
    fs::write(&file, lines)?;
    let mut options = Options::new(data, [] as [&str; 0]);
    options.stdin = Stdio::from(File::open(file)?);
    let taffrail = Taffrail::start(options).await?;
    let begun = Instant::now();
    eventually(Duration::from_secs(120), || async {
        let answer = taffrail.ask("logs/search?limit=1").await.map_err(|error| format!("{error:#}"))?;
        if answer["total"] == LOGS { Ok(()) } else { Err(answer["total"].to_string()) }
    })
    .await;
    let rate = LOGS as f64 / begun.elapsed().as_secs_f64();
    taffrail.stop("INT").await?;
    Ok(rate)
}

/// Processor time of a process so far, in seconds, and its memory in MiB.
fn usage(pid: u32) -> Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = memory.trim().trim_end_matches(" kB").parse()?;
    Ok((processor_time(pid)?.as_secs_f64(), kib / 1024.0))
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let objects = [checkout("examples/quickstart")];

    let begun = Instant::now();
    let taffrail = Taffrail::start(Options::new(&data, &objects)).await?;
    print("up, quick start, the very first time", "ms", vec![millis(taffrail.up_after)]);
    eventually(Duration::from_secs(60), || async {
        let alerts = taffrail.ask("alerts").await.map_err(|error| format!("{error:#}"))?;
        if alerts["alerts"][0]["state"] == "Firing" { Ok(()) } else { Err("nothing fires".to_owned()) }
    })
    .await;
    print("first alert, quick start", "s", vec![begun.elapsed().as_secs_f64()]);
    taffrail.stop("INT").await?;
    up_and_down("quick start, with its data", &data, &objects).await?;

    let data = folder.path().join("filled");
    print("piped in and found, logs a second", "", vec![fill(folder.path(), &data).await?]);
    up_and_down(&format!("with {LOGS} logs of four days"), &data, &[]).await?;
    let taffrail = Taffrail::start(Options::new(&data, [] as [&str; 0])).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = usage(taffrail.pid())?;
    tokio::time::sleep(IDLE).await;
    let after = usage(taffrail.pid())?;
    print("idle, processor", "% of a core", vec![(after.0 - before.0) / IDLE.as_secs_f64() * 100.0]);
    print("idle, memory", "MiB", vec![after.1]);
    ensure!(taffrail.stop("INT").await? < Duration::from_secs(2), "it took too long to stop");
    Ok(())
}
