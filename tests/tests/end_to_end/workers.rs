//! Each worker in a process of its own, as in a cluster: they find each other over the network, and lose and double
//! nothing when one of them is killed.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use taffrail_tests::process::{Process, free_port, taffrail};
use taffrail_tests::webhook::Webhook;
use taffrail_tests::{elasticsearch, eventually, kafka, unique};

use crate::support::{PATIENCE, day_before, entry, pipeline};

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
    let workers = Workers { folder: tempfile::tempdir().unwrap(), metrics_port: free_port().unwrap() };
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

    let [ingestion_port, rules_port, page_port, telemetry_port] = std::array::from_fn(|_| free_port().unwrap());
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let ingestion = || {
        let data = workers.path("ingestion-data");
        let (file, data) = (pipeline_file.to_str().unwrap(), data.to_str().unwrap());
        workers.start("ingestion", &[file, "--data", data, "--listen", &listen(ingestion_port)])
    };
    let mut metrics = workers.metrics();
    let mut running = ingestion();
    let data = workers.path("rules-data");
    let pager = Webhook::listen("127.0.0.1").unwrap();
    let receivers = workers.path("receivers.yaml");
    std::fs::write(&receivers, json!([{"webhook": {"url": pager.url}}]).to_string()).unwrap();
    let [file, data, receivers] = [&rule_file, &data, &receivers].map(|path| path.to_str().unwrap());
    let _rules =
        workers.start("rules", &[file, "--data", data, "--receivers", receivers, "--listen", &listen(rules_port)]);
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
    let pattern = format!("{name}-2*");
    // The metrics worker goes, and comes again; then the ingestion worker.
    elasticsearch::at_least(&pattern, RECORDS as u64 / 10).await;
    metrics.kill().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    metrics = workers.metrics();
    elasticsearch::at_least(&pattern, RECORDS as u64 / 3).await;
    running.kill().unwrap();
    running = ingestion();
    producing.join().unwrap();
    assert_eq!(elasticsearch::at_least(&pattern, RECORDS as u64).await, RECORDS as u64);

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
    // The rule names no receivers: those are told that the worker was given.
    let told = || async { pager.told("\"firing\"").pop().ok_or("nobody is told of the alert") };
    let request = eventually(PATIENCE, told).await.request;
    assert!(request.starts_with("POST /hook ") && request.contains("\"firing\""), "{request}");
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

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_which_no_metric_is_made_need_no_metrics_worker() {
    let workers = Workers { folder: tempfile::tempdir().unwrap(), metrics_port: free_port().unwrap() };
    let name = unique("alone");
    let _indices = elasticsearch::Indices(name.clone());
    kafka::create_topic(&name, 1).await.unwrap();
    let mut producer = kafka::Producer::new(&name, 1).unwrap();
    for n in 0..1_000 {
        producer.send(entry(n, day_before(1)).as_bytes()).unwrap();
    }
    producer.flush().unwrap();
    let mut object = pipeline("shop", &name, &name);
    object["spec"]["metrics"] = json!([]);
    let [file, data] = ["pipeline.json", "data"].map(|path| workers.path(path));
    std::fs::write(&file, object.to_string()).unwrap();
    let [file, data] = [&file, &data].map(|path| path.to_str().unwrap());
    let _running = workers.start("ingestion", &[file, "--data", data, "--listen", "127.0.0.1:0"]);
    assert_eq!(elasticsearch::at_least(&format!("{name}-2*"), 1_000).await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_go_on_without_a_metrics_worker_and_are_counted_once_when_there_is_one() {
    let workers = Workers { folder: tempfile::tempdir().unwrap(), metrics_port: free_port().unwrap() };
    let name = unique("uncounted");
    let _indices = elasticsearch::Indices(name.clone());
    kafka::create_topic(&name, 3).await.unwrap();
    let pipeline_file = workers.path("pipeline.json");
    std::fs::write(&pipeline_file, pipeline("shop", &name, &name).to_string()).unwrap();
    let [ingestion_port, page_port] = std::array::from_fn(|_| free_port().unwrap());
    let [data, series, listen, page] = [
        workers.path("data").display().to_string(),
        workers.path("series").display().to_string(),
        format!("127.0.0.1:{ingestion_port}"),
        format!("127.0.0.1:{page_port}"),
    ];
    let file = pipeline_file.to_str().unwrap();
    let ingestion = || workers.start("ingestion", &[file, "--data", &data, "--listen", &listen]);
    let _dashboard = workers.start("dashboard", &[file, "--listen", &page, "--telemetry-listen", "127.0.0.1:0"]);
    let topic = name.clone();
    let produce = move |numbers: std::ops::Range<usize>| {
        let mut producer = kafka::Producer::new(&topic, 3).unwrap();
        for n in numbers {
            producer.send(entry(n, day_before(1) + i64::try_from(n).unwrap()).as_bytes()).unwrap();
        }
        producer.flush().unwrap();
    };
    let pattern = format!("{name}-2*");
    let status = || async {
        let answer = get(&format!("http://{listen}/api/v1/status")).await?;
        Ok::<_, String>(answer["objects"][0]["status"].clone())
    };
    let conditions = |status: &Value| -> Vec<String> {
        let all = status["conditions"].as_array().into_iter().flatten();
        all.map(|it| format!("{} {} {}", it["type"], it["status"], it["reason"]).replace('"', "")).collect()
    };
    // There is no metrics worker, and logs go on: also those of a worker that begins.
    produce(0..20_000);
    let mut running = ingestion();
    elasticsearch::at_least(&pattern, 10_000).await;
    running.kill().unwrap();
    running = ingestion();
    produce(20_000..30_000);
    eventually(PATIENCE, || async {
        let status = status().await?;
        let says_so = conditions(&status) == ["Ready True Running", "Degraded True MetricsUnavailable"];
        let is_done = status["consumed"] == 30_000 && status["lag"] == 0;
        if says_so && is_done { Ok(()) } else { Err(status.to_string()) }
    })
    .await;

    // Then there is one, while logs come. The ingestion worker is killed while it catches up.
    let producing = std::thread::spawn({
        let produce = produce.clone();
        move || produce(30_000..60_000)
    });
    let listen_metrics = format!("127.0.0.1:{}", workers.metrics_port);
    let metrics = workers.start("metrics", &["--data", &series, "--listen", &listen_metrics]);
    tokio::time::sleep(Duration::from_millis(400)).await;
    running.kill().unwrap();
    running = ingestion();
    producing.join().unwrap();
    assert_eq!(elasticsearch::at_least(&pattern, 60_000).await, 60_000);
    let sum = format!("http://{page}/api/v1/metrics/query?metric=log_count&function=sum&duration=10d");
    let value = eventually(PATIENCE, || async {
        let answer = get(&sum).await?;
        let is_there = answer["value"].as_f64() >= Some(60_000.0);
        if is_there { Ok(answer["value"].clone()) } else { Err(answer.to_string()) }
    })
    .await;
    assert_eq!(value, 60_000.0);
    eventually(PATIENCE, || async {
        let status = status().await?;
        if conditions(&status) == ["Ready True Running"] { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    // Nothing is counted again after that.
    running.stop("TERM").await.unwrap();
    let running = ingestion();
    produce(60_000..60_100);
    eventually(PATIENCE, || async {
        let answer = get(&sum).await?;
        if answer["value"] == 60_100.0 { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    running.stop("TERM").await.unwrap();
    metrics.stop("TERM").await.unwrap();
}
