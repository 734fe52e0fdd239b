//! Dead letters: they are listed and shown, and when what was wrong is mended they are sent again, each once, whatever
//! happens to the process on the way.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use taffrail_tests::process::{Process, free_port, taffrail};
use taffrail_tests::taffrail::{Options, Taffrail};
use taffrail_tests::{elasticsearch, eventually, kafka, unique};

use crate::support::{PATIENCE, consumed, day_before, entry, index, pipeline};

/// A transform that fails for some records, until it is mended.
const BROKEN: &str = r#"if mod(to_int!(.fields.n), 2) == 0 { .fields.broken = to_int!(.message) }"#;

/// Runs `taffrail dead-letters` against a page.
fn cli(page: &str, arguments: &[&str]) -> Output {
    let mut command: Command = taffrail("dead-letters").unwrap();
    command.args(arguments).args(["--url", page]).stdin(Stdio::null());
    command.output().unwrap()
}

/// What it prints, which must be JSON on one line.
fn cli_json(page: &str, arguments: &[&str]) -> Value {
    let output = cli(page, &[arguments, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

async fn redrive(page: &str, name: &str, body: &Value) -> Result<Value, String> {
    let address = format!("{page}/api/v1/pipelines/default/{name}/dead-letters/redrive");
    let response = reqwest::Client::new().post(&address).json(body).send().await;
    let response = response.map_err(|error| error.to_string())?;
    let status = response.status();
    let answer: Value = response.json().await.map_err(|error| error.to_string())?;
    if status.is_success() { Ok(answer) } else { Err(format!("{status}: {answer}")) }
}

/// Has all letters sent again, once the pipeline runs; they must fit into one request.
async fn all_sent(page: &str) -> Value {
    let all = json!({});
    eventually(PATIENCE, || redrive(page, "shop", &all)).await
}

/// How many letters there are, of a reason.
async fn total(taffrail: &Taffrail, name: &str, more: &str) -> u64 {
    let answer = taffrail.ask(&format!("pipelines/default/{name}/dead-letters?limit=1{more}")).await.unwrap();
    answer["total"].as_u64().unwrap()
}

async fn await_total(taffrail: &Taffrail, name: &str, letters: u64) {
    eventually(PATIENCE, || async {
        let found = total(taffrail, name, "").await;
        if found == letters { Ok(()) } else { Err(format!("{found} of {letters} letters")) }
    })
    .await;
}

async fn counted(taffrail: &Taffrail) -> u64 {
    let answer = taffrail.ask("metrics/query?metric=log_count&function=sum&duration=10d").await.unwrap();
    answer["value"].as_f64().unwrap_or(0.0) as u64
}

/// Writes the pipeline's file, with or without the transform that fails.
fn write(objects: &Path, mut object: Value, is_broken: bool) {
    if is_broken {
        object["spec"]["transform"] = BROKEN.into();
    }
    let fresh = objects.with_extension("new");
    std::fs::write(&fresh, object.to_string()).unwrap();
    std::fs::rename(&fresh, objects).unwrap();
}

/// Has the letters sent again by a command on its own, kills the process when so many documents are there, and starts it
/// anew.
async fn kill_on_the_way(taffrail: Taffrail, name: &str, pattern: &str, at: u64, options: Options<'_>) -> Taffrail {
    let (page, pipeline) = (taffrail.page.clone(), name.to_owned());
    // Until the pipeline runs.
    let none = json!({"status": 599});
    eventually(PATIENCE, || redrive(&page, name, &none)).await;
    let sending = std::thread::spawn(move || cli(&page, &["redrive", &pipeline]));
    elasticsearch::at_least(pattern, at).await;
    taffrail.kill().unwrap();
    let output = sending.join().unwrap();
    assert!(!output.status.success(), "it was to be killed on the way, not at the end: {output:?}");
    Taffrail::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_in_an_index_are_sent_again_once_through_kills() {
    const ENTRIES: usize = 12_000;
    const RUBBISH: usize = 30;
    const REFUSED: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let name = unique("letters");
    let _indices = elasticsearch::Indices(name.clone());
    kafka::create_topic(&name, 3).await.unwrap();
    let (bad_day, noon) = (day_before(4), day_before(1) + 43_200_000);
    // Of one day Elasticsearch takes no log: somebody has made its index, and `message` is to be a number there.
    let mapping = json!({"mappings": {"properties": {"message": {"type": "long"}}}});
    let bad_index = index(&name, bad_day);
    let (status, answer) = elasticsearch::request(Method::PUT, &bad_index, &mapping).await.unwrap();
    assert_eq!(status, 200, "{answer}");

    let mut producer = kafka::Producer::new(&name, 3).unwrap();
    for n in 0..ENTRIES {
        // All with an odd number: those can be transformed.
        let millis = noon + i64::try_from(n).unwrap();
        producer.send(entry(n, millis).as_bytes()).unwrap();
    }
    for n in 0..REFUSED {
        producer.send(entry(ENTRIES + 1 + 2 * n, bad_day + i64::try_from(n).unwrap()).as_bytes()).unwrap();
    }
    for n in 0..RUBBISH {
        producer.send(format!("no JSON, number {n}").as_bytes()).unwrap();
    }
    producer.flush().unwrap();

    let objects = folder.path().join("objects.json");
    write(&objects, pipeline("shop", &name, &name), true);
    let start = || Options::new(&data, [&objects]);
    let taffrail = Taffrail::start(start()).await.unwrap();
    let all = (ENTRIES + REFUSED + RUBBISH) as u64;
    let status = consumed(&taffrail, "shop", all).await;
    let broken = (ENTRIES / 2) as u64;
    let letters = broken + (REFUSED + RUBBISH) as u64;
    assert_eq!((&status["deadLettered"], &status["indexed"]), (&json!(letters), &json!(ENTRIES / 2)), "{status}");
    await_total(&taffrail, "shop", letters).await;
    // What the store refuses was read and counted, what can't be read was not.
    let read = (ENTRIES / 2 + REFUSED) as u64;
    assert_eq!(counted(&taffrail).await, read);

    // They are counted by kind, listed and shown.
    let answer = taffrail.ask("pipelines/default/shop/dead-letters?limit=3").await.unwrap();
    let counts: Vec<_> = answer["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| (kind["status"].clone(), kind["count"].clone()))
        .collect();
    let expected = [(0, broken), (400, REFUSED as u64), (0, RUBBISH as u64)].map(|(a, b)| (json!(a), json!(b)));
    assert_eq!(counts, expected, "{answer}");
    let page = taffrail.page.clone();
    let listed = cli(&page, &["list", "shop", "--reason", "not JSON", "-n", "5"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&format!("{RUBBISH} dead letters")) && listed.contains(&format!(" {name} ")), "{listed}");
    let first = cli_json(&page, &["list", "default/shop", "--reason", "not JSON", "-n", "1"]);
    assert_eq!((&first["topic"], &first["status"]), (&json!(name), &json!(0)), "{first}");
    let shown = cli(&page, &["show", "shop", first["id"].as_str().unwrap()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("no JSON, number ") && shown.contains(&format!("topic       {name}")), "{shown}");

    // A dry run says what would be, and does nothing.
    let pattern = format!("{name}-2*");
    let dry = cli_json(&page, &["redrive", "shop", "--dry-run", "--status", "400"]);
    assert_eq!((&dry["matched"], &dry["reasons"][0]["count"]), (&json!(REFUSED), &json!(REFUSED)), "{dry}");
    assert_eq!(total(&taffrail, "shop", "").await, letters);
    assert_eq!(elasticsearch::count(&pattern).await.unwrap(), (ENTRIES / 2) as u64);

    // While nothing is mended, all is refused again, and stays.
    let sent = cli_json(&page, &["redrive", "shop", "--status", "400"]);
    assert_eq!((&sent["refused"], &sent["indexed"]), (&json!(REFUSED), &json!(0)), "{sent}");
    await_total(&taffrail, "shop", letters).await;

    // The transform is mended, and the process killed twice while they are sent.
    taffrail.stop("TERM").await.unwrap();
    write(&objects, pipeline("shop", &name, &name), false);
    let taffrail = Taffrail::start(start()).await.unwrap();
    let start_count = (ENTRIES / 2) as u64;
    let taffrail = kill_on_the_way(taffrail, "shop", &pattern, start_count + 1_000, start()).await;
    let taffrail = kill_on_the_way(taffrail, "shop", &pattern, start_count + 3_000, start()).await;
    // The index that somebody had made goes, too.
    elasticsearch::request(Method::DELETE, &bad_index, &Value::Null).await.unwrap();
    let output = cli(&taffrail.page, &["redrive", "shop"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && text.contains(&format!("refused again {RUBBISH}")), "{text}");

    // Each is there once, and was counted once. What was no log is a dead letter still.
    let documents = elasticsearch::documents(&pattern).await.unwrap();
    let mut numbers: Vec<u64> = documents.iter().map(|log| log["_source"]["fields"]["n"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!((documents.len(), numbers.len()), (ENTRIES + REFUSED, ENTRIES + REFUSED));
    await_total(&taffrail, "shop", RUBBISH as u64).await;
    assert_eq!(counted(&taffrail).await, (ENTRIES + REFUSED) as u64);
    let again = cli_json(&taffrail.page, &["redrive", "shop"]);
    let outcome = ["indexed", "duplicate", "refused"].map(|name| again[name].as_u64().unwrap());
    assert_eq!(outcome, [0, 0, RUBBISH as u64], "{again}");
    assert_eq!(counted(&taffrail).await, (ENTRIES + REFUSED) as u64);
    // The account of what the source gave has not changed.
    let status = consumed(&taffrail, "shop", all).await;
    assert_eq!(status["deadLettered"], letters, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_in_a_topic_are_sent_again_once_and_stay_done_with() {
    const ENTRIES: usize = 4_000;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let name = unique("letter-topic");
    let _indices = elasticsearch::Indices(name.clone());
    let letters_topic = format!("{name}-dead");
    kafka::create_topic(&name, 2).await.unwrap();
    kafka::create_topic(&letters_topic, 2).await.unwrap();
    let noon = day_before(1) + 43_200_000;
    let mut producer = kafka::Producer::new(&name, 2).unwrap();
    for n in 0..ENTRIES {
        producer.send(entry(n, noon + i64::try_from(n).unwrap()).as_bytes()).unwrap();
    }
    producer.send(b"\xff no text").unwrap();
    producer.flush().unwrap();
    let mut object = pipeline("shop", &name, &name);
    object["spec"]["deadLetter"] = json!({"kafka": {"topic": letters_topic}});
    let objects = folder.path().join("objects.json");
    write(&objects, object.clone(), true);
    let start = || Options::new(&data, [&objects]);
    let taffrail = Taffrail::start(start()).await.unwrap();
    consumed(&taffrail, "shop", ENTRIES as u64 + 1).await;
    let broken = (ENTRIES / 2) as u64;
    assert_eq!(total(&taffrail, "shop", "").await, broken + 1);
    assert_eq!(total(&taffrail, "shop", "&reason=not+UTF-8").await, 1);
    let answer = taffrail.ask("pipelines/default/shop/dead-letters?limit=1&reason=UTF").await.unwrap();
    let id = answer["letters"][0]["id"].as_str().unwrap();
    let whole = taffrail.ask(&format!("pipelines/default/shop/dead-letters?id={id}")).await.unwrap();
    assert_eq!(whole["letters"][0]["originalBase64"], "/yBubyB0ZXh0", "{whole}");

    taffrail.stop("TERM").await.unwrap();
    write(&objects, object, false);
    let taffrail = Taffrail::start(start()).await.unwrap();
    eventually(PATIENCE, || async {
        let dry = redrive(&taffrail.page, "shop", &json!({"dryRun": true})).await?;
        if dry["matched"] == broken + 1 { Ok(()) } else { Err(dry.to_string()) }
    })
    .await;
    let pattern = format!("{name}-2*");
    let taffrail = kill_on_the_way(taffrail, "shop", &pattern, broken + 500, start()).await;
    let sent = all_sent(&taffrail.page).await;
    assert_eq!((&sent["refused"], &sent["unsettled"], &sent["cursor"]), (&json!(1), &json!(0), &Value::Null), "{sent}");
    assert_eq!(elasticsearch::at_least(&pattern, ENTRIES as u64).await, ENTRIES as u64);
    assert_eq!(counted(&taffrail).await, ENTRIES as u64);

    // What is done with stays so when another process reads the topic.
    taffrail.stop("TERM").await.unwrap();
    let taffrail = Taffrail::start(start()).await.unwrap();
    assert_eq!(total(&taffrail, "shop", "").await, 1);
    let again = all_sent(&taffrail.page).await;
    assert_eq!(
        (&again["indexed"], &again["duplicate"], &again["refused"]),
        (&json!(0), &json!(0), &json!(1)),
        "{again}"
    );
    assert_eq!(counted(&taffrail).await, ENTRIES as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_beside_the_built_in_store_are_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let object = json!({
        "apiVersion": "taffrail.dev/v1alpha1",
        "kind": "LogPipeline",
        "metadata": {"name": "shop"},
        "spec": {
            "source": {"http": {}},
            "metrics": [{"name": "log_count", "type": "counter"}],
            "batch": {"size": 100, "timeout": "100ms"},
            "sink": {"embedded": {}},
        },
    });
    let objects = folder.path().join("objects.json");
    write(&objects, object.clone(), true);
    let data = folder.path().join("data");
    let taffrail = Taffrail::start(Options::new(&data, [&objects])).await.unwrap();
    let now = day_before(0);
    let body: Vec<String> = (0..100).map(|n| entry(n, now + i64::try_from(n).unwrap())).collect();
    let answer = taffrail.send(body.join("\n")).await.unwrap();
    assert_eq!(answer["deadLettered"], 50, "{answer}");
    assert_eq!(total(&taffrail, "shop", "&status=0").await, 50);
    taffrail.stop("TERM").await.unwrap();
    write(&objects, object, false);
    let taffrail = Taffrail::start(Options::new(&data, [&objects])).await.unwrap();
    let sent = all_sent(&taffrail.page).await;
    assert_eq!((&sent["indexed"], &sent["refused"]), (&json!(50), &json!(0)), "{sent}");
    assert_eq!((total(&taffrail, "shop", "").await, counted(&taffrail).await), (0, 100));
    eventually(PATIENCE, || async {
        let answer = taffrail.ask("logs/search?limit=1").await.map_err(|error| format!("{error:#}"))?;
        if answer["total"] == 100 { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_has_the_worker_of_the_pipeline_send_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let name = unique("letter-workers");
    let _indices = elasticsearch::Indices(name.clone());
    kafka::create_topic(&name, 1).await.unwrap();
    let mut producer = kafka::Producer::new(&name, 1).unwrap();
    let noon = day_before(1) + 43_200_000;
    for n in 0..10 {
        producer.send(entry(n, noon).as_bytes()).unwrap();
    }
    producer.flush().unwrap();
    let objects = folder.path().join("objects.json");
    write(&objects, pipeline("shop", &name, &name), true);
    let [metrics, ingestion, page, telemetry] = std::array::from_fn(|_| free_port().unwrap());
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let start = |worker: &str, arguments: &[&str]| {
        let mut command = taffrail(worker).unwrap();
        Process::start(command.args(arguments), &folder.path().join(worker)).unwrap()
    };
    let of_metrics = format!("http://{}", listen(metrics));
    let _metrics = start("metrics", &["--data", &path("series"), "--listen", &listen(metrics)]);
    let file = path("objects.json");
    let start_ingestion = || {
        let arguments = [&file, "--metrics", &of_metrics, "--data", &path("data"), "--listen", &listen(ingestion)];
        start("ingestion", &arguments)
    };
    let running = start_ingestion();
    let pattern = format!("http://{}", listen(ingestion));
    let (page_listen, telemetry_listen) = (listen(page), listen(telemetry));
    let _dashboard = start(
        "dashboard",
        &[
            &file,
            "--metrics",
            &of_metrics,
            "--ingestion",
            &pattern,
            "--listen",
            &page_listen,
            "--telemetry-listen",
            &telemetry_listen,
        ],
    );
    let page = format!("http://{page_listen}");
    eventually(PATIENCE, || async {
        let dry = redrive(&page, "shop", &json!({"dryRun": true})).await?;
        if dry["matched"] == 5 { Ok(()) } else { Err(dry.to_string()) }
    })
    .await;
    running.stop("TERM").await.unwrap();
    let away = redrive(&page, "shop", &json!({})).await.unwrap_err();
    assert!(away.starts_with("503") && away.contains("does not answer"), "{away}");
    write(&objects, pipeline("shop", &name, &name), false);
    let running = start_ingestion();
    let sent = all_sent(&page).await;
    assert_eq!((&sent["indexed"], &sent["refused"]), (&json!(5), &json!(0)), "{sent}");
    assert_eq!(elasticsearch::at_least(&format!("{name}-2*"), 10).await, 10);
    let left = redrive(&page, "shop", &json!({"dryRun": true})).await.unwrap();
    assert_eq!(left["matched"], 0, "{left}");
    tokio::time::timeout(Duration::from_secs(60), running.stop("TERM")).await.unwrap().unwrap();
}
