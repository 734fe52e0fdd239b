//! Rules from files: created, edited, broken, mended and deleted while the process runs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use taffrail_tests::eventually;
use taffrail_tests::taffrail::{Options, Taffrail};

/// The promise is one second; a busy machine gets some more to answer us.
const A_SECOND: Duration = Duration::from_millis(1_000);

fn pipeline() -> Value {
    json!({
        "apiVersion": "taffrail.dev/v1alpha1", "kind": "LogPipeline", "metadata": {"name": "http"},
        "spec": {
            "source": {"http": {"port": 8081}},
            "metrics": [{"name": "error_count", "type": "counter", "match": {"level": "error"}, "labels": {"service": "service"}}],
            "batch": {"size": 100, "timeout": "100ms"},
            "sink": {"embedded": {}},
        },
    })
}

fn rule(name: &str, threshold: f64, summary: &str) -> Value {
    json!({
        "apiVersion": "taffrail.dev/v1alpha1", "kind": "AlertRule", "metadata": {"name": name},
        "spec": {
            "query": "sum error_count service=api", "operator": ">", "threshold": threshold, "duration": "10m", "interval": "1s",
            "annotations": {"summary": summary}, "notify": [{"log": {}}],
        },
    })
}

fn write(folder: &Path, name: &str, content: &str) -> Instant {
    fs::write(folder.join(name), content).unwrap();
    Instant::now()
}

/// Waits until a rule is as it should be, and gives how long that took.
async fn becomes(taffrail: &Taffrail, name: &str, since: Instant, is_so: impl Fn(&Value) -> bool) -> Duration {
    eventually(Duration::from_secs(20), || async {
        let rule = taffrail.rule(name).await.map_err(|error| format!("{error:#}"))?;
        if is_so(&rule) { Ok(since.elapsed()) } else { Err(format!("{rule}\n{}", taffrail.log())) }
    })
    .await
}

