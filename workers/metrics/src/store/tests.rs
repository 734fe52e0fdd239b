#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicI64, Ordering};

use taffrail_query::{Labels, MetricsEngine, ShortQuery};

use super::*;
use crate::{Delta, Kind, MAX_BATCH_SAMPLES, Origin};

const NOW: i64 = 1_700_000_000_000;

#[derive(Clone)]
struct Time(Arc<AtomicI64>);

impl Time {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(NOW)))
    }

    fn options(&self) -> Options {
        let time = Arc::clone(&self.0);
        Options {
            retention: Duration::from_secs(3600),
            clock: Arc::new(move || time.load(Ordering::SeqCst)),
            ..Options::default()
        }
    }

    fn pass(&self, milliseconds: i64) {
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

fn open(directory: &Path) -> Store {
    Store::open(directory, Time::new().options(), &Telemetry::default()).unwrap()
}

fn increment(service: &str, ago: i64, value: f64) -> Delta {
    let labels = Arc::new(Labels::from([("service".to_owned(), service.to_owned())]));
    Delta { metric: "errors".into(), kind: Kind::Counter, labels, timestamp_ms: NOW - ago, value }
}

fn batch(source: &str, first: u64, next: u64, samples: Vec<Delta>) -> DeltaBatch {
    DeltaBatch { origin: Some(Origin { source: source.to_owned(), first, next }), samples }
}

fn ask(store: &Store, query: &str) -> Option<f64> {
    let query: ShortQuery = query.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(store.instant(&query, Duration::from_secs(86_400), NOW + 1_000_000)).unwrap();
    found.first().map(|series| series.value)
}

#[test]
fn a_batch_counts_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert_eq!(store.counted("p0"), None);
    let first = batch("p0", 0, 10, vec![increment("api", 5, 1.0), increment("web", 4, 2.0)]);
    assert_eq!(store.push(&first).unwrap().accepted, 2);
    assert!(store.push(&first).unwrap().seen);
    assert_eq!(store.counted("p0"), Some(10));
    // A gap is fine: nothing was to be counted in it. So is a batch without samples.
    store.push(&batch("p0", 12, 15, vec![increment("api", 3, 4.0)])).unwrap();
    store.push(&batch("p0", 15, 20, Vec::new())).unwrap();
    let error = store.push(&batch("p0", 18, 25, vec![increment("api", 2, 8.0)])).unwrap_err().to_string();
    assert!(error.contains("positions 18 to 25 of `p0`") && error.contains("from 20 on"), "{error}");
    // Another source has its own positions.
    store.push(&batch("p1", 0, 1, vec![increment("api", 1, 16.0)])).unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&store, "sum errors"), Some(23.0));
        drop(store.clone());
        store.core().checkpoint().unwrap();
    }
    drop(store);
    let store = open(directory.path());
    assert_eq!((store.counted("p0"), store.counted("p1")), (Some(20), Some(1)));
    assert!(store.push(&first).unwrap().seen);
    assert_eq!(ask(&store, "sum errors service=api"), Some(21.0));
    let error = store.push(&batch("p0", 30, 29, Vec::new())).unwrap_err().to_string();
    assert!(error.contains("positions 30 to 29"), "{error}");
}

