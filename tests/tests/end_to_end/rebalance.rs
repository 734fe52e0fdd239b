//! Workers that come, go and are killed, brokers that go and come, and a sink that is slow all the while: everything
//! arrives once, and every partition's account adds up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use taffrail_tests::brokers::Brokers;
use taffrail_tests::ingestion::Worker;
use taffrail_tests::proxy::Proxy;
use taffrail_tests::{elasticsearch, eventually, unique};

use crate::support::{PATIENCE, day_before, entry, numbers, pipeline};

const PARTITIONS: i32 = 6;

struct Stage {
    folder: tempfile::TempDir,
    object: Value,
    started: usize,
    workers: Vec<Worker>,
}

impl Stage {
    fn grow(&mut self, to: usize) {
        while self.workers.len() < to {
            let name = format!("worker-{}", self.started);
            self.started += 1;
            self.workers.push(Worker::start(self.folder.path(), &name, &self.object).unwrap());
        }
    }

    /// The partitions of each worker, when each is of one worker and all are of somebody.
    async fn owned(&self) -> Result<Vec<BTreeMap<i64, Value>>, String> {
        let mut owned = Vec::new();
        for worker in &self.workers {
            let status = worker.status().await.map_err(|error| format!("{error:#}"))?;
            let partitions = status["partitions"].as_array().cloned().unwrap_or_default();
            let partitions: BTreeMap<i64, Value> =
                partitions.into_iter().map(|partition| (partition["partition"].as_i64().unwrap(), partition)).collect();
            for (labels, lag) in worker.samples("taffrail_ingestion_lag").await.map_err(|error| format!("{error:#}"))? {
                assert!(lag >= 0.0, "{labels} {lag}");
            }
            owned.push(partitions);
        }
        let all: Vec<i64> = owned.iter().flat_map(|partitions| partitions.keys().copied()).collect();
        let distinct: BTreeSet<i64> = all.iter().copied().collect();
        if all.len() == PARTITIONS as usize && distinct.len() == all.len() {
            Ok(owned)
        } else {
            Err(format!("partitions {all:?} of {} workers", owned.len()))
        }
    }

    /// Waits until partitions are shared by all workers.
    async fn shared(&self) {
        eventually(PATIENCE, || async {
            let owned = self.owned().await?;
            if owned.iter().all(|partitions| !partitions.is_empty()) {
                Ok(())
            } else {
                let logs: Vec<_> = self.workers.iter().map(Worker::log).collect();
                Err(format!(
                    "not shared yet: {:?}\n{}",
                    owned.iter().map(BTreeMap::len).collect::<Vec<_>>(),
                    logs.join("\n")
                ))
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_once_while_workers_and_brokers_come_and_go() {
    let name = unique("rebalance");
    let _indices = elasticsearch::Indices(name.clone());
    let mut brokers = Brokers::start(3, &[], "").await.unwrap();
    brokers.cluster().create_topic(&name, PARTITIONS, 3, &[]).await.unwrap();
    let proxy = Proxy::listen(&elasticsearch::address()).unwrap();
    proxy.delay(Duration::from_millis(150));
    let mut object = pipeline("shop", &name, &name);
    object["spec"]["metrics"] = json!([]);
    object["spec"]["source"]["kafka"]["brokers"] = json!(brokers.addresses("PLAINTEXT"));
    object["spec"]["sink"]["elasticsearch"]["urls"] = json!([proxy.url()]);
    object["spec"]["batch"] = json!({"size": 200, "timeout": "200ms", "maxBytes": "64Ki"});
    let mut stage = Stage { folder: tempfile::tempdir().unwrap(), object, started: 0, workers: Vec::new() };

    let (enough, produced) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let producing = std::thread::spawn({
        let (enough, produced) = (enough.clone(), produced.clone());
        let mut producer = brokers.cluster().producer(&name, PARTITIONS, &[("acks", "all")]).unwrap();
        move || {
            while !enough.load(Ordering::Acquire) {
                for _ in 0..20 {
                    let n = produced.fetch_add(1, Ordering::AcqRel);
                    producer.send(entry(n, day_before(1) + i64::try_from(n).unwrap()).as_bytes()).unwrap();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            producer.flush().unwrap();
        }
    });

    stage.grow(1);
    stage.shared().await;
    stage.grow(4);
    stage.shared().await;
    // A broker gives its partitions to others, and gets some again.
    brokers.stop(0).await.unwrap();
    // Two workers go: one in order, one not.
    stage.workers.remove(0).kill().unwrap();
    stage.workers.remove(1).stop().await.unwrap();
    brokers.launch(0).unwrap();
    stage.shared().await;
    brokers.all_up().await.unwrap();
    // And one just dies.
    brokers.kill(1).unwrap();
    stage.grow(5);
    stage.shared().await;
    brokers.launch(1).unwrap();
    brokers.all_up().await.unwrap();
    enough.store(true, Ordering::Release);
    producing.join().unwrap();
    proxy.delay(Duration::ZERO);

    let total = produced.load(Ordering::Acquire) as u64;
    let counted = |partition: &Value| {
        let parts = ["indexed", "deduplicated", "deadLettered", "filtered"];
        parts.iter().map(|part| partition[*part].as_u64().unwrap_or(0)).sum::<u64>()
    };
    let owned = eventually(PATIENCE, || async {
        let owned = stage.owned().await?;
        let partitions = || owned.iter().flat_map(BTreeMap::values);
        let lag: Option<u64> = partitions().map(|partition| partition["lag"].as_u64()).sum();
        let sum: u64 = partitions().map(counted).sum();
        if lag == Some(0) && sum >= total {
            Ok(owned)
        } else {
            Err(format!("lag {lag:?}, {sum} of {total}: {owned:?}"))
        }
    })
    .await;
    let found = numbers(&format!("{name}-2*")).await;
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "something is there twice");
    assert_eq!((found.len() as u64, found.last()), (total, Some(&(total - 1))));
    // Records went to partitions in turn.
    for (number, partition) in owned.iter().flatten() {
        let count = |name: &str| partition[name].as_u64().unwrap_or(0);
        let expected = (total + PARTITIONS as u64 - 1 - *number as u64) / PARTITIONS as u64;
        let account = (counted(partition), count("lost"), count("deadLettered"));
        assert_eq!(account, (expected, 0, 0), "{number}: {partition}");
    }
    for worker in stage.workers {
        let lags = worker.samples("taffrail_ingestion_lag").await.unwrap();
        let partitions = worker.status().await.unwrap()["partitions"].as_array().map_or(0, Vec::len);
        assert_eq!(lags.len(), partitions, "{lags:?}");
        assert_eq!(
            worker.samples("taffrail_ingestion_source_restarts_total").await.unwrap().values().sum::<f64>(),
            0.0
        );
        worker.stop().await.unwrap();
    }
}