fn is_in_state(rule: &Value, state: &str) -> bool {
    rule["status"]["state"] == state && rule["ready"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_rules_are_in_effect_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let objects = folder.path().join("objects");
    fs::create_dir(&objects).unwrap();
    write(&objects, "pipeline.json", &pipeline().to_string());
    let taffrail = Taffrail::start(Options::new(&folder.path().join("data"), [&objects])).await.unwrap();
    eventually(Duration::from_secs(10), || taffrail.send(r#"{"level": "error", "service": "api", "message": "no"}"#))
        .await;

    // Created: it counts what came before it, the very first error too.
    let since = write(&objects, "first.json", &rule("first", 0.0, "one").to_string());
    let took = becomes(&taffrail, "first", since, |rule| is_in_state(rule, "Firing")).await;
    assert!(took < A_SECOND, "created: {took:?}");
    let fired = taffrail.rule("first").await.unwrap()["status"]["alerts"][0]["firedAt"].clone();
    assert!(fired.is_string());

    // An edit that leaves the condition alone keeps the alert, and its text is new.
    let since = write(&objects, "first.json", &rule("first", 0.0, "another text").to_string());
    let is_edited = |rule: &Value| rule["status"]["alerts"][0]["annotations"]["summary"] == "another text";
    let took = becomes(&taffrail, "first", since, |rule| is_in_state(rule, "Firing") && is_edited(rule)).await;
    assert!(took < A_SECOND, "edited: {took:?}");
    assert_eq!(taffrail.rule("first").await.unwrap()["status"]["alerts"][0]["firedAt"], fired);

    // A broken file leaves its rule and the others running, and says where it is broken.
    write(&objects, "second.json", &rule("second", 5.0, "two").to_string());
    becomes(&taffrail, "second", Instant::now(), |rule| is_in_state(rule, "Inactive")).await;
    let since =
        write(&objects, "first.json", "{\"apiVersion\": \"taffrail.dev/v1alpha1\",\n \"kind\": \"AlertRule\" oops}");
    let problem = eventually(Duration::from_secs(20), || async {
        let answer = taffrail.ask("rules").await.map_err(|error| format!("{error:#}"))?;
        answer["problems"].get(0).map(|problem| (problem.clone(), since.elapsed())).ok_or_else(|| answer.to_string())
    })
    .await;
    assert!(problem.1 < A_SECOND, "{problem:?}");
    assert!(problem.0["file"].as_str().unwrap().ends_with("first.json") && problem.0["line"] == 2, "{problem:?}");
    let evaluated = |rule: &Value| rule["status"]["lastEvaluation"].as_str().unwrap().to_owned();
    for name in ["first", "second"] {
        let before = evaluated(&taffrail.rule(name).await.unwrap());
        becomes(&taffrail, name, Instant::now(), |rule| evaluated(rule) > before).await;
    }
    assert!(is_in_state(&taffrail.rule("first").await.unwrap(), "Firing"));

    // A query that can't be read harms its own rule only, and names the column.
    let mut wrong = rule("wrong", 0.0, "three");
    wrong["spec"]["query"] = "summ error_count".into();
    let since = write(&objects, "wrong.json", &wrong.to_string());
    let took = becomes(&taffrail, "wrong", since, |rule| {
        rule["ready"] == false && rule["message"].as_str().is_some_and(|message| message.contains("column 1"))
    })
    .await;
    assert!(took < A_SECOND, "{took:?}");

    // Mended, with another condition: the alert resolves.
    let since = write(&objects, "first.json", &rule("first", 100.0, "one").to_string());
    let took = becomes(&taffrail, "first", since, |rule| is_in_state(rule, "Inactive")).await;
    assert!(took < A_SECOND, "mended: {took:?}");
    assert_eq!(taffrail.ask("rules").await.unwrap()["problems"], json!([]));

    // Deleted. A second look is part of it, lest an editor's way of saving resolves an alert.
    let since = Instant::now();
    fs::remove_file(objects.join("second.json")).unwrap();
    eventually(Duration::from_secs(20), || async {
        match taffrail.rule("second").await {
            Ok(rule) => Err(rule.to_string()),
            Err(_) => Ok(()),
        }
    })
    .await;
    let took = since.elapsed();
    assert!(took < A_SECOND, "deleted: {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_outlives_kills_and_is_told_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let (objects, data) = (folder.path().join("objects"), folder.path().join("data"));
    fs::create_dir(&objects).unwrap();
    write(&objects, "pipeline.json", &pipeline().to_string());
    write(&objects, "rule.json", &rule("first", 0.0, "told once").to_string());
    let start = || Taffrail::start(Options::new(&data, [&objects]));
    let taffrail = start().await.unwrap();
    eventually(Duration::from_secs(10), || taffrail.send(r#"{"level": "error", "service": "api", "message": "no"}"#))
        .await;
    becomes(&taffrail, "first", Instant::now(), |rule| is_in_state(rule, "Firing")).await;
    let told = |taffrail: &Taffrail| taffrail.log().lines().filter(|line| line.contains("told once")).count();
    eventually(Duration::from_secs(10), || async { if told(&taffrail) == 1 { Ok(()) } else { Err(taffrail.log()) } })
        .await;
    let fired = taffrail.rule("first").await.unwrap()["status"]["alerts"][0]["firedAt"].clone();
    let mut running = taffrail;
    for _ in 0..3 {
        running.kill().unwrap();
        running = start().await.unwrap();
        becomes(&running, "first", Instant::now(), |rule| {
            is_in_state(rule, "Firing") && rule["status"]["lastEvaluation"].is_string()
        })
        .await;
        assert_eq!(running.rule("first").await.unwrap()["status"]["alerts"][0]["firedAt"], fired);
    }
    assert_eq!(told(&running), 1, "{}", running.log());
    // What was acknowledged is found again within two seconds.
    eventually(Duration::from_secs(10), || async {
        let logs = running.ask("logs/search?q=no").await.map_err(|error| format!("{error:#}"))?;
        if logs["total"] == 1 { Ok(()) } else { Err(logs.to_string()) }
    })
    .await;
}
