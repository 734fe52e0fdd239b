//! Requests as clients send them, right and wrong, against an engine and a store that note what they were asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use parking_lot::Mutex;
use rstest::rstest;
use serde_json::{Value, json};
use taffrail_dashboard::{Config, router};
use taffrail_logstore::q::Query;
use taffrail_logstore::{
    DeadLetter, DeadLetters, FieldSummary, Histogram, LetterHead, LetterPage, LetterRequest, LogEntry, LogStore,
    Outcome, Provenance, Records, SearchError, SearchPage, SearchRequest, StoredLog, TimeSpan, WriteError, page,
};
use taffrail_query::{EngineError, InstantSeries, Labels, MetricsEngine, RangeSeries, ShortQuery, TimeRange};
use taffrail_runtime::redrive::{Group, Order, Redrive, RedriveError, Report};
use taffrail_runtime::{Board, Object};
use tower::ServiceExt;

/// An engine that knows the metric `cpu_usage`, and notes what it is asked.
#[derive(Default)]
struct Engine {
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl MetricsEngine for Engine {
    async fn instant(&self, query: &ShortQuery, window: Duration, _: i64) -> Result<Vec<InstantSeries>, EngineError> {
        self.asked.lock().push(format!("{query} over {} s", window.as_secs()));
        let labels = query.by.iter().map(|label| (label.clone(), "x".to_owned())).collect();
        Ok(if query.metric == "cpu_usage" { vec![InstantSeries { labels, value: 45.2 }] } else { vec![] })
    }

    async fn range(
        &self,
        query: &ShortQuery,
        window: Duration,
        range: TimeRange,
    ) -> Result<Vec<RangeSeries>, EngineError> {
        self.asked.lock().push(format!("{query} over {} s", window.as_secs()));
        Ok(vec![RangeSeries { labels: Labels::new(), points: vec![(range.from, 1.0), (range.to, f64::NAN)] }])
    }

    async fn metric_names(&self) -> Result<Vec<String>, EngineError> {
        Err(EngineError::Unavailable("it is away".to_owned()))
    }

    async fn label_values(&self, _: Option<&str>, _: &str) -> Result<Vec<String>, EngineError> {
        Ok(vec!["x".to_owned()])
    }
}

/// A store with logs at given milliseconds.
struct Logs(Vec<i64>, &'static str);

/// Its dead letters are two: of one the record is text.
#[async_trait]
impl DeadLetters for Logs {
    async fn write_dead_letters(&self, _: &[DeadLetter]) -> Result<(), WriteError> {
        Ok(())
    }

    async fn dead_letters(&self, request: &LetterRequest) -> Result<LetterPage, SearchError> {
        let letters = letters();
        let heads = letters.iter().map(LetterHead::of).filter(|head| head.provenance.pipeline == request.pipeline);
        page(heads.collect(), request)
    }

    async fn whole_dead_letters(&self, _: &str, ids: &[String]) -> Result<Vec<DeadLetter>, SearchError> {
        Ok(letters().into_iter().filter(|letter| ids.contains(&letter.id)).collect())
    }

    async fn replace_dead_letters(&self, _: &[DeadLetter]) -> Result<(), WriteError> {
        Ok(())
    }

    async fn remove_dead_letters(&self, _: &str, _: &[String]) -> Result<(), WriteError> {
        Ok(())
    }
}

fn letters() -> [DeadLetter; 2] {
    let letter = |offset: i64, status, reason: &str, original: &'static [u8]| DeadLetter {
        id: format!("logs/0-{offset}"),
        reason: reason.to_owned(),
        status,
        provenance: Provenance {
            pipeline: "default/shop".to_owned(),
            generation: 2,
            topic: "logs".to_owned(),
            partition: 0,
            offset,
            timestamp: 1_723_809_600_000 + offset,
        },
        counted_as: None,
        original: Bytes::from_static(original),
    };
    [letter(1, 0, "not JSON at column 7", b"\xff\x00"), letter(2, 400, "no number 'x'", b"{\"n\":1}")]
}

/// Notes the orders, and does as if one letter was stored and one refused.
#[derive(Default)]
struct Worker {
    orders: Mutex<Vec<Order>>,
}

#[async_trait]
impl Redrive for Worker {
    async fn redrive(&self, order: Order) -> Result<Report, RedriveError> {
        let cursor = order.cursor.is_none().then(|| "next".to_owned());
        if order.cursor.as_deref() == Some("busy") {
            return Err(RedriveError::Busy);
        }
        self.orders.lock().push(order);
        let refusals = vec![Group { reason: "no number '…'".to_owned(), status: 400, count: 1 }];
        Ok(Report { indexed: 1, refused: 1, refusals, cursor, ..Report::default() })
    }
}

#[async_trait]
impl LogStore for Logs {
    async fn write(&self, _: &Records) -> Result<Vec<Outcome>, WriteError> {
        Ok(vec![])
    }

