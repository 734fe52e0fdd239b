//! Ingestion under harm: a seeded sequence of faults under load, on real brokers and a real Elasticsearch of its own, and
//! then the question whether every record is where it must be, once.
//!
//! It comes in rounds. In each, every kind of fault comes once, in an order that the seed decides, several at a time.
//! Then all faults end, everything must drain, and the accounts must agree with what was produced. After the last round
//! every document is looked at.
//!
//! All of it runs in namespaces of its own ([`enter`]), so that it harms nobody else's network and disk and leaves nothing
//! behind. The kernel cuts, loses and narrows what single workers send. Latency is that of a proxy in front of
//! Elasticsearch, because not every kernel has `tc netem`.

// The timeline is for who runs it.
#![allow(clippy::print_stderr)]

mod active;
mod check;
mod disk;
mod faults;
mod gate;
mod load;
mod network;
mod random;
mod stage;
mod truth;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use active::Active;
use faults::Fault;
use load::{Load, Producing};
use random::Random;
use stage::Stage;
use truth::{Expected, Truth};

/// How many faults there are at a time.
const AT_ONCE: usize = 4;
/// How often everything is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long everything may take to drain, after the last fault.
const DRAINED_WITHIN: Duration = Duration::from_secs(180);
/// How long what is stored may take to be found.
const STORED_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of Elasticsearch's disk beside those for documents.
const DISK: u64 = 768 << 20;
/// Bytes that a document takes at most, with what merging takes for a while.
const DOCUMENT: u64 = 600;

/// What is to happen.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// It decides the order of faults, when they come, and the records.
    pub seed: u64,
    /// How long; none is one round of those faults that take little time.
    pub length: Option<Duration>,
    /// Records a second, on average.
    pub rate: u64,
}

/// Runs this program anew in a network, mounts and processes of its own, with Elasticsearch at an address there. All files
/// are in one folder, which stays when something is wrong.
///
/// # Errors
/// When that can't be.
pub fn enter(arguments: &[String]) -> Result<ExitStatus> {
    let program = std::env::current_exe().context("no path of this program")?;
    let folder = tempfile::Builder::new().prefix("taffrail-chaos-").tempdir()?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"])
        .args(["--propagation", "private", "--mount-proc", "--"])
        .arg(program)
        .args(arguments)
        .env("TMPDIR", folder.path())
        .env("TAFFRAIL_TEST_ELASTICSEARCH", format!("http://127.0.0.1:{}", stage::SINK_PORT));
    let outcome = command.status();
    let status = outcome.context("could not make namespaces by `setpriv` and `unshare`, which are in util-linux")?;
    if !status.success() {
        eprintln!("the files of all processes are in {}", folder.keep().display());
    }
    Ok(status)
}

/// What has happened.
#[derive(Default)]
struct Tally {
    faults: BTreeMap<Fault, usize>,
    rounds: usize,
    deduplicated: u64,
    restarts: u64,
    truth: Truth,
}

struct Timeline(Instant);

impl Timeline {
    fn say(&self, text: &str) {
        eprintln!("{:8.1} s  {text}", self.0.elapsed().as_secs_f64());
    }
}

/// Does what the plan says, in the namespaces of [`enter`].
///
/// # Errors
/// With what is not as it must be.
pub async fn run(plan: Plan) -> Result<()> {
    let timeline = Timeline(Instant::now());
    eprintln!("seed {}", plan.seed);
    let outcome = go(plan, &std::env::temp_dir(), &timeline).await;
    if outcome.is_err() {
        timeline.say(&format!("seed {} FAILED", plan.seed));
    }
    outcome
}

async fn go(plan: Plan, folder: &Path, timeline: &Timeline) -> Result<()> {
    let load = Load::new(plan.seed, "chaos");
    let seconds = plan.length.map_or(120, |length| length.as_secs() + 300);
    let mut stage = Stage::start(folder, &load, DISK + plan.rate * seconds * DOCUMENT).await?;
    timeline.say(&format!("all is up; transform: {}", load.has_transform));
    let producing = Producing::start(load.clone(), &stage.cluster, stage::PARTITIONS, plan.rate)?;
    within(STORED_WITHIN, || check::has_begun(&load)).await?;
    let (mut random, mut tally) = (Random(plan.seed), Tally::default());
    let begun = Instant::now();
    let outcome = async {
        loop {
            tally.rounds += 1;
            round(plan, folder, &mut stage, &mut random, &mut tally, timeline).await?;
            calm(&load, &mut stage, &producing, &mut tally, timeline).await?;
            if plan.length.is_none_or(|length| begun.elapsed() >= length) {
                break;
            }
            producing.go_on();
        }
        let expected = Expected::of(&load, &tally.truth);
        let documents = check::documents(&load, &tally.truth).await?;
        timeline.say(&format!("{documents} documents are where they must be, and no others"));
        anyhow::Ok(expected)
    };
    let outcome = outcome.await;
    if outcome.is_err() {
        eprint!("{}", stage.last_words());
        stage.brokers.keep_files();
    }
    let expected = outcome?;
    producing.end()?;
    let faults: Vec<_> = tally.faults.iter().map(|(fault, count)| format!("{fault:?} {count}")).collect();
    eprintln!(
        "seed {}: {} records in {:.0} s and {} rounds: {} entries, {} dead letters, {} dropped, each once; {} came \
         again and were known; sources made anew {}; at most {} MiB resident\nfaults: {}",
        plan.seed,
        tally.truth.count(),
        timeline.0.elapsed().as_secs_f64(),
        tally.rounds,
        expected.entries,
        expected.letters,
        expected.dropped,
        tally.deduplicated,
        tally.restarts,
        stage.peak >> 20,
        faults.join(", "),
    );
    Ok(())
}