#[test]
fn a_bad_sample_harms_only_itself() {
    let directory = tempfile::tempdir().unwrap();
    let time = Time::new();
    let options = Options { max_series: 2, ..time.options() };
    let store = Store::open(directory.path(), options, &Telemetry::default()).unwrap();
    let gauge = Delta { kind: Kind::Gauge, ..increment("api", 0, 1.0) };
    let samples = vec![
        increment("api", 0, f64::NAN),
        increment("api", 0, -1.0),
        increment("api", 3_600_001, 1.0),
        increment("api", -600_001, 1.0),
        increment("api", 3_600_000, 1.0),
        increment("api", -600_000, 2.0),
        gauge.clone(),
        Delta { kind: Kind::CumulativeCounter, ..increment("api", 0, 1.0) },
        Delta { metric: "5xx".into(), ..increment("api", 0, 1.0) },
        increment("web", 0, 4.0),
        increment("too many", 0, 1.0),
        increment("web", 0, 8.0),
    ];
    let pushed = store.push(&DeltaBatch { origin: None, samples }).unwrap();
    assert_eq!((pushed.accepted, pushed.refused), (4, 8));
    let reasons: Vec<_> = pushed.reasons.iter().map(|(index, refusal)| (*index, refusal.reason())).collect();
    let expected = [
        (0, "value"),
        (1, "value"),
        (2, "too_old"),
        (3, "too_new"),
        (6, "type"),
        (7, "type"),
        (8, "name"),
        (10, "series_limit"),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(ask(&store, "sum errors"), Some(15.0));
    let pushed = store.push(&DeltaBatch { origin: None, samples: vec![gauge; 20] }).unwrap();
    assert_eq!((pushed.refused, pushed.reasons.len()), (20, Pushed::MAX_REASONS));
    let message = pushed.reasons[0].1.to_string();
    assert_eq!(message, "errors is a counter of increments, the sample is for a gauge");
}

#[test]
fn one_directory_has_one_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let error = Store::open(directory.path(), Options::default(), &Telemetry::default()).err().unwrap().to_string();
    assert!(error.contains("in use by another process"), "{error}");
    drop(store);
    open(directory.path());
}

#[test]
fn what_is_old_goes_and_a_counter_is_known_as_long_as_it_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let time = Time::new();
    let store = Store::open(directory.path(), time.options(), &Telemetry::default()).unwrap();
    store.push(&DeltaBatch { origin: None, samples: vec![increment("old", 1000, 1.0)] }).unwrap();
    time.pass(3_000_000);
    let mut young = increment("young", -3_000_000, 2.0);
    store.push(&batch("p0", 0, 7, vec![young.clone()])).unwrap();
    store.core().prune();
    assert_eq!((store.series(), ask(&store, "sum errors service=old by service")), (2, Some(1.0)));
    time.pass(600_000);
    store.core().prune();
    assert_eq!((store.series(), ask(&store, "sum errors service=old")), (1, None));
    // The number of the dropped series goes to a new one, also when the log is read again.
    young.labels = Arc::new(Labels::from([("service".to_owned(), "new".to_owned())]));
    young.value = 5.0;
    store.push(&batch("p0", 7, 8, vec![young])).unwrap();
    assert_eq!(store.core().index.read().symbols(), 4);
    drop(store);
    let store = Store::open(directory.path(), time.options(), &Telemetry::default()).unwrap();
    let query: ShortQuery = "sum errors by service".parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(store.instant(&query, Duration::from_secs(3600), NOW + 3_600_000)).unwrap();
    let found: Vec<_> = found.into_iter().map(|series| (series.labels["service"].clone(), series.value)).collect();
    assert_eq!(found, [("new".to_owned(), 5.0), ("young".to_owned(), 2.0)]);
    time.pass(7_200_000);
    store.core().prune();
    assert_eq!((store.series(), store.counted("p0")), (0, Some(8)));
}

#[test]
fn descriptions_are_kept_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let description = Description { help: "Time to answer".to_owned(), bounds: vec![1.0, 2.0] };
    store.describe("response_time", description.clone()).unwrap();
    let error = store.describe("m", Description { bounds: vec![2.0, 2.0], ..Description::default() }).unwrap_err();
    assert!(error.to_string().contains("each greater than the one before"), "{error}");
    store.describe("m", Description { bounds: vec![f64::INFINITY], ..Description::default() }).unwrap_err();
    let error = store.describe("m", Description { help: "x".repeat(2000), ..Description::default() }).unwrap_err();
    assert!(error.to_string().contains("2000 bytes"), "{error}");
    drop(store);
    let store = open(directory.path());
    store.core().checkpoint().unwrap();
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.core().descriptions.read().get("response_time"), Some(&description));
}

