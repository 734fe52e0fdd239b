//! What others send to the http source, by their own programs where they are at hand.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Compression, LogExporter, Protocol, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use serde_json::{Value, json};
use taffrail_tests::taffrail::{Options, Taffrail};
use taffrail_tests::{elasticsearch, eventually, unique};
use tokio::runtime::Handle;

use crate::support::{PATIENCE, consumed};

/// Starts a process whose http source writes to a sink.
async fn start(folder: &Path, sink: Value) -> Taffrail {
    let objects = folder.join("objects.json");
    let pipeline = json!({
        "apiVersion": "taffrail.dev/v1alpha1", "kind": "LogPipeline", "metadata": {"name": "http"},
        "spec": {"source": {"http": {"port": 8081}}, "batch": {"size": 100, "timeout": "100ms"}, "sink": sink},
    });
    fs::write(&objects, pipeline.to_string()).unwrap();
    let taffrail = Taffrail::start(Options::new(&folder.join("data"), [&objects])).await.unwrap();
    eventually(Duration::from_secs(10), || taffrail.send("")).await;
    taffrail
}

/// Waits until a search finds so many logs, and gives them, newest first.
async fn found(taffrail: &Taffrail, search: &str, total: usize) -> Vec<Value> {
    let answer = eventually(Duration::from_secs(30), || async {
        let answer = taffrail.ask(&format!("logs/search?{search}")).await.map_err(|error| format!("{error:#}"))?;
        if answer["total"] == total { Ok(answer) } else { Err(format!("{answer}\n{}", taffrail.log())) }
    })
    .await;
    answer["logs"].as_array().unwrap().clone()
}

/// How the SDK sends over HTTP, in the runtime of the test.
#[derive(Debug)]
struct Client(reqwest::Client, Handle);

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, handle) = (self.0.clone(), self.1.clone());
        let sending = handle.spawn(async move {
            let (head, body) = request.into_parts();
            let request = client.request(head.method, head.uri.to_string()).headers(head.headers).body(body);
            let answer = request.send().await?;
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            *response.body_mut() = answer.bytes().await?;
            Ok::<_, reqwest::Error>(response)
        });
        Ok(sending.await??)
    }
}

