#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::HttpBody as _;
use axum::http::{HeaderMap, Method};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::Response as Answer;
use taffrail_logstore::{Outcome, WriteError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::body::Encoding;
use super::body::tests::compress;
use super::*;
use crate::testing::{MemoryMetrics, MemoryStore, config, spec};
use crate::{Pipeline, PipelineHandle};

/// A pipeline with an http source.
struct Rig {
    store: Arc<MemoryStore>,
    address: SocketAddr,
    client: reqwest::Client,
    _pipeline: PipelineHandle,
    _folder: tempfile::TempDir,
}

async fn rig(format: &str) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::new();
    let spec = spec(json!({
        "source": {"http": {}}, "format": format, "batch": {"size": 100, "timeout": "20ms"}, "sink": {"embedded": {}},
    }));
    let (mut config, _) = config(spec, store.clone(), MemoryMetrics::new(), folder.path());
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    config.http_address = Some(address);
    let pipeline = Pipeline::start(config).await.unwrap();
    Rig { store, address, client: reqwest::Client::new(), _pipeline: pipeline, _folder: folder }
}

impl Rig {
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        self.send(Method::POST, path, headers, body).await
    }

    /// The stored logs, by message.
    fn logs(&self) -> Vec<Value> {
        let sources = self.store.sources();
        let mut logs: Vec<Value> = sources.values().map(|log| serde_json::from_slice(log).unwrap()).collect();
        logs.sort_by_key(|log| log["message"].as_str().unwrap().to_owned());
        logs
    }

    /// A call over gRPC, on a connection of its own. Gives the message, and headers and trailers together.
    async fn call(&self, encoding: Encoding, message: &[u8]) -> (Vec<u8>, HeaderMap) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let _connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
        let message = compress(encoding, message);
        let mut body = vec![u8::from(encoding != Encoding::Plain)];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
        let request = Request::post(format!("http://{}{}", self.address, otlp::grpc::PATH))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-encoding", format!("{encoding:?}").to_lowercase().replace("plain", "identity"))
            .body(Body::from(body))
            .unwrap();
        let (head, mut body) = sender.send_request(request).await.unwrap().into_parts();
        assert_eq!(head.status, 200);
        let (mut data, mut headers) = (Vec::new(), head.headers);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame.unwrap().into_data() {
                Ok(piece) => data.extend(piece),
                Err(frame) => headers.extend(frame.into_trailers().unwrap()),
            }
        }
        (data.split_off(5.min(data.len())), headers)
    }
}

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// A text as the value of an attribute or a body, which is the field `number` of a message.
fn otlp(message: &str) -> Vec<u8> {
    let (mut text, mut record) = (Vec::new(), Vec::new());
    wire::put_bytes(&mut text, 1, message.as_bytes());
    wire::put_bytes(&mut record, 5, &text);
    wire::tests::put_fixed64(&mut record, 1, 1_795_420_800_000_000_000);
    otlp::tests::request(&record)
}

#[tokio::test]
async fn fluent_bit_sends_json() {
    let rig = rig("json").await;
    // `format json` with the default key for the time, and what the Kubernetes filter adds.
    let body = r#"[{"date":1795420800.123456,"stream":"stdout","log":"one","kubernetes":{"pod_name":"cart-1","namespace_name":"prod"}}]"#;
    let answer = rig.post("/", &[JSON, ("user-agent", "Fluent-Bit")], body).await;
    assert_eq!(answer.status(), 200);
    // `format json_lines`, `compress gzip`.
    let lines =
        b"{\"date\":1795420801,\"log\":\"two\"}\n{\"date\":\"2026-11-23T08:00:02.000000Z\",\"log\":\"three\"}\n";
    let headers = [NDJSON, ("content-encoding", "gzip")];
    assert_eq!(rig.post("/logs", &headers, compress(Encoding::Gzip, lines)).await.status(), 200);
    let logs = rig.logs();
    let said: Vec<_> = logs.iter().map(|log| (log["message"].as_str(), log["timestamp"].as_str())).collect();
    assert_eq!(
        said,
        [
            (Some("one"), Some("2026-11-23T08:00:00.123456Z")),
            (Some("three"), Some("2026-11-23T08:00:02.000000Z")),
            (Some("two"), Some("2026-11-23T08:00:01Z")),
        ]
    );
    assert_eq!(logs[0]["fields"]["kubernetes"]["pod_name"], "cart-1");
}

