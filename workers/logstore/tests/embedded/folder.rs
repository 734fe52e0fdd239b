//! The folder: what is in it, who may use it, how long things stay, and what happens when it can't be written.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use taffrail_logstore::embedded::{EmbeddedError, EmbeddedOptions};
use taffrail_logstore::q::Query;
use taffrail_logstore::{DeadLetters as _, EmbeddedStore, LogStore, Outcome, SearchRequest, TimeSpan, WriteError};

use crate::conformance::letters::{letter, letters};
use crate::conformance::support::{DAY, NOON, plain};
use crate::support::{await_total, count, options};

fn days_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("days")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_written_is_there_when_the_store_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..300).map(|n| plain(&format!("r{n}"), NOON + n * 1_000_000)).collect();
    for part in records.chunks(100) {
        let store = EmbeddedStore::open(folder.path(), options()).unwrap();
        assert!(store.write(&part.into()).await.unwrap().iter().all(|outcome| *outcome == Outcome::Indexed));
        store.write_dead_letters(&[letter("a/b", part[0].timestamp, b"x")]).await.unwrap();
        store.close().await;
    }
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    await_total(&store, 300).await;
    assert_eq!(store.write(&records.as_slice().into()).await.unwrap(), vec![Outcome::Duplicate; 300]);
    assert_eq!(letters(&*store, "a/b").await.len(), 3);
    assert_eq!(days_in(folder.path()), ["2024-08-16", "2024-08-17", "2024-08-18", "2024-08-19"]);
}

#[tokio::test]
async fn closing_is_quick_and_final_and_one_process_has_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    let error = EmbeddedStore::open(folder.path(), options()).err().unwrap();
    assert!(matches!(error, EmbeddedError::Locked(_)), "{error}");
    let records: Vec<_> = (0..5_000).map(|n| plain(&format!("r{n}"), NOON + n)).collect();
    store.write(&records.as_slice().into()).await.unwrap();
    let begun = Instant::now();
    store.close().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "closing took {:?}", begun.elapsed());
    let error = store.write(&records.as_slice().into()).await.unwrap_err();
    assert!(matches!(&error, WriteError::Unavailable(text) if text.contains("closed")), "{error}");
    store.close().await;
    let again = EmbeddedStore::open(folder.path(), options()).unwrap();
    await_total(&again, 5_000).await;
}

#[tokio::test]
async fn logs_of_many_days_can_come_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    let records: Vec<_> = (0..1_200).map(|n| plain(&format!("r{n:04}"), NOON + n % 120 * DAY + n)).collect();
    for part in records.chunks(400) {
        assert_eq!(store.write(&part.into()).await.unwrap(), vec![Outcome::Indexed; 400]);
    }
    await_total(&store, 1_200).await;
    assert_eq!(days_in(folder.path()).len(), 120);
    assert_eq!(store.write(&records.as_slice().into()).await.unwrap(), vec![Outcome::Duplicate; 1_200]);
    let mut expected: Vec<_> = records.iter().map(|record| (record.timestamp, record.id.as_str())).collect();
    expected.sort_by(|a, b| b.cmp(a));
    let request = SearchRequest { query: Query::All, span: TimeSpan::default(), limit: 1_200, cursor: None };
    let found = store.search(&request).await.unwrap();
    assert!(found.logs.iter().map(|log| log.id.as_str()).eq(expected.iter().map(|(_, id)| *id)));
}

#[tokio::test]
async fn a_day_goes_when_nothing_has_been_written_to_it_for_the_retention() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    // Both have happened long ago, which does not matter.
    store.write(&[plain("a", NOON), plain("b", NOON + DAY)].into()).await.unwrap();
    await_total(&store, 2).await;
    store.close().await;
    let meta = File::options().write(true).open(folder.path().join("days/2024-08-16/meta.json")).unwrap();
    meta.set_modified(SystemTime::now() - options().retention - Duration::from_secs(60)).unwrap();
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while days_in(folder.path()) != ["2024-08-17"] {
        assert!(Instant::now() < deadline, "there are still {:?}", days_in(folder.path()));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    await_total(&store, 1).await;
    // It is as if it had never been written.
    assert_eq!(store.write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Indexed]);
    await_total(&store, 2).await;
}