/// Emits some logs, as a program with the SDK does, and waits until they are sent.
async fn emit(exporter: LogExporter, service: &'static str) {
    let resource = Resource::builder_empty().with_service_name(service).build();
    let provider = SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
    let logger = provider.logger("cart");
    for n in 0..150_i64 {
        let mut record = logger.create_log_record();
        record.set_timestamp(SystemTime::now());
        record.set_severity_number(Severity::Warn);
        record.set_severity_text("WARN");
        record.set_body(AnyValue::from(format!("{service} {n}")));
        record.add_attribute("http.response.status_code", 500 + n);
        record.add_attribute("ratio", 0.5);
        logger.emit(record);
    }
    // It sends what it has first.
    tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(PATIENCE).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn opentelemetry_sdks_send_over_http_and_grpc() {
    let folder = tempfile::tempdir().unwrap();
    let index = unique("otlp");
    let _indices = elasticsearch::Indices(index.clone());
    let sink = json!({"elasticsearch": {"urls": [elasticsearch::address()], "index": index}});
    let taffrail = start(folder.path(), sink).await;
    let over_http = |protocol, compression: Option<Compression>| {
        let exporter = LogExporter::builder()
            .with_http()
            .with_http_client(Client(reqwest::Client::new(), Handle::current()))
            .with_protocol(protocol)
            .with_endpoint(format!("{}/v1/logs", taffrail.source))
            .with_timeout(PATIENCE);
        match compression {
            Some(compression) => exporter.with_compression(compression).build().unwrap(),
            None => exporter.build().unwrap(),
        }
    };
    let over_grpc = LogExporter::builder()
        .with_tonic()
        .with_endpoint(&taffrail.source)
        .with_timeout(PATIENCE)
        .with_compression(Compression::Gzip)
        .build()
        .unwrap();
    emit(over_http(Protocol::HttpBinary, None), "binary").await;
    emit(over_http(Protocol::HttpBinary, Some(Compression::Gzip)), "gzip").await;
    emit(over_http(Protocol::HttpJson, None), "json").await;
    emit(over_grpc, "grpc").await;
    for service in ["binary", "gzip", "json", "grpc"] {
        let logs = found(&taffrail, &format!("service={service}&limit=200"), 150).await;
        let log = logs.iter().find(|log| log["message"] == format!("{service} 149")).unwrap();
        assert_eq!((&log["level"], &log["fields"]["original_level"]), (&json!("warn"), &json!("WARN")));
        assert_eq!(log["fields"]["http.response.status_code"], 649);
        assert_eq!((&log["fields"]["ratio"], &log["fields"]["otel.scope.name"]), (&json!(0.5), &json!("cart")));
        // Numbers are searched as numbers.
        let search = format!("service={service}&q=fields.http.response.status_code:>=640");
        assert_eq!(found(&taffrail, &search, 10).await.len(), 10);
    }
    assert_eq!(consumed(&taffrail, "http", 600).await["indexed"], 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_loki_is_taken_once() {
    let folder = tempfile::tempdir().unwrap();
    let taffrail = start(folder.path(), json!({"embedded": {}})).await;
    let now = jiff::Timestamp::now().as_nanosecond();
    // Of two in one millisecond nobody says which is shown first.
    let at = |n: i128| (now + n * 1_000_000).to_string();
    let values: Vec<Value> =
        (0..50).map(|n| json!([at(n), format!("line {n}"), {"trace_id": format!("t{n}")}])).collect();
    let stream = json!({"job": "varlogs", "hostname": "box", "level": "error", "namespace": "prod"});
    let push = json!({"streams": [{"stream": stream, "values": values}]}).to_string();
    for _ in 0..2 {
        let answer = reqwest::Client::new()
            .post(format!("{}/loki/api/v1/push", taffrail.source))
            .header("content-type", "application/json")
            .body(push.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 204);
    }
    let logs = found(&taffrail, "service=varlogs&host=box&level=error&tag.namespace=prod&limit=100", 50).await;
    assert_eq!((&logs[0]["message"], &logs[0]["fields"]["trace_id"]), (&json!("line 49"), &json!("t49")));
    let status = consumed(&taffrail, "http", 100).await;
    assert_eq!((&status["indexed"], &status["deduplicated"]), (&json!(50), &json!(50)));
}

/// rsyslog, running. It is killed when this goes.
struct Rsyslog(Child);

impl Drop for Rsyslog {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rsyslog_sends_as_to_elasticsearch() {
    let folder = tempfile::tempdir().unwrap();
    let taffrail = start(folder.path(), json!({"embedded": {}})).await;
    let place = |name: &str| folder.path().join(name).display().to_string();
    // The template is that of the documentation.
    let documentation = fs::read_to_string(taffrail_tests::checkout("docs/sending.md")).unwrap();
    let template = documentation.split("template(name").nth(1).and_then(|rest| rest.split("\n}\n").next()).unwrap();
    let settings = format!(
        "module(load=\"imfile\" pollingInterval=\"1\")\nmodule(load=\"omelasticsearch\")\n\
         global(workDirectory=\"{}\")\ntemplate(name{template}\n}}\n\
         input(type=\"imfile\" file=\"{}\" tag=\"shop:\" severity=\"warning\")\n\
         action(type=\"omelasticsearch\" server=\"127.0.0.1\" serverport=\"{}\" bulkmode=\"on\" searchType=\"\" \
         template=\"taffrail\" action.resumeRetryCount=\"-1\")\n",
        folder.path().display(),
        place("app.txt"),
        taffrail.source.rsplit(':').next().unwrap(),
    );
    fs::write(place("rsyslog.conf"), settings).unwrap();
    fs::write(place("app.txt"), (0..500).map(|n| format!("line {n}\n")).collect::<String>()).unwrap();
    let rsyslog = Command::new("rsyslogd")
        .args(["-n", "-f", &place("rsyslog.conf"), "-i", &place("rsyslog.pid")])
        .stdout(Stdio::null())
        .stderr(fs::File::create(place("rsyslog.log")).unwrap())
        .spawn()
        .expect("rsyslogd is installed, with its package for Elasticsearch");
    let _rsyslog = Rsyslog(rsyslog);
    let logs = found(&taffrail, "service=shop&limit=500", 500).await;
    assert!(logs.iter().any(|log| log["message"] == "line 499" && log["level"] == "warn"), "{}", logs[0]);
}