    async fn search(&self, request: &SearchRequest) -> Result<SearchPage, SearchError> {
        let start: usize = request.cursor.as_ref().map_or(0, |cursor| cursor.parse().expect("our own cursor"));
        let mut times = self.0.clone();
        times.sort_by_key(|time| std::cmp::Reverse(*time));
        let end = times.len().min(start + request.limit);
        let logs = times[start..end].iter().map(|time| StoredLog {
            id: format!("{}-{time}", self.1),
            entry: LogEntry {
                timestamp: jiff::Timestamp::from_millisecond(*time).expect("time").to_string(),
                service: self.1.to_owned(),
                ..LogEntry::default()
            },
        });
        let cursor = (end < times.len()).then(|| end.to_string());
        Ok(SearchPage { logs: logs.collect(), total: times.len() as u64, cursor })
    }

    async fn histogram(&self, _: &Query, _: TimeSpan, _: i64) -> Result<Histogram, SearchError> {
        Ok(Histogram::default())
    }

    async fn fields(&self, _: &Query, _: TimeSpan) -> Result<Vec<FieldSummary>, SearchError> {
        Ok(vec![])
    }
}

fn config(engine: Arc<Engine>, stores: Vec<Arc<dyn LogStore>>) -> Config {
    Config {
        board: Board::new(),
        engine,
        stores: Arc::new(move || stores.clone()),
        letters: Arc::new(|_| Some(Arc::new(Logs(vec![], "")))),
        redrive: Arc::new(Worker::default()),
        api_keys: vec![],
        cors_origins: vec![],
        base_path: "/".to_owned(),
    }
}

async fn send(config: Config, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router(config).oneshot(request.body(Body::empty()).expect("request")).await.expect("answer");
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.expect("body");
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn get(path: &str) -> (StatusCode, Value) {
    send(config(Arc::default(), vec![Arc::new(Logs(vec![1000], "a"))]), path, &[]).await
}

#[rstest]
#[case("/api/v1/logs/search?limit=0", "limit")]
#[case("/api/v1/logs/search?limit=1000000000", "limit")]
#[case("/api/v1/logs/search?limit=ten", "limit")]
#[case("/api/v1/logs/search?limit=-1", "limit")]
#[case("/api/v1/logs/search?from=2000000000&to=1000000000", "from")]
#[case("/api/v1/logs/search?from=yesterday", "from")]
#[case("/api/v1/logs/search?to=1e40", "to")]
#[case("/api/v1/logs/search?level=loud", "level")]
#[case("/api/v1/logs/search?servcie=api", "servcie")]
#[case("/api/v1/logs/search?service=a&service=b", "service")]
#[case("/api/v1/logs/search?q=(open", "q")]
#[case("/api/v1/logs/histogram?buckets=0", "buckets")]
#[case("/api/v1/logs/histogram?from=5&to=5", "from")]
#[case("/api/v1/metrics/query?function=avg", "metric")]
#[case("/api/v1/metrics/query?metric=cpu_usage", "function")]
#[case("/api/v1/metrics/query?metric=cpu_usage&function=median", "function")]
#[case("/api/v1/metrics/query?metric=cpu_usage&function=p101", "function")]
#[case("/api/v1/metrics/query?metric=cpu%20usage&function=avg", "metric")]
#[case("/api/v1/metrics/query?metric=cpu_usage&function=avg&duration=soon", "duration")]
#[case("/api/v1/metrics/query?metric=cpu_usage&function=avg&duration=0s", "duration")]
#[case("/api/v1/metrics/query?query=rate", "query")]
#[case("/api/v1/metrics/query?query=rate%20m&service=api", "service")]
#[case("/api/v1/metrics/range?metric=m&to=5", "from")]
#[case("/api/v1/metrics/range?metric=m&from=5", "to")]
#[case("/api/v1/metrics/range?metric=m&from=9&to=5", "from")]
#[case("/api/v1/metrics/range?metric=m&from=0&to=1000000&step=1", "step")]
#[case("/api/v1/metrics/range?metric=m&from=0&to=10&step=0", "step")]
#[case("/api/v1/metrics/range?metric=m&from=0&to=10&step=nan", "step")]
#[tokio::test]
async fn a_wrong_parameter_is_named(#[case] path: &str, #[case] name: &str) {
    let (status, body) = get(path).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
    let message = body["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(&format!("`{name}`")), "{path}: {message}");
    assert!(body["error"]["code"].as_str().is_some_and(|code| code.starts_with("invalid_")), "{body}");
}

#[tokio::test]
async fn the_classic_query_has_the_classic_shape() {
    let engine = Arc::new(Engine::default());
    let path = "/api/v1/metrics/query?metric=cpu_usage&function=avg&duration=1h&service=api";
    let (status, body) = send(config(engine.clone(), vec![]), path, &[]).await;
    let expected = json!({"metric": "cpu_usage", "function": "avg", "value": 45.2, "duration": "1h", "labels": {"service": "api"}});
    assert_eq!((status, body), (StatusCode::OK, expected));
    assert_eq!(*engine.asked.lock(), ["avg cpu_usage service=api over 3600 s"]);
    let (_, body) = get("/api/v1/metrics/query?metric=unknown&function=avg").await;
    assert_eq!(body["value"], Value::Null);
    let (_, body) = get("/api/v1/metrics/query?query=avg%20cpu_usage%20by%20host").await;
    assert_eq!(body["series"], json!([{"labels": {"host": "x"}, "value": 45.2}]));
}

#[tokio::test]
async fn the_classic_range_has_the_classic_shape() {
    let (status, body) = get("/api/v1/metrics/range?metric=memory_usage&from=1692172800&to=1692176400&step=60").await;
    let expected = json!({"metric": "memory_usage", "from": 1_692_172_800.0, "to": 1_692_176_400.0, "step": 60.0,
        "series": [{"labels": {}, "values": [[1_692_172_800.0, 1.0]]}]});
    assert_eq!((status, body), (StatusCode::OK, expected));
}

#[tokio::test]
async fn the_classic_search_has_the_classic_shape() {
    let path = "/api/v1/logs/search?service=api&level=error&from=1692172800&to=1692176400&limit=100";
    let (status, body) = send(config(Arc::default(), vec![Arc::new(Logs(vec![], "a"))]), path, &[]).await;
    let query = json!({"service": "api", "level": "error", "from": "1692172800", "to": "1692176400", "limit": "100"});
    assert_eq!((status, body), (StatusCode::OK, json!({"logs": [], "total": 0, "query": query})));
}

#[tokio::test]
async fn health_has_the_classic_shape() {
    let (status, body) = get("/api/v1/health").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(3));
    assert_eq!(body["status"], "healthy");
    assert!(body["timestamp"].is_i64() && body["version"].is_string());
}

#[tokio::test]
async fn several_stores_are_searched_as_one() {
    let one: Vec<i64> = (0..57).map(|n| n * 1000).collect();
    let other: Vec<i64> = (0..23).map(|n| n * 2500 + 1).collect();
    let mut expected: Vec<i64> = one.iter().chain(&other).copied().collect();
    expected.sort_by_key(|time| std::cmp::Reverse(*time));
    let stores: Vec<Arc<dyn LogStore>> =
        vec![Arc::new(Logs(one, "a")), Arc::new(Logs(vec![], "b")), Arc::new(Logs(other, "c"))];
    let mut found = Vec::new();
    let mut path = "/api/v1/logs/search?limit=7".to_owned();
    loop {
        let (status, body) = send(config(Arc::default(), stores.clone()), &path, &[]).await;
        assert_eq!((status, &body["total"]), (StatusCode::OK, &json!(80)), "{body}");
        for log in body["logs"].as_array().expect("logs") {
            let time: jiff::Timestamp = log["timestamp"].as_str().expect("text").parse().expect("time");
            found.push(time.as_millisecond());
        }
        let Some(cursor) = body["cursor"].as_str() else { break };
        let encoded: String = cursor.bytes().map(|byte| format!("%{byte:02x}")).collect();
        path = format!("/api/v1/logs/search?limit=7&cursor={encoded}");
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_key_is_asked_for_everywhere_but_at_health() {
    let locked = || Config { api_keys: vec!["secret".to_owned()], ..config(Arc::default(), vec![]) };
    for path in ["/api/v1/logs/search", "/api/v1/rules", "/api/v1/openapi.json", "/api/v1/nothing"] {
        for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("x-api-key", "")]] {
            let (status, body) = send(locked(), path, headers).await;
            assert_eq!((status, &body["error"]["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")), "{path}");
        }
    }
    for headers in [[("authorization", "Bearer secret")], [("x-api-key", "secret")]] {
        assert_eq!(send(locked(), "/api/v1/rules", &headers).await.0, StatusCode::OK);
    }
    assert_eq!(send(locked(), "/api/v1/health", &[]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn faults_of_others_and_unknown_paths_are_told_apart() {
    let (status, body) = get("/api/v1/metrics/names").await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")));
    let (status, body) = get("/api/v1/metrix").await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
    assert_eq!(get("/api/v1/dashboards/none").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_document_describes_every_endpoint() {
    let (_, document) = get("/api/v1/openapi.json").await;
    let paths: Vec<&String> = document["paths"].as_object().expect("paths").keys().collect();
    for path in [
        "logs/search",
        "logs/histogram",
        "logs/fields",
        "metrics/query",
        "metrics/range",
        "metrics/names",
        "metrics/labels/{label}/values",
        "alerts",
        "rules",
        "pipelines",
        "pipelines/{namespace}/{name}/dead-letters",
        "pipelines/{namespace}/{name}/dead-letters/redrive",
        "dashboards",
        "dashboards/{name}",
        "health",
    ] {
        assert!(paths.iter().any(|known| **known == format!("/api/v1/{path}")), "{path} is not in {paths:?}");
    }
}

/// A worker of a namespace with the pipeline `default/shop`.
fn with_pipeline() -> (Config, Arc<Worker>) {
    let worker = Arc::new(Worker::default());
    let config = Config { redrive: worker.clone(), ..config(Arc::default(), vec![]) };
    let spec = json!({"source": {"stdin": {}}, "sink": {"embedded": {}}});
    let mut pipeline = taffrail_crds::LogPipeline::new("shop", serde_json::from_value(spec).expect("spec"));
    pipeline.metadata.namespace = Some("default".to_owned());
    config.board.apply(Object::LogPipeline(Arc::new(pipeline)));
    (config, worker)
}

async fn dead_letters(more: &str) -> (StatusCode, Value) {
    send(with_pipeline().0, &format!("/api/v1/pipelines/default/shop/dead-letters{more}"), &[]).await
}

#[tokio::test]
async fn dead_letters_are_listed_without_and_shown_with_their_records() {
    let (status, body) = dead_letters("?limit=1").await;
    let letter = json!({
        "id": "logs/0-2", "reason": "no number 'x'", "status": 400, "topic": "logs", "partition": 0, "offset": 2,
        "timestamp": "2024-08-16T12:00:00.002Z", "pipeline": "default/shop", "generation": 2, "size": 7,
    });
    assert_eq!((status, &body["letters"], &body["total"]), (StatusCode::OK, &json!([letter]), &json!(2)));
    let reasons = json!([
        {"reason": "no number '…'", "status": 400, "count": 1}, {"reason": "not JSON at column #", "status": 0, "count": 1},
    ]);
    assert_eq!(body["reasons"], reasons);
    let cursor = body["cursor"].as_str().expect("cursor");
    let (_, body) = dead_letters(&format!("?limit=1&cursor={cursor}")).await;
    assert_eq!((&body["letters"][0]["id"], &body["cursor"]), (&json!("logs/0-1"), &Value::Null));
    let (_, body) = dead_letters("?status=0&reason=column+99&from=2024-08-16T12:00:00Z").await;
    assert_eq!((&body["letters"][0]["id"], &body["total"]), (&json!("logs/0-1"), &json!(1)));
    let (_, body) = dead_letters("?id=logs/0-1").await;
    assert_eq!(body["letters"][0]["originalBase64"], "/wA=");
    let (_, body) = dead_letters("?id=logs/0-2").await;
    assert_eq!(body["letters"][0]["original"], "{\"n\":1}");
    assert_eq!(dead_letters("?id=none").await.0, StatusCode::NOT_FOUND);
    for (more, name) in
        [("?status=x", "status"), ("?limit=1001", "limit"), ("?cursor=x", "cursor"), ("?level=x", "level")]
    {
        let (status, body) = dead_letters(more).await;
        let message = body["error"]["message"].as_str().unwrap_or_default();
        assert!(status == StatusCode::BAD_REQUEST && message.contains(&format!("`{name}`")), "{more}: {body}");
    }
    let (config, _) = with_pipeline();
    let (status, _) = send(config, "/api/v1/pipelines/default/none/dead-letters", &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_redrive_is_passed_on_and_a_dry_run_is_not() {
    let (config, worker) = with_pipeline();
    let routes = router(config);
    let post = async |body: Value| {
        let request = Request::post("/api/v1/pipelines/default/shop/dead-letters/redrive")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .expect("request");
        let response = routes.clone().oneshot(request).await.expect("answer");
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.expect("body");
        (status, serde_json::from_slice::<Value>(&body).expect("JSON"))
    };
    let (status, body) = post(json!({"dryRun": true, "status": 400})).await;
    let expected = json!({
        "dryRun": true, "matched": 1, "cursor": null, "reasons": [{"reason": "no number '…'", "status": 400, "count": 1}],
    });
    assert_eq!((status, body), (StatusCode::OK, expected));
    assert_eq!(post(json!({"dryRun": true, "id": "logs/0-1"})).await.1["matched"], 1);
    assert_eq!(worker.orders.lock().len(), 0);

    let (status, body) = post(json!({"reason": "number", "from": 1_723_809_600, "to": "2024-08-16T13:00:00Z"})).await;
    let expected = json!({
        "dryRun": false, "indexed": 1, "duplicate": 0, "filtered": 0, "refused": 1, "unsettled": 0, "cursor": "next",
        "refusals": [{"reason": "no number '…'", "status": 400, "count": 1}],
    });
    assert_eq!((status, body), (StatusCode::OK, expected));
    let order = Order {
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
        reason: Some("number".to_owned()),
        from: Some(1_723_809_600_000),
        to: Some(1_723_813_200_000),
        ..Order::default()
    };
    assert_eq!(*worker.orders.lock(), [order]);
    assert_eq!(post(json!({"cursor": "next"})).await.1["cursor"], Value::Null);
    let (status, body) = post(json!({"cursor": "busy"})).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::CONFLICT, &json!("busy")));
    for wrong in [json!({"dry": true}), json!({"from": "never"}), json!({"from": 2, "to": 1}), json!("all")] {
        let (status, body) = post(wrong.clone()).await;
        assert!(status.is_client_error() && body["error"]["message"].is_string(), "{wrong}: {status} {body}");
    }
    assert_eq!(worker.orders.lock().len(), 2);
}

#[tokio::test]
async fn the_page_knows_the_path_it_is_shown_under() {
    let shown = |prefix: &'static str| async move {
        let request = Request::get("/").header("x-forwarded-prefix", prefix).body(Body::empty()).expect("request");
        let response = router(config(Arc::default(), vec![])).oneshot(request).await.expect("answer");
        assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        let body = to_bytes(response.into_body(), 1 << 20).await.expect("body");
        String::from_utf8(body.to_vec()).expect("text")
    };
    assert!(shown("/logs/").await.contains("<base href=\"/logs/\">"));
    assert!(shown("\"><script>").await.contains("<base href=\"/\">"));
}
