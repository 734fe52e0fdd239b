//! One contender, draining one topic into one sink.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use taffrail_tests::process::{Process, peak_memory, processor_time};

use crate::contenders::{Contender, Setup};
use crate::entries::{Topic, write};
use crate::limits::DONE;
use crate::sink::{Sink, Tally};

/// How often the sink is asked whether it has all.
const LOOK_EVERY: Duration = Duration::from_millis(4);
/// A contender that delivers nothing for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(90);

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Entries a second, from the start of the process until the sink had all of them.
    pub rate: f64,
    /// Seconds of processor time for a million entries.
    pub cpu: f64,
    /// MiB of memory at most.
    pub memory: f64,
    /// Documents that came more than once.
    pub doubled: u64,
}

/// Lets a contender drain a topic into the sink that accepts everything.
pub async fn accepting(contender: Contender, topic: &Topic, kafka: &str) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    let sink = Sink::start(topic.entries)?;
    let setup = Setup {
        folder: folder.path(),
        kafka,
        topic,
        group: &taffrail_tests::unique("bench"),
        sink: &sink.address.to_string(),
    };
    let mut command = contender.command(&setup)?;
    let begun = Instant::now();
    let mut process = Process::start(&mut command, &folder.path().join("contender"))?;
    let (mut had, mut since) = (0, Instant::now());
    let ended = loop {
        if contender == Contender::Bare {
            if process.output().contains(DONE) {
                break Instant::now();
            }
        } else if let Some(at) = sink.tally.complete() {
            break at;
        }
        process.check()?;
        let has = sink.tally.distinct();
        if has > had {
            (had, since) = (has, Instant::now());
        } else if since.elapsed() > STUCK_AFTER {
            bail!("{} is stuck at {had} of {} entries:\n{}", contender.name(), topic.entries, process.log());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let millions = topic.entries as f64 / 1e6;
    let measured = Measured {
        rate: topic.entries as f64 / (ended - begun).as_secs_f64(),
        cpu: processor_time(process.id())?.as_secs_f64() / millions,
        memory: peak_memory(process.id())? as f64 / f64::from(1 << 20),
        doubled: sink.tally.received() - sink.tally.distinct() - sink.tally.strange(),
    };
    if contender != Contender::Bare {
        verify(contender, topic, &sink.tally).with_context(|| format!("{} failed", contender.name()))?;
    }
    Ok(measured)
}

/// Makes sure that every entry has come as it must.
fn verify(contender: Contender, topic: &Topic, tally: &Tally) -> Result<()> {
    ensure!(tally.strange() == 0, "{} documents are no entries", tally.strange());
    if contender.keeps_bytes() {
        ensure!(tally.sum() == topic.sum, "not all documents are the bytes that were produced");
        return Ok(());
    }
    let samples = tally.samples();
    ensure!(!samples.is_empty(), "there is no document to look at");
    let mut text = String::new();
    for (number, document) in samples {
        text.clear();
        write(topic.size, number, &mut text)?;
        let (entry, document): (Value, Value) = (serde_json::from_str(&text)?, serde_json::from_slice(&document)?);
        ensure!(contender.is_result(&entry, &document), "{document} is not what {entry} must become");
    }
    Ok(())
}
