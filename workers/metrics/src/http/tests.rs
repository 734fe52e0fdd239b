#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use rstest::rstest;
use tower::ServiceExt;

use super::*;
use crate::{Delta, DeltaBatch, Description, Kind, Options};

const NOW: i64 = 1_692_176_400_000;

struct Server {
    router: Router,
    store: Store,
    _directory: tempfile::TempDir,
}

struct Answer {
    status: u16,
    kind: String,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let telemetry = Telemetry::default();
        let options = Options { clock: Arc::new(|| NOW), ..Options::default() };
        let store = Store::open(directory.path(), options, &telemetry).unwrap();
        Self { router: router(store.clone(), telemetry), store, _directory: directory }
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers().get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap()).to_owned();
        let text = String::from_utf8(to_bytes(response.into_body(), 1 << 24).await.unwrap().to_vec()).unwrap();
        Answer { status, kind, text }
    }

    async fn get(&self, address: &str) -> Answer {
        self.ask(Request::get(address).body(Body::empty()).unwrap()).await
    }

    async fn push(&self, body: impl Into<Body>) -> Answer {
        self.ask(Request::post("/api/v1/metrics").body(body.into()).unwrap()).await
    }
}

#[tokio::test]
async fn health_has_the_documented_shape() {
    let server = Server::start();
    let health = server.get("/api/health").await;
    assert_eq!(health.status, 200);
    assert_eq!(health.json(), json!({"status": "healthy", "timestamp": 1_692_176_400, "version": VERSION}));
    assert_eq!(server.get("/-/healthy").await.status, 200);
    assert_eq!(server.get("/-/ready").await.status, 200);
    *server.store.core().trouble.lock() = Some("no space left".to_owned());
    let health = server.get("/api/health").await;
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("unhealthy")));
    assert_eq!(server.get("/-/ready").await.status, 503);
    // A write that goes well ends the trouble.
    server.store.sync().unwrap();
    assert_eq!(server.get("/-/ready").await.status, 200);
}

#[tokio::test]
async fn samples_are_pushed_in_all_forms() {
    let server = Server::start();
    let one =
        r#"{"name": "jobs", "value": 2, "timestamp": 1692176399, "labels": {"queue": "mail"}, "type": "counter"}"#;
    let answer = server.push(one).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"accepted": 1, "rejected": [], "rejectedTotal": 0})));
    // An array; times in milliseconds and RFC 3339; the known type.
    let array = r#" [
        {"name": "jobs", "value": 3, "timestamp": 1692176399500, "labels": {"queue": "mail"}},
        {"name": "jobs", "value": 4, "timestamp": "2023-08-16T08:59:59.500Z", "labels": {"queue": "sms", "n": 1, "x": null}}
    ]"#;
    assert_eq!(server.push(array).await.json()["accepted"], 2);
    let lines = "{\"name\": \"load\", \"value\": 0.5}\n{\"name\": \"load\", \"value\": 0.75}\n\n";
    assert_eq!(server.push(lines).await.json()["accepted"], 2);
    assert_eq!(server.push("[]").await.json()["accepted"], 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(one.as_bytes()).unwrap();
    let request = Request::post("/api/v1/metrics").header(header::CONTENT_ENCODING, "gzip");
    assert_eq!(server.ask(request.body(Body::from(gzip.finish().unwrap())).unwrap()).await.status, 200);
    let answer = server.get("/api/v1/query?query=sum%20jobs%20by%20queue&window=1m").await;
    let result = json!([
        {"metric": {"queue": "mail"}, "value": [1_692_176_400, "7"]},
        {"metric": {"queue": "sms"}, "value": [1_692_176_400, "4"]},
    ]);
    assert_eq!(answer.json(), json!({"status": "success", "data": {"resultType": "vector", "result": result}}));
    let answer = server.get("/api/v1/query?query=last%20load").await;
    assert_eq!(answer.json()["data"]["result"][0]["value"][1], "0.75");
}