/// Every kind of fault, once.
async fn round(
    plan: Plan,
    folder: &Path,
    stage: &mut Stage,
    random: &mut Random,
    tally: &mut Tally,
    timeline: &Timeline,
) -> Result<()> {
    let is_short = plan.length.is_none();
    let mut deck: Vec<_> = Fault::ALL.into_iter().filter(|fault| !is_short || fault.is_short()).collect();
    random.shuffle(&mut deck);
    let pause = if is_short { 1_000 } else { 3_000 };
    if is_short {
        // What takes longest comes first.
        deck.sort_by_key(|fault| !matches!(fault, Fault::FullDisk | Fault::PauseWorker));
    }
    let mut active: Vec<Active> = Vec::new();
    let mut next = Instant::now() + random.between(500, 2_000);
    while !deck.is_empty() || !active.is_empty() {
        tokio::time::sleep(TICK).await;
        stage.check().await?;
        let mut place = 0;
        while place < active.len() {
            let fault = &mut active[place];
            if fault.is_due() {
                let effect = fault.effect(stage).await;
                timeline.say(&format!("- {:?}{}{effect}", fault.fault, fault.target.text()));
            }
            if fault.is_over(stage, folder).await? {
                active.swap_remove(place);
            } else {
                place += 1;
            }
        }
        if active.len() >= AT_ONCE || Instant::now() < next {
            continue;
        }
        for place in 0..deck.len() {
            if let Some(begun) = active::begin(deck[place], stage, &active, random, is_short)? {
                timeline.say(&format!("+ {:?}{}", begun.fault, begun.target.text()));
                *tally.faults.entry(begun.fault).or_default() += 1;
                active.push(begun);
                deck.remove(place);
                next = Instant::now() + random.between(200, pause);
                break;
            }
        }
    }
    Ok(())
}

/// No more faults: everything drains, and the accounts agree.
async fn calm(
    load: &Load,
    stage: &mut Stage,
    producing: &Producing,
    tally: &mut Tally,
    timeline: &Timeline,
) -> Result<()> {
    // Some records after the last fault: they must pass, too.
    tokio::time::sleep(Duration::from_secs(1)).await;
    producing.rest();
    let begun = Instant::now();
    while !(producing.has_settled()? && stage.has_settled()) {
        ensure!(begun.elapsed() < DRAINED_WITHIN, "not everything that was produced was acknowledged");
        tokio::time::sleep(TICK).await;
        stage.check().await?;
    }
    tally.truth.read(stage, load, producing.produced())?;
    let expected = Expected::of(load, &tally.truth);
    let begun = Instant::now();
    let deduplicated = loop {
        stage.check().await?;
        let account = stage.statuses().await;
        match account.and_then(|statuses| check::account(&statuses, &tally.truth, &expected)) {
            Ok(deduplicated) => break deduplicated,
            Err(error) if begun.elapsed() > DRAINED_WITHIN => return Err(error.context("it does not drain")),
            Err(_) => tokio::time::sleep(TICK * 2).await,
        }
    };
    let drained = begun.elapsed();
    within(STORED_WITHIN, || check::counts(load, &expected)).await?;
    // What was not counted while the metrics worker was away is read again.
    within(DRAINED_WITHIN, || check::counted(&expected)).await?;
    tally.deduplicated = deduplicated;
    tally.restarts += stage.examine().await?;
    timeline.say(&format!(
        "= round {}: {} records, {} of them twice, drained within {:.1} s, accounts agree, {deduplicated} came again, at most {} MiB",
        tally.rounds,
        tally.truth.count(),
        tally.truth.doubled(),
        drained.as_secs_f64(),
        stage.peak >> 20
    ));
    Ok(())
}

/// Asks again for as long as a busy machine may take.
async fn within<F: Future<Output = Result<()>>>(limit: Duration, mut ask: impl FnMut() -> F) -> Result<()> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Err(error) if begun.elapsed() > limit => return Err(error),
            Err(_) => tokio::time::sleep(TICK * 2).await,
            Ok(()) => return Ok(()),
        }
    }
}