#[tokio::test]
async fn retention_can_be_changed_while_running() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    store.write(&[plain("a", NOON)].into()).await.unwrap();
    store.write_dead_letters(&[letter("a/b", 1, b"x")]).await.unwrap();
    await_total(&store, 1).await;
    store.set_retention(Duration::from_secs(1));
    let deadline = Instant::now() + Duration::from_secs(30);
    while !days_in(folder.path()).is_empty() || !letters(&*store, "a/b").await.is_empty() {
        assert!(Instant::now() < deadline, "what is too old is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(count(&store, "*").await, 0);
}

#[tokio::test]
async fn a_day_that_can_not_be_written_holds_up_no_other_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    let in_the_way = folder.path().join("days/2024-08-16");
    fs::write(&in_the_way, "a file where a folder should be").unwrap();
    // Nothing is known of that day, so its logs are taken, and kept until they can be indexed.
    let outcomes = store.write(&[plain("a", NOON), plain("b", NOON + DAY)].into()).await.unwrap();
    assert_eq!(outcomes, [Outcome::Indexed, Outcome::Indexed]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while count_of(&store, "b").await == 0 {
        assert!(Instant::now() < deadline, "the other day is held up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(store.write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Duplicate]);
    fs::remove_file(&in_the_way).unwrap();
    await_total(&store, 2).await;
    assert_eq!(store.write(&[plain("a", NOON)].into()).await.unwrap(), [Outcome::Duplicate]);
}

/// How many logs of the second day there are.
async fn count_of(store: &EmbeddedStore, id: &str) -> usize {
    let span = TimeSpan { from: Some(NOON + DAY / 2), to: None };
    let request = SearchRequest { query: Query::All, span, limit: 10, cursor: None };
    let page = store.search(&request).await;
    page.map_or(0, |page| page.logs.iter().filter(|log| log.id == id).count())
}

#[tokio::test]
async fn too_old_options_are_no_reason_to_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), EmbeddedOptions { retention: Duration::MAX }).unwrap();
    store.write(&[plain("a", NOON)].into()).await.unwrap();
    await_total(&store, 1).await;
}

#[tokio::test]
async fn a_write_that_is_too_large_is_refused_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    let mut record = plain("large", NOON);
    record.source = vec![b' '; (64 << 20) + 1].into();
    let error = store.write(&[record].into()).await.unwrap_err();
    assert!(matches!(error, WriteError::TooLarge(_)), "{error}");
    assert!(store.write(&[].into()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_and_searchers_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    // Each log is written by two of the writers.
    let writers = (0..8).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut indexed = 0;
            for batch in 0..25 {
                let first = (writer / 2 * 25 + batch) * 20;
                let records: Vec<_> =
                    (first..first + 20).map(|n| plain(&format!("w{n:05}"), NOON + 1 + n % 7)).collect();
                let outcomes = store.write(&records.as_slice().into()).await.unwrap();
                indexed += outcomes.iter().filter(|outcome| **outcome == Outcome::Indexed).count();
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            indexed
        })
    });
    let writing = futures::future::join_all(writers);
    let searching =
        tokio::spawn({
            let store = Arc::clone(&store);
            async move {
                let mut last = 0;
                while last < 2_000 {
                    let request =
                        SearchRequest { query: Query::All, span: TimeSpan::default(), limit: 10_000, cursor: None };
                    let page = store.search(&request).await.unwrap();
                    assert_eq!(page.total, page.logs.len() as u64);
                    assert!(page.total >= last, "there were {last} logs, and now are {}", page.total);
                    assert!(page.logs.windows(2).all(|pair| {
                        (&pair[0].entry.timestamp, &pair[0].id) > (&pair[1].entry.timestamp, &pair[1].id)
                    }));
                    last = page.total;
                }
            }
        });
    let indexed: usize = writing.await.into_iter().map(Result::unwrap).sum();
    assert_eq!(indexed, 2_000);
    tokio::time::timeout(Duration::from_secs(30), searching).await.unwrap().unwrap();
}
