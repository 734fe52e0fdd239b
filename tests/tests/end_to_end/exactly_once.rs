//! The classic configuration: everything arrives, and once, whatever happens to the process on the way.

use std::collections::BTreeMap;
use std::path::Path;

use taffrail_tests::taffrail::{Options, Taffrail};
use taffrail_tests::{checkout, elasticsearch, kafka};

use crate::support::{DAY, consumed, day_before, entry, index};

const ENTRIES: usize = 200_000;

async fn start(data: &Path) -> Taffrail {
    let config = checkout("examples/config.yaml");
    let mut options = Options::new(data, ["--config".as_ref(), config.as_os_str()]);
    options.environment = vec![("KAFKA_BROKERS", kafka::address()), ("ELASTICSEARCH_URL", elasticsearch::address())];
    Taffrail::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_three_days_arrive_once_through_kills_and_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _indices = elasticsearch::Indices("logs".to_owned());
    // Of an earlier run on the same servers.
    let _ = kafka::delete_topic("logs").await;
    kafka::create_topic("logs", 3).await.unwrap();
    let first_day = day_before(3);
    // Days come in turns, as they do when several sources of different age are read.
    let time = move |n: usize| {
        let n = i64::try_from(n).unwrap();
        first_day + n % 3 * DAY + n / 3 * 1_000
    };
    // The last fifth comes after the stop, however quick the process is until then.
    let (stopped, go_on) = std::sync::mpsc::channel();
    let producing = std::thread::spawn(move || {
        let mut producer = kafka::Producer::new("logs", 3).unwrap();
        for n in 0..ENTRIES {
            if n == ENTRIES / 5 * 4 {
                go_on.recv().unwrap();
            }
            producer.send(entry(n, time(n)).as_bytes()).unwrap();
        }
        producer.flush().unwrap();
    });

    let total = ENTRIES as u64;
    for killed_at in [total / 20, total / 5, total * 2 / 5] {
        let taffrail = start(&data).await;
        elasticsearch::at_least("logs-2*", killed_at).await;
        taffrail.kill().unwrap();
        let count = elasticsearch::count("logs-2*").await.unwrap();
        assert!(count < total, "the process was to be killed on the way, not at the end");
    }
    let taffrail = start(&data).await;
    elasticsearch::at_least("logs-2*", total * 3 / 5).await;
    taffrail.stop("TERM").await.unwrap();
    assert!(elasticsearch::count("logs-2*").await.unwrap() < total, "it was to be stopped on the way, not at the end");
    stopped.send(()).unwrap();
    let taffrail = start(&data).await;
    let status = consumed(&taffrail, "logs", total).await;
    assert_eq!(status["deadLettered"], 0, "{status}");
    producing.join().unwrap();

    let mut indices: BTreeMap<usize, String> = BTreeMap::new();
    for document in elasticsearch::documents("logs-2*").await.unwrap() {
        let n = usize::try_from(document["_source"]["fields"]["n"].as_u64().unwrap()).unwrap();
        let source: serde_json::Value = serde_json::from_str(&entry(n, time(n))).unwrap();
        assert_eq!(document["_source"], source);
        let twice = indices.insert(n, document["_index"].as_str().unwrap().to_owned());
        assert_eq!(twice, None, "entry {n} is there twice");
    }
    assert_eq!(indices.len(), ENTRIES);
    for (n, found) in indices {
        assert_eq!(found, index("logs", time(n)), "entry {n}");
    }

    // What was derived from them was counted once, too.
    let answer = taffrail.ask("metrics/query?metric=log_count&function=sum&duration=10d").await.unwrap();
    assert_eq!(answer["value"], ENTRIES as f64, "{answer}");
    let answer = taffrail.ask("metrics/query?query=count+response_time+by+service&duration=10d").await.unwrap();
    assert_eq!(answer["series"][0]["value"], ENTRIES as f64, "{answer}");
}