#[tokio::test]
async fn vector_sends_every_way_that_it_has() {
    let rig = rig("json").await;
    let log = |message: &str| {
        let log = json!({"file": "/var/log/a", "host": "box", "message": message, "source_type": "file", "timestamp": "2026-11-23T08:00:00.123456789Z"});
        log.to_string()
    };
    // Its http sink: an array, or lines; the check of its health is none by default.
    let encodings = [
        ("gzip", Encoding::Gzip),
        ("zstd", Encoding::Zstd),
        ("deflate", Encoding::Deflate),
        ("snappy", Encoding::Snappy),
    ];
    for (name, encoding) in encodings {
        let body = compress(encoding, format!("[{}]", log(name)).as_bytes());
        assert_eq!(rig.post("/", &[JSON, ("content-encoding", name)], body).await.status(), 200, "{name}");
    }
    // Its elasticsearch sink looks at the health and the version.
    assert_eq!(rig.send(Method::GET, "/_cluster/health", &[], "").await.status(), 200);
    let about: Value = rig.send(Method::GET, "/", &[], "").await.json().await.unwrap();
    assert!(about["version"]["number"].as_str().unwrap().starts_with("8."));
    let body = format!("{{\"create\":{{\"_index\":\"vector-2026.11.23\"}}}}\n{}\n", log("bulk"));
    let answer: Value = rig.post("/_bulk", &[NDJSON], body).await.json().await.unwrap();
    assert_eq!((&answer["errors"], &answer["items"][0]["create"]["status"]), (&json!(false), &json!(201)));
    // Its loki sink asks whether Loki is ready, and sends its events in JSON as lines.
    assert_eq!(rig.send(Method::GET, "/ready", &[], "").await.status(), 200);
    let line = r#"{"message":"loki","n":1}"#.as_bytes();
    let push =
        loki::tests::push_request("{agent=\"vector\", level=\"info\"}", &[(1_795_420_800_000_000_001, line, &[])]);
    let headers = [PROTOBUF, ("content-encoding", "snappy"), ("x-scope-orgid", "tenant")];
    assert_eq!(rig.post("/loki/api/v1/push", &headers, compress(Encoding::Snappy, &push)).await.status(), 204);
    // Its opentelemetry sink.
    assert_eq!(rig.post("/v1/logs", &[PROTOBUF], otlp("otlp")).await.status(), 200);
    let logs = rig.logs();
    let messages: Vec<_> = logs.iter().map(|log| log["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["bulk", "deflate", "gzip", "loki", "otlp", "snappy", "zstd"]);
    assert_eq!(
        (&logs[3]["fields"]["n"], &logs[3]["level"], &logs[0]["host"]),
        (&json!(1), &json!("info"), &json!("box"))
    );
}

#[tokio::test]
async fn filebeat_sets_up_and_sends() {
    let rig = rig("json").await;
    let about = rig.send(Method::GET, "/", &[("user-agent", "Elastic-Filebeat/8.17.0")], "").await;
    assert_eq!(about.headers()["x-elastic-product"], "Elasticsearch");
    let license: Value = rig.send(Method::GET, "/_license?human=false", &[], "").await.json().await.unwrap();
    assert_eq!((&license["license"]["status"], &license["license"]["type"]), (&json!("active"), &json!("basic")));
    let xpack: Value = rig.send(Method::GET, "/_xpack", &[], "").await.json().await.unwrap();
    assert_eq!(xpack["features"]["ilm"]["enabled"], true);
    for (look, path) in [
        (Method::GET, "/_ilm/policy/filebeat"),
        (Method::HEAD, "/_index_template/filebeat-8.17.0"),
        (Method::GET, "/_data_stream/filebeat-8.17.0"),
        (Method::GET, "/_ingest/pipeline/filebeat-8.17.0-nginx-access-pipeline"),
    ] {
        assert_eq!(rig.send(look, path, &[], "").await.status(), 404, "{path}");
        let put: Value = rig.send(Method::PUT, path, &[JSON], "{}").await.json().await.unwrap();
        assert_eq!(put, json!({"acknowledged": true}), "{path}");
    }
    let body = concat!(
        "{\"create\":{\"_index\":\"filebeat-8.17.0\"}}\n",
        r#"{"@timestamp":"2026-11-23T08:00:00.000Z","message":"one","log":{"offset":0,"file":{"path":"/var/log/a.log"}},"input":{"type":"filestream"},"ecs":{"version":"8.0.0"},"host":{"name":"box"},"agent":{"type":"filebeat","version":"8.17.0"},"service":{"name":"shop"}}"#,
        "\n",
    );
    let headers = [
        ("content-type", "application/vnd.elasticsearch+json; compatible-with=8"),
        ("content-encoding", "gzip"),
        ("accept", "application/vnd.elasticsearch+json; compatible-with=8"),
    ];
    let path = "/_bulk?filter_path=errors%2Citems.%2A.error%2Citems.%2A.status";
    let answer = rig.post(path, &headers, compress(Encoding::Gzip, body.as_bytes())).await;
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["errors"], &answer["items"][0]["create"]["status"]), (&json!(false), &json!(201)));
    let log = &rig.logs()[0];
    assert_eq!((&log["host"], &log["service"], &log["message"]), (&json!("box"), &json!("shop"), &json!("one")));
    assert_eq!((&log["timestamp"], &log["fields"]["log"]["offset"]), (&json!("2026-11-23T08:00:00.000Z"), &json!(0)));
}

