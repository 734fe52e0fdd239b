//! The documented requests, on both stores: the same questions get the same answers, in exactly the documented shape.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use taffrail_tests::taffrail::{Options, Taffrail};
use taffrail_tests::{elasticsearch, eventually, unique};

use crate::support::day_before;

/// Starts a process whose http source writes to a sink, and gives it some logs and metrics.
async fn start(folder: &Path, name: &str, sink: Value, since: i64) -> Taffrail {
    let objects = folder.join(format!("{name}.json"));
    let pipeline = json!({
        "apiVersion": "taffrail.dev/v1alpha1", "kind": "LogPipeline", "metadata": {"name": "http"},
        "spec": {
            "source": {"http": {"port": 8081}},
            "metrics": [
                {"name": "error_count", "type": "counter", "match": {"level": "error"}, "labels": {"service": "service"}},
                {"name": "response_time", "type": "histogram", "value": "fields.duration_ms", "labels": {"service": "service"}},
                {"name": "cpu_usage", "type": "gauge", "value": "fields.cpu", "labels": {"service": "service", "host": "host"}},
            ],
            "batch": {"size": 100, "timeout": "100ms"},
            "sink": sink,
        },
    });
    std::fs::write(&objects, pipeline.to_string()).unwrap();
    let taffrail = Taffrail::start(Options::new(&folder.join(name), [&objects])).await.unwrap();
    let mut body = String::new();
    for n in 0..300_i64 {
        let timestamp = jiff::Timestamp::from_millisecond(since + n * 1_000).unwrap();
        let (level, service) = (["info", "error", "WARNING"][(n % 3) as usize], ["api", "web"][(n % 2) as usize]);
        let log = json!({
            "timestamp": timestamp.to_string(), "level": level, "service": service, "message": format!("request {n} timed out"),
            "host": format!("h{}", n % 5), "tags": {"env": "prod"},
            "fields": {"duration_ms": n, "cpu": n as f64 / 4.0, "status": 200 + n % 3 * 150},
        });
        body += &format!("{log}\n");
    }
    eventually(Duration::from_secs(10), || taffrail.send(body.clone())).await;
    eventually(Duration::from_secs(10), || async {
        let answer = taffrail.ask("logs/search?limit=1").await.map_err(|error| format!("{error:#}"))?;
        if answer["total"] == 300 { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    taffrail
}

/// What both must answer alike.
fn questions(since: i64) -> Vec<String> {
    let (from, to) = (since / 1_000, since / 1_000 + 300);
    let mut questions: Vec<String> = [
        "logs/search?service=api&level=error&from={from}&to={to}&limit=100",
        "logs/search",
        "logs/search?limit=7",
        "logs/search?level=warn&host=h2",
        "logs/search?q=level:error%20AND%20timed&limit=3",
        "logs/search?q=%22request%2017%20timed%22",
        "logs/search?q=fields.duration_ms:>=290",
        "logs/search?tag.env=prod&field.status=350&limit=5",
        "logs/search?service=nobody",
        "logs/search?from={from}000&to={to}000&limit=2",
        "logs/histogram?from={from}&to={to}&buckets=10",
        "logs/histogram?from={from}&to={to}&level=error",
        "logs/fields?service=api",
        "metrics/query?metric=cpu_usage&function=avg&duration=10d&service=api",
        "metrics/query?metric=cpu_usage&function=max&duration=10d",
        "metrics/query?metric=error_count&function=sum&duration=10d",
        "metrics/query?query=p95%20response_time%20by%20service&duration=10d",
        "metrics/query?metric=nothing&function=sum&duration=1h",
        "metrics/range?metric=cpu_usage&from={from}&to={to}&step=60",
        "metrics/range?metric=error_count&from={from}&to={to}&step=60&function=sum&duration=1m&service=web",
    ]
    .into_iter()
    .map(|question| question.replace("{from}", &from.to_string()).replace("{to}", &to.to_string()))
    .collect();
    questions.sort();
    questions
}

#[tokio::test(flavor = "multi_thread")]
async fn both_stores_answer_alike_and_in_the_documented_shape() {
    let folder = tempfile::tempdir().unwrap();
    let since = day_before(1) + 3_600_000;
    let index = unique("requests");
    let _indices = elasticsearch::Indices(index.clone());
    let sink = json!({"elasticsearch": {"urls": [elasticsearch::address()], "index": index}});
    let embedded = start(folder.path(), "embedded", json!({"embedded": {}}), since).await;
    let real = start(folder.path(), "elasticsearch", sink, since).await;
    for question in questions(since) {
        let (ours, theirs) = (embedded.ask(&question).await.unwrap(), real.ask(&question).await.unwrap());
        assert_eq!(without_cursor(ours), without_cursor(theirs), "{question}");
    }

    for taffrail in [&embedded, &real] {
        let (from, to) = (since / 1_000, since / 1_000 + 300);
        let path = format!("logs/search?service=api&level=error&from={from}&to={to}&limit=100");
        let answer = taffrail.ask(&path).await.unwrap();
        let query =
            json!({"service": "api", "level": "error", "from": from.to_string(), "to": to.to_string(), "limit": "100"});
        assert_eq!(keys(&answer), ["logs", "query", "total"]);
        assert_eq!((&answer["query"], &answer["total"]), (&query, &json!(50)));
        assert_eq!(answer["logs"].as_array().unwrap().len(), 50);
        let first = &answer["logs"][0];
        assert_eq!(keys(first), ["fields", "host", "level", "message", "service", "tags", "timestamp"]);
        assert_eq!(
            (&first["message"], &first["fields"]["duration_ms"]),
            (&json!("request 298 timed out"), &json!(298))
        );

        let answer =
            taffrail.ask("metrics/query?metric=cpu_usage&function=avg&duration=240h&service=api").await.unwrap();
        let expected = json!({
            "metric": "cpu_usage", "function": "avg", "value": 37.25, "duration": "240h", "labels": {"service": "api"},
        });
        assert_eq!(answer, expected);

        let path =
            format!("metrics/range?metric=cpu_usage&from={from}&to={to}&step=60&function=max&duration=1m&service=api");
        let answer = taffrail.ask(&path).await.unwrap();
        assert_eq!(keys(&answer), ["from", "metric", "series", "step", "to"]);
        assert_eq!((&answer["metric"], answer["step"].as_f64()), (&json!("cpu_usage"), Some(60.0)));
        let values = answer["series"][0]["values"].as_array().unwrap();
        // In the minute up to each time, the first of which has nothing but the very first log.
        let expected = [0.0, 15.0, 30.0, 45.0, 60.0, 74.5].map(|value| json!(value));
        assert_eq!(values.iter().map(|point| point[1].clone()).collect::<Vec<_>>(), expected, "{answer}");

        let answer = taffrail.ask("health").await.unwrap();
        assert_eq!(keys(&answer), ["status", "timestamp", "version"]);
        assert_eq!(answer["status"], "healthy");
        assert!(answer["timestamp"].as_i64().unwrap().abs_diff(jiff::Timestamp::now().as_second()) < 60);
        let client = reqwest::Client::new();
        let health: Value =
            client.get(format!("{}/api/health", taffrail.metrics)).send().await.unwrap().json().await.unwrap();
        assert_eq!((keys(&health), &health["status"]), (keys(&answer), &json!("healthy")));
        let text = client.get(format!("{}/metrics", taffrail.metrics)).send().await.unwrap().text().await.unwrap();
        for expected in
            ["# TYPE error_count_total counter", "error_count_total{service=\"api\"} 50\n", "taffrail_ingestion_"]
        {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let taffrail = start(folder.path(), "wrong", json!({"embedded": {}}), day_before(1)).await;
    for (path, parameter) in [
        ("logs/search?limit=0", "limit"),
        ("logs/search?limit=1000000000", "limit"),
        ("logs/search?limit=ten", "limit"),
        ("logs/search?limit=-1", "limit"),
        ("logs/search?from=1692176400&to=1692172800", "from"),
        ("logs/search?from=yesterday", "from"),
        ("logs/search?level=loud", "level"),
        ("logs/search?q=level:(", "q"),
        ("logs/search?servce=api", "servce"),
        ("logs/search?cursor=nonsense", "cursor"),
        ("logs/histogram?buckets=0", "buckets"),
        ("metrics/query?metric=cpu_usage&function=average&duration=1h", "function"),
        ("metrics/query?metric=cpu_usage&function=avg&duration=soon", "duration"),
        ("metrics/query?metric=cpu_usage&function=avg&duration=-1h", "duration"),
        ("metrics/query?function=avg&duration=1h", "metric"),
        ("metrics/range?metric=cpu_usage&from=2&to=1&step=60", "from"),
        ("metrics/range?metric=cpu_usage&from=1&to=2&step=zero", "step"),
        ("metrics/range?metric=cpu_usage&from=1&to=2&step=0", "step"),
        ("metrics/range?metric=cpu_usage&to=2", "from"),
    ] {
        let (status, answer) = taffrail.get(path).await.unwrap();
        assert_eq!(status, 400, "{path}: {answer}");
        assert_eq!(keys(&answer), ["error"], "{path}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("`{parameter}`")), "{path}: {message}");
        assert!(answer["error"]["code"].is_string(), "{path}: {answer}");
    }
    let (status, answer) = taffrail.get("nothing/here").await.unwrap();
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("not_found")));
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Cursors are each store's own.
fn without_cursor(mut answer: Value) -> Value {
    answer.as_object_mut().unwrap().remove("cursor");
    answer
}
