//! Each worker in a process of its own, as in a cluster: they find each other over the network, and lose and double
//! nothing when one of them is killed.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use taffrail_tests::process::{Process, taffrail};
use taffrail_tests::{elasticsearch, eventually, kafka, unique};

use crate::support::{PATIENCE, day_before, entry, pipeline};

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct Workers {
    folder: tempfile::TempDir,
    metrics_port: u16,
}

impl Workers {
    fn start(&self, worker: &str, arguments: &[&str]) -> Process {
        let mut command = taffrail(worker).unwrap();
        command.args(arguments);
        if worker != "metrics" {
            command.args(["--metrics", &format!("http://127.0.0.1:{}", self.metrics_port)]);
        }
        Process::start(&mut command, &self.path(worker)).unwrap()
    }

    fn metrics(&self) -> Process {
        let listen = format!("127.0.0.1:{}", self.metrics_port);
        self.start("metrics", &["--data", self.path("series").to_str().unwrap(), "--listen", &listen])
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}

async fn get(address: &str) -> Result<Value, String> {
    let response = reqwest::get(address).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let text = response.text().await.map_err(|error| error.to_string())?;
    if status.is_success() {
        Ok(serde_json::from_str(&text).unwrap_or_default())
    } else {
        Err(format!("{status}: {text}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_find_each_other_and_count_once_through_kills() {
    const RECORDS: usize = 30_000;
    let workers = Workers { folder: tempfile::tempdir().unwrap(), metrics_port: free_port() };
    let name = unique("workers");
    let _indices = elasticsearch::Indices(name.clone());
    kafka::create_topic(&name, 2).await.unwrap();
    let pipeline_file = workers.path("pipeline.json");
    let mut object = pipeline("shop", &name, &name);
    object["metadata"]["generation"] = 7.into();
    std::fs::write(&pipeline_file, object.to_string()).unwrap();
    let rule_file = workers.path("rule.json");
    let rule = json!({
        "apiVersion": "taffrail.dev/v1alpha1", "kind": "AlertRule", "metadata": {"name": "many"},
        "spec": {"query": "sum log_count level=error", "operator": ">=", "threshold": RECORDS / 4, "duration": "10d", "interval": "1s"},
    });
    std::fs::write(&rule_file, rule.to_string()).unwrap();

    let [ingestion_port, rules_port, page_port, telemetry_port] = std::array::from_fn(|_| free_port());
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let ingestion = || {
        let data = workers.path("ingestion-data");
        let (file, data) = (pipeline_file.to_str().unwrap(), data.to_str().unwrap());
        workers.start("ingestion", &[file, "--data", data, "--listen", &listen(ingestion_port)])
    };
    let mut metrics = workers.metrics();
    let mut running = ingestion();
    let data = workers.path("rules-data");
    let rule_arguments =
        [rule_file.to_str().unwrap(), "--data", data.to_str().unwrap(), "--listen", &listen(rules_port)];
    let _rules = workers.start("rules", &rule_arguments);
    let _dashboard = workers.start(
        "dashboard",
        &[
            pipeline_file.to_str().unwrap(),
            rule_file.to_str().unwrap(),
            "--listen",
            &listen(page_port),
            "--telemetry-listen",
            &listen(telemetry_port),
        ],
    );

    let producing = std::thread::spawn({
        let name = name.clone();
        move || {
            let mut producer = kafka::Producer::new(&name, 2).unwrap();
            for n in 0..RECORDS {
                producer.send(entry(n, day_before(1) + i64::try_from(n).unwrap()).as_bytes()).unwrap();
            }
            producer.flush().unwrap();
        }
    });
    let documents = |at_least: usize| {
        let pattern = format!("{name}-2*");
        async move {
            eventually(PATIENCE, || async {
                let count = elasticsearch::count(&pattern).await.map_err(|error| format!("{error:#}"))?;
                if count >= at_least as u64 { Ok(count) } else { Err(format!("{count} documents")) }
            })
            .await
        }
    };
    // The metrics worker goes, and comes again; then the ingestion worker.
    documents(RECORDS / 10).await;
    metrics.kill().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    metrics = workers.metrics();
    documents(RECORDS / 3).await;
    running.kill().unwrap();
    running = ingestion();
    producing.join().unwrap();
    assert_eq!(documents(RECORDS).await, RECORDS as u64);

    let page = format!("http://127.0.0.1:{page_port}/api/v1");
    let sum = format!("{page}/metrics/query?metric=log_count&function=sum&duration=10d");
    let value = eventually(PATIENCE, || async {
        let answer = get(&sum).await?;
        if answer["value"].as_f64() >= Some(RECORDS as f64) {
            Ok(answer["value"].clone())
        } else {
            Err(answer.to_string())
        }
    })
    .await;
    assert_eq!(value, RECORDS as f64);
    let found = get(&format!("{page}/logs/search?limit=1")).await.unwrap();
    assert_eq!(found["total"], RECORDS, "{found}");

    // What each of them has loaded, as the operator asks for it.
    eventually(PATIENCE, || async {
        let answer = get(&format!("http://127.0.0.1:{ingestion_port}/api/v1/status")).await?;
        let object = &answer["objects"][0];
        let is_so =
            object["generation"] == 7 && object["status"]["consumed"] == RECORDS && object["status"]["lag"] == 0;
        if is_so { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    eventually(PATIENCE, || async {
        let answer = get(&format!("http://127.0.0.1:{rules_port}/api/v1/status")).await?;
        if answer["objects"][0]["status"]["state"] == "Firing" { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    for port in [ingestion_port, rules_port, telemetry_port, workers.metrics_port] {
        for probe in ["readyz", "healthz"] {
            let address = format!("http://127.0.0.1:{port}/{probe}");
            eventually(PATIENCE, || get(&address)).await;
        }
        let text = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.unwrap().text().await.unwrap();
        assert!(port == telemetry_port || text.contains("taffrail_"), "{text}");
    }
    running.stop("TERM").await.unwrap();
    metrics.stop("TERM").await.unwrap();
}