#[tokio::test]
async fn what_is_sent_again_is_stored_once() {
    let rig = rig("json").await;
    let push = loki::tests::push_request("{app=\"a\"}", &[(7, b"same", &[]), (7, b"same", &[])]);
    let push = compress(Encoding::Snappy, &push);
    for _ in 0..2 {
        assert_eq!(rig.post("/v1/logs", &[PROTOBUF], otlp("one")).await.status(), 200);
        // Compressed otherwise it is the same.
        let gzip = compress(Encoding::Gzip, &otlp("one"));
        assert_eq!(rig.post("/v1/logs", &[PROTOBUF, ("content-encoding", "gzip")], gzip).await.status(), 200);
        assert_eq!(rig.call(Encoding::Zstd, &otlp("one")).await.1["grpc-status"], "0");
        // Promtail says nothing of snappy.
        assert_eq!(rig.post("/loki/api/v1/push", &[PROTOBUF], push.clone()).await.status(), 204);
    }
    let messages: Vec<Value> = rig.logs().iter().map(|log| log["message"].clone()).collect();
    assert_eq!(messages, ["one", "same", "same"], "what one push says twice is two logs");
}

#[tokio::test]
async fn grpc_is_answered_as_otlp_says() {
    let rig = rig("json").await;
    for encoding in [Encoding::Plain, Encoding::Gzip, Encoding::Zstd] {
        let (message, headers) = rig.call(encoding, &otlp(&format!("{encoding:?}"))).await;
        assert_eq!((message, &headers["grpc-status"]), (vec![], &"0".parse().unwrap()));
    }
    assert_eq!(rig.logs().len(), 3);
    let (_, headers) = rig.call(Encoding::Plain, b"\x0a\xff").await;
    assert_eq!((&headers["grpc-status"], headers.get("retry-after")), (&"3".parse().unwrap(), None));

    rig.store.set_rule(|records| {
        let refused = Outcome::Refused { status: 400, reason: "no such day".to_owned() };
        Some(Ok(vec![refused; records.len()]))
    });
    let (message, headers) = rig.call(Encoding::Plain, &otlp("dead")).await;
    assert_eq!(headers["grpc-status"], "0");
    let text = String::from_utf8_lossy(&message);
    assert!(text.contains("1 of 1 went to the dead letters") && text.contains("no such day"), "{text}");
    let answer: Value = rig
        .post("/v1/logs", &[JSON], r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(answer["partialSuccess"]["rejectedLogRecords"], "1");
    assert_eq!(rig.store.letters.lock().len(), 2);
}

#[tokio::test]
async fn success_is_answered_when_the_sink_has_it() {
    let rig = Arc::new(rig("json").await);
    rig.store.set_rule(|_| Some(Err(WriteError::Unavailable("away".to_owned()))));
    let waiting = [0, 1, 2].map(|way| {
        let rig = rig.clone();
        tokio::spawn(async move {
            match way {
                0 => assert_eq!(rig.post("/v1/logs", &[PROTOBUF], otlp("http")).await.status(), 200),
                1 => assert_eq!(rig.call(Encoding::Plain, &otlp("grpc")).await.1["grpc-status"], "0"),
                _ => {
                    let body = r#"{"streams":[{"stream":{},"values":[["5","loki"]]}]}"#;
                    assert_eq!(rig.post("/loki/api/v1/push", &[JSON], body).await.status(), 204);
                }
            }
        })
    });
    crate::testing::until("it was tried twice", || rig.store.writes.lock().len() > 2).await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "nothing is stored yet");
    rig.store.clear_rule();
    for waiting in waiting {
        waiting.await.unwrap();
    }
    assert_eq!(rig.store.messages(), ["grpc", "http", "loki"]);
}