#[test]
fn a_batch_that_cannot_be_written_is_not_counted() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let samples = vec![increment("api", 0, 1.0); MAX_BATCH_SAMPLES + 1];
    let error = store.push(&batch("p0", 0, 1, samples)).unwrap_err().to_string();
    assert!(error.contains("send at most 1000000 at once"), "{error}");
    assert_eq!((store.counted("p0"), store.series()), (None, 0));
}

/// The files of a store as a kill at this moment would leave them.
fn copy_files(from: &Path, to: &Path) {
    let names = || {
        let mut names: Vec<_> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    loop {
        let before = names();
        let copied = before.iter().all(|name| fs::copy(from.join(name), to.join(name)).is_ok());
        // Of files that come and go in between no moment is caught. Their order is that of writing.
        if copied && before == names() {
            return;
        }
        fs::read_dir(to).unwrap().for_each(|entry| fs::remove_file(entry.unwrap().path()).unwrap());
    }
}

struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn whenever_it_is_killed_each_acknowledged_batch_counts_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let acknowledged = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut position = 0;
            while !done.load(Ordering::SeqCst) {
                let service = format!("s{}", position % 50);
                let samples = vec![increment(&service, position as i64 % 1000, 1.0), increment("all", 0, 1.0)];
                store.push(&batch("p0", position, position + 1, samples)).unwrap();
                position += 1;
                acknowledged.store(position, Ordering::SeqCst);
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                store.core().checkpoint().unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        // Ends the others also when an assertion here fails.
        let _end = EndOnDrop(&done);
        for _ in 0..25 {
            let copy = tempfile::tempdir().unwrap();
            let promised = acknowledged.load(Ordering::SeqCst);
            copy_files(directory.path(), copy.path());
            let killed = open(copy.path());
            let counted = killed.counted("p0").unwrap_or(0);
            assert!(counted >= promised, "{counted} of {promised}");
            assert_eq!(ask(&killed, "count errors service=all").unwrap_or(0.0), counted as f64);
            assert_eq!(ask(&killed, "sum errors service!=all").unwrap_or(0.0), counted as f64);
            // What was not acknowledged is sent again, and counts once as well.
            for position in promised..counted + 1 {
                let samples = vec![increment("all", 0, 1.0)];
                killed.push(&batch("p0", position, position + 1, samples)).unwrap();
            }
            assert_eq!(ask(&killed, "count errors service=all"), Some((counted + 1) as f64));
        }
    });
    store.sync().unwrap();
}

#[test]
fn damage_to_the_log_costs_what_comes_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for position in 0..20 {
        store.push(&batch("p0", position, position + 1, vec![increment("api", 0, 1.0)])).unwrap();
    }
    drop(store);
    let log = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let log = log.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "log")).unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&log, bytes).unwrap();
    let store = open(directory.path());
    let counted = store.counted("p0").unwrap();
    assert!((5..15).contains(&counted), "{counted}");
    assert_eq!(ask(&store, "sum errors"), Some(counted as f64));
    // The rest is sent again.
    store.push(&batch("p0", counted, 20, vec![increment("api", 0, 20.0 - counted as f64)])).unwrap();
    drop(store);
    assert_eq!(ask(&open(directory.path()), "sum errors"), Some(20.0));
}

#[test]
fn a_damaged_checkpoint_is_not_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.push(&DeltaBatch { origin: None, samples: vec![increment("api", 0, 1.0)] }).unwrap();
    store.core().checkpoint().unwrap();
    drop(store);
    let path = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let path = path.into_iter().find(|path| path.to_string_lossy().contains("checkpoint")).unwrap();
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = Store::open(directory.path(), Time::new().options(), &Telemetry::default()).err();
        let error = error.unwrap_or_else(|| panic!("byte {at} does not matter")).to_string();
        assert!(error.contains("move it away to start without the data in it"), "{error}");
        fs::write(&path, &good[..at]).unwrap();
        assert!(Store::open(directory.path(), Time::new().options(), &Telemetry::default()).is_err());
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(ask(&open(directory.path()), "sum errors"), None);
}