#[rstest]
#[case("", "the body is empty")]
#[case("{\"name\": \"a\",\n \"value\": }", "line 2, column 11")]
#[case("{\"name\": \"a\", \"value\": 1}\n{\"name\"", "line 2, column 7")]
#[case("[{\"name\": \"a\", \"value\": 1}", "line 1, column 26")]
#[case("[] x", "line 1, column 4")]
#[tokio::test]
async fn what_is_not_json_is_refused_with_its_place(#[case] body: &'static str, #[case] expected: &str) {
    let server = Server::start();
    let answer = server.push(body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"].as_str().unwrap().contains(expected), "{}", answer.text);
    // Nothing of it was stored.
    assert_eq!(server.store.series(), 0);
}

#[rstest]
#[case(r#"{"value": 1}"#, "`name` is missing")]
#[case(r#"{"name": 5, "value": 1}"#, "`name` must be a string")]
#[case(r#"{"name": "m"}"#, "`value` is missing")]
#[case(r#"{"name": "m", "value": "1"}"#, "`value` must be a number")]
#[case(r#"{"name": "m", "value": 1, "type": "summary"}"#, "`type` must be counter, gauge or histogram")]
#[case(r#"{"name": "m", "value": 1, "timestamp": "soon"}"#, "`timestamp` `soon` is no time")]
#[case(r#"{"name": "m", "value": 1, "timestamp": 1e300}"#, "is no time")]
#[case(r#"{"name": "m", "value": 1, "timestamp": []}"#, "`timestamp` must be")]
#[case(r#"{"name": "m", "value": 1, "timestamp": 5}"#, "older than the retention")]
#[case(r#"{"name": "m", "value": 1, "labels": {"a": []}}"#, "the label `a` must be a string")]
#[case(r#"{"name": "m", "value": 1, "labels": "a"}"#, "`labels` must be an object")]
#[case(r#"{"name": "m", "value": 1, "lables": {}}"#, "`lables` is not known")]
#[case(r#"{"name": "m", "value": -1, "type": "counter"}"#, "can't take the negative value -1")]
#[case("17", "expected an object")]
#[tokio::test]
async fn a_wrong_sample_is_rejected_and_the_others_are_stored(#[case] wrong: &str, #[case] expected: &str) {
    let server = Server::start();
    let alone = server.push(wrong.to_owned()).await;
    assert_eq!((alone.status, &alone.json()["accepted"]), (400, &json!(0)));
    let good = r#"{"name": "good", "value": 1}"#;
    let answer = server.push(format!("[{good}, {wrong}, {good}]")).await;
    let json = answer.json();
    assert_eq!((answer.status, &json["accepted"], &json["rejectedTotal"]), (200, &json!(2), &json!(1)));
    assert_eq!(json["rejected"][0]["index"], 1);
    assert!(json["rejected"][0]["reason"].as_str().unwrap().contains(expected), "{json}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let server = Server::start();
    let answer = server.push(" ".repeat(MAX_BODY_BYTES + 1)).await;
    assert_eq!(answer.status, 413);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&vec![b' '; MAX_BODY_BYTES + 1]).unwrap();
    let request = Request::post("/api/v1/metrics").header(header::CONTENT_ENCODING, "gzip");
    assert_eq!(server.ask(request.body(Body::from(gzip.finish().unwrap())).unwrap()).await.status, 413);
}

fn push(store: &Store, metric: &str, kind: Kind, labels: &[(&str, &str)], samples: &[(i64, f64)]) {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let labels = Arc::new(labels.collect());
    let sample = |(ago, value): &(i64, f64)| Delta {
        metric: metric.into(),
        kind,
        labels: Arc::clone(&labels),
        timestamp_ms: NOW - ago,
        value: *value,
    };
    let batch = DeltaBatch { origin: None, samples: samples.iter().map(sample).collect() };
    assert_eq!(store.push(&batch).unwrap().accepted, samples.len());
}

#[tokio::test]
async fn ranges_and_what_there_is_have_prometheus_shapes() {
    let server = Server::start();
    push(&server.store, "errors", Kind::Counter, &[("service", "api")], &[(60_000, 1.0), (30_500, 2.0)]);
    push(&server.store, "up", Kind::Gauge, &[("job", "x")], &[(0, 1.0)]);
    server.store.describe("errors", Description { help: "What went wrong".to_owned(), bounds: Vec::new() }).unwrap();
    let start = NOW / 1000 - 60;
    let address = format!(
        "/api/v1/query_range?query=sum+errors+service%3Dapi&start={start}&end={}&step=15&window=30s",
        start + 60
    );
    let answer = server.get(&address).await;
    let values = json!([[start, "1"], [start + 15, "1"], [start + 30, "2"], [start + 45, "2"], [start + 60, "0"],]);
    let data = json!({"resultType": "matrix", "result": [{"metric": {}, "values": values}]});
    assert_eq!(answer.json(), json!({"status": "success", "data": data}));
    // The same as a form.
    let (path, form) = address.split_once('?').unwrap();
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let posted = server.ask(request.body(Body::from(form.to_owned())).unwrap()).await;
    assert_eq!(posted.text, answer.text);

    let data = |answer: Answer| answer.json()["data"].clone();
    assert_eq!(data(server.get("/api/v1/labels").await), json!(["__name__", "job", "service"]));
    assert_eq!(data(server.get("/api/v1/labels?match[]=up").await), json!(["__name__", "job"]));
    assert_eq!(data(server.get("/api/v1/label/service/values").await), json!(["api"]));
    assert_eq!(data(server.get("/api/v1/label/__name__/values").await), json!(["errors", "up"]));
    let address = "/api/v1/label/__name__/values?match[]=%7Bjob%3D~%22.%2B%22%7D";
    assert_eq!(data(server.get(address).await), json!(["up"]));
    let series = data(server.get("/api/v1/series?match[]=up&match[]=%7B__name__%3D~%22u.%2Cerrors%22%7D").await);
    assert_eq!(series, json!([{"__name__": "up", "job": "x"}]));
    let metadata = data(server.get("/api/v1/metadata?metric=errors").await);
    assert_eq!(metadata, json!({"errors": [{"type": "counter", "help": "What went wrong", "unit": ""}]}));
    assert_eq!(data(server.get("/api/v1/status/buildinfo").await)["version"], VERSION);
    let status = data(server.get("/api/v1/status/tsdb").await);
    assert_eq!(status["headStats"]["numSeries"], 2);
    assert_eq!(status["seriesCountByMetricName"][0], json!({"name": "errors", "value": 1}));
}

#[rstest]
#[case("query", "invalid parameter \"query\": it is missing")]
#[case("query?query=median+m", "invalid parameter \"query\": column 1: expected a function")]
#[case("query?query=rate(m%5B5m%5D)", "invalid parameter \"query\": column 1: expected a function")]
#[case("query?query=sum+m&time=soon", "invalid parameter \"time\": `soon` is no time")]
#[case("query?query=sum+m&window=5", "")]
#[case("query?query=sum+m&window=five", "invalid parameter \"window\": `five` is not a duration")]
#[case("query?query=sum+m&window=0s", "invalid parameter \"window\": `0s` is too short")]
#[case("query_range?query=sum+m&end=2&step=1", "invalid parameter \"start\": it is missing")]
#[case("query_range?query=sum+m&start=1&step=1", "invalid parameter \"end\": it is missing")]
#[case("query_range?query=sum+m&start=1&end=2", "invalid parameter \"step\": it is missing")]
#[case("query_range?query=sum+m&start=1&end=2&step=0", "invalid parameter \"step\": `0` is too short")]
#[case("query_range?query=sum+m&start=2&end=1&step=1", "invalid parameter \"start\": it is after \"end\"")]
#[case("series", "invalid parameter \"match[]\": it is missing")]
#[case("series?match[]=up%7B", "invalid parameter \"match[]\": column 4: expected the name of a label")]
#[case("metadata?limit=0", "invalid parameter \"limit\": `0` is not a whole number")]
#[tokio::test]
async fn a_wrong_parameter_is_named(#[case] address: &str, #[case] expected: &str) {
    let answer = Server::start().get(&format!("/api/v1/{address}")).await;
    if expected.is_empty() {
        assert_eq!(answer.json(), json!({"status": "success", "data": {"resultType": "vector", "result": []}}));
        return;
    }
    let json = answer.json();
    assert_eq!((answer.status, &json["status"], &json["errorType"]), (400, &json!("error"), &json!("bad_data")));
    assert!(json["error"].as_str().unwrap().contains(expected), "{json}");
}

#[tokio::test]
async fn too_many_steps_are_refused() {
    let server = Server::start();
    let answer = server.get("/api/v1/query_range?query=sum+m&start=1&end=20000&step=1").await;
    assert_eq!((answer.status, &answer.json()["errorType"]), (422, &json!("execution")));
}

/// Everything that could go wrong in the text.
fn fill(store: &Store) {
    push(store, "errors", Kind::Counter, &[("msg", "a \"b\"\\\n"), ("x.y", "1")], &[(60_000, 1.0), (5, 2.5)]);
    push(store, "errors", Kind::Counter, &[], &[(5, 1.0)]);
    push(store, "requests_total", Kind::Counter, &[], &[(5, 7.0)]);
    push(store, "scraped", Kind::CumulativeCounter, &[], &[(10, 7.0), (5, 9.0)]);
    push(store, "load.avg", Kind::Gauge, &[], &[(5, -0.5), (9, 1.0)]);
    // Would have the name of the one before.
    push(store, "load_avg", Kind::Gauge, &[], &[(5, 1.0)]);
    store.describe("took", Description { help: "How long,\nin ms".to_owned(), bounds: vec![10.0, 100.5] }).unwrap();
    push(store, "took", Kind::Histogram, &[("service", "api")], &[(5, 5.0), (5, 10.0), (5, 99.0), (5, 1e3)]);
}

#[tokio::test]
async fn everything_is_exposed_as_prometheus_text() {
    let server = Server::start();
    fill(&server.store);
    let answer = server.get("/metrics").await;
    assert_eq!((answer.status, &*answer.kind), (200, "text/plain; version=0.0.4; charset=utf-8"));
    for expected in [
        "# HELP errors_total Derived from logs, or pushed.\n# TYPE errors_total counter\n",
        "\nerrors_total 1\n",
        "\nerrors_total{msg=\"a \\\"b\\\"\\\\\\n\",x_y=\"1\"} 3.5\n",
        "# TYPE requests_total counter\nrequests_total 7\n",
        "# TYPE scraped_total counter\nscraped_total 9\n",
        "# TYPE load_avg gauge\nload_avg -0.5\n# HELP",
        "# HELP took How long,\\nin ms\n# TYPE took histogram\n\
         took_bucket{service=\"api\",le=\"10\"} 2\n\
         took_bucket{service=\"api\",le=\"100.5\"} 3\n\
         took_bucket{service=\"api\",le=\"+Inf\"} 4\n\
         took_sum{service=\"api\"} 1114\n\
         took_count{service=\"api\"} 4\n",
        "# TYPE taffrail_metrics_samples_total counter\ntaffrail_metrics_samples_total 13\n",
        "# TYPE taffrail_metrics_series gauge\ntaffrail_metrics_series 7\n",
    ] {
        assert!(answer.text.contains(expected), "{expected} is not in\n{}", answer.text);
    }
    assert!(!answer.text.contains("# EOF") && !answer.text.contains("# UNIT"), "{}", answer.text);
}

#[tokio::test]
async fn everything_is_exposed_as_openmetrics() {
    let server = Server::start();
    fill(&server.store);
    let accept = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let request = Request::get("/metrics").header(header::ACCEPT, accept).body(Body::empty()).unwrap();
    let answer = server.ask(request).await;
    assert_eq!(answer.kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    for expected in [
        "# TYPE errors counter\nerrors_total 1\n",
        "# TYPE requests counter\nrequests_total 7\n",
        "took_bucket{service=\"api\",le=\"10.0\"} 2\n",
        "# TYPE taffrail_metrics_samples counter\ntaffrail_metrics_samples_total 13\n",
    ] {
        assert!(answer.text.contains(expected), "{expected} is not in\n{}", answer.text);
    }
    assert!(answer.text.ends_with("# EOF\n") && answer.text.matches("# EOF").count() == 1);
}

#[tokio::test]
async fn totals_go_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let telemetry = Telemetry::default();
        let options = Options { clock: Arc::new(|| NOW), ..Options::default() };
        let store = Store::open(directory.path(), options, &telemetry).unwrap();
        push(&store, "errors", Kind::Counter, &[], &[(5, 2.0)]);
        push(&store, "took", Kind::Histogram, &[], &[(5, 7.0)]);
        if round == 2 {
            store.core().checkpoint().unwrap();
        }
        let server =
            Server { router: router(store.clone(), telemetry), store, _directory: tempfile::tempdir().unwrap() };
        let text = server.get("/metrics").await.text;
        let expected = format!("\nerrors_total {}\n", round * 2);
        assert!(text.contains(&expected), "{text}");
        assert!(text.contains(&format!("\ntook_bucket{{le=\"10\"}} {round}\n")), "{text}");
    }
}