#[tokio::test]
async fn what_can_not_be_taken_is_refused() {
    let rig = rig("json").await;
    for (path, headers, body, status) in [
        ("/logs", &[("content-encoding", "br")][..], "{}", 415),
        ("/logs", &[("content-encoding", "gzip")], "{}", 400),
        ("/v1/logs", &[PROTOBUF], "\x0a\x7f", 400),
        ("/v1/logs", &[JSON], "{", 400),
        ("/v1/logs", &[("content-type", "text/plain")], "{}", 415),
        ("/loki/api/v1/push", &[JSON], "{}", 400),
        ("/loki/api/v1/push", &[PROTOBUF], "no snappy", 400),
        ("/_bulk", &[NDJSON], "{}", 400),
        (otlp::grpc::PATH, &[JSON], "{}", 415),
    ] {
        let answer = rig.post(path, headers, body).await;
        assert_eq!(answer.status(), status, "{path} {body}");
        assert_eq!(answer.headers().get("retry-after"), None);
    }
    let answer: Value = rig.post("/v1/logs", &[JSON], "{").await.json().await.unwrap();
    assert_eq!((&answer["code"], answer["message"].is_string()), (&json!(3), true));
    let many = "\n{}".repeat(MAX_RECORDS + 1);
    assert_eq!(rig.post("/logs", &[], many).await.status(), 413);
    let many = "{\"index\":{}}\n{}\n".repeat(MAX_RECORDS + 1);
    assert_eq!(rig.post("/_bulk", &[], many).await.status(), 413);
    assert!(rig.logs().is_empty());
    assert!(rig.store.letters.lock().is_empty());
}

#[tokio::test]
async fn a_pipeline_of_lines_takes_lines_only() {
    let rig = rig("text").await;
    assert_eq!(rig.post("/logs", &[], "one\n[two]\n").await.status(), 200);
    assert_eq!(rig.store.messages(), ["[two]", "one"]);
    let answer = rig.post("/v1/logs", &[JSON], "{}").await;
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("format: text"));
    assert_eq!(rig.post("/loki/api/v1/push", &[JSON], r#"{"streams":[]}"#).await.status(), 400);
    assert_eq!(rig.call(Encoding::Plain, &otlp("one")).await.1["grpc-status"], "3");
}

#[tokio::test]
async fn where_too_much_is_under_way_clients_are_sent_away_for_a_while() {
    let rig = rig("json").await;
    let mut held = Vec::new();
    for _ in 0..MAX_UNDER_WAY / MAX_BODY {
        // Room is taken before the body comes.
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        let head =
            format!("POST /logs HTTP/1.1\r\nHost: a\r\nContent-Length: {MAX_BODY}\r\nExpect: 100-continue\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // It is asked for once somebody waits for it.
        let mut go_on = [0; 16];
        stream.read_exact(&mut go_on).await.unwrap();
        held.push(stream);
    }
    for (path, header) in [("/logs", JSON), ("/v1/logs", JSON), ("/v1/logs", PROTOBUF), ("/loki/api/v1/push", JSON)] {
        let answer = rig.post(path, &[header], "{}").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (429, &"1".parse().unwrap()),
            "{path}"
        );
    }
    let (_, headers) = rig.call(Encoding::Plain, &otlp("one")).await;
    assert_eq!(headers["grpc-status"], "14");
    let details = headers["grpc-status-details-bin"].to_str().unwrap();
    let details = base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, details).unwrap();
    assert!(String::from_utf8_lossy(&details).contains("google.rpc.RetryInfo"));
    let size = (MAX_BODY + 1).to_string();
    let mut stream = TcpStream::connect(rig.address).await.unwrap();
    stream.write_all(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");

    drop(held);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while rig.post("/logs", &[], "{\"message\":\"at last\"}").await.status() != 200 {
        assert!(std::time::Instant::now() < deadline, "room comes back when clients go");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(rig.store.messages(), ["at last"]);
}
