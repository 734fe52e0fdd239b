//! A process that is killed while it writes: what it was told to be stored is there afterwards, once.

use std::collections::{BTreeSet, HashMap};
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use taffrail_logstore::q::Query;
use taffrail_logstore::{EmbeddedStore, LogStore, Outcome, Record, SearchRequest, TimeSpan};

use crate::conformance::support::{DAY, NOON, plain};
use crate::support::{await_total, options};

const FOLDER: &str = "TAFFRAIL_TEST_CRASH_FOLDER";
const FROM: &str = "TAFFRAIL_TEST_CRASH_FROM";
const BATCH: usize = 40;
/// After how many milliseconds each process is killed: before, while and after the first logs are indexed.
const KILLED_AFTER: [u64; 8] = [30, 120, 420, 450, 700, 900, 1_300, 2_000];

fn numbered(n: usize) -> Record {
    plain(&format!("crash-{n}"), NOON + i64::try_from(n).unwrap() % 3 * DAY + i64::try_from(n).unwrap())
}

/// Not a test, but what the process does that is killed.
#[allow(clippy::print_stdout)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let from: usize = std::env::var(FROM).unwrap().parse().unwrap();
    let store = EmbeddedStore::open(Path::new(&folder), options()).unwrap();
    println!("open");
    // Two at a time write the same logs in another order: one of them stores each.
    let writers = [0, 1].map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for batch in 0.. {
                let first = from + (batch ^ writer) * BATCH;
                let records: Vec<_> = (first..first + BATCH).map(numbered).collect();
                let outcomes = store.write(&records.as_slice().into()).await.unwrap();
                let letters: String = outcomes.iter().map(letter_of).collect();
                println!("stored {first} {letters}");
            }
        })
    });
    futures::future::join_all(writers).await;
}

fn letter_of(outcome: &Outcome) -> char {
    match outcome {
        Outcome::Indexed => 'i',
        Outcome::Duplicate => 'd',
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_being_killed_and_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    let mut indexed: HashMap<usize, u32> = HashMap::new();
    let mut attempted = 0;
    for after in KILLED_AFTER {
        // As a source does that does not know what was stored last.
        let from = acknowledged
            .last()
            .map_or(0, |last: &usize| (last + 1).saturating_sub(10 * BATCH) / (2 * BATCH) * (2 * BATCH));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::writes_until_it_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(FROM, from.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.by_ref().any(|line| line.ends_with("open")), "the process did not open the store");
        std::thread::sleep(Duration::from_millis(after));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            let mut words = line.split(' ');
            let (Some("stored"), Some(first), Some(outcomes)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let first: usize = first.parse().unwrap();
            for (n, outcome) in (first..).zip(outcomes.chars()) {
                acknowledged.insert(n);
                *indexed.entry(n).or_default() += u32::from(outcome == 'i');
            }
        }
        attempted = acknowledged.last().map_or(0, |last| last + 3 * BATCH);
    }
    assert!(acknowledged.len() > 1_000, "only {} logs were written", acknowledged.len());
    let twice: Vec<_> = indexed.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?} were said to be new twice");

    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    let outcomes = store.write(&(0..attempted).map(numbered).collect()).await.unwrap();
    for (n, outcome) in outcomes.iter().enumerate().filter(|(n, _)| acknowledged.contains(n)) {
        assert_eq!(*outcome, Outcome::Duplicate, "log {n} was acknowledged, and is lost");
    }
    // All are there now, each once.
    await_total(&store, attempted as u64).await;
    let mut found = BTreeSet::new();
    let mut cursor = None;
    loop {
        let request = SearchRequest { query: Query::All, span: TimeSpan::default(), limit: 10_000, cursor };
        let page = store.search(&request).await.unwrap();
        for log in page.logs {
            assert!(found.insert(log.id.clone()), "{} is there twice", log.id);
        }
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, (0..attempted).map(|n| format!("crash-{n}")).collect());
}

#[tokio::test]
async fn half_a_frame_at_the_end_of_the_log_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let store = EmbeddedStore::open(folder.path(), options()).unwrap();
        let records: Vec<_> = (round * 50..round * 50 + 50).map(numbered).collect();
        assert_eq!(store.write(&records.as_slice().into()).await.unwrap(), vec![Outcome::Indexed; 50]);
        // Before it has come into an index.
        store.close().await;
        let newest = std::fs::read_dir(folder.path().join("wal")).unwrap().map(|it| it.unwrap().path()).max().unwrap();
        let mut file = OpenOptions::new().append(true).open(newest).unwrap();
        file.write_all(&[200, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
    }
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    await_total(&store, 150).await;
    let outcomes = store.write(&(0..150).map(numbered).collect()).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Duplicate; 150]);
}
