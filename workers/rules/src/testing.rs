//! What tests share: an engine that answers as it is told, a worker whose time is set by hand, and a webhook that notes
//! what it is sent.

#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use taffrail_crds::{AlertRule, AlertRuleStatus, Kind, LogReceiver, Object, ObjectKey, Receiver};
use taffrail_query::{EngineError, InstantSeries, Labels, MetricsEngine, RangeSeries, ShortQuery, TimeRange};
use taffrail_runtime::{Board, Telemetry};
use tokio::sync::watch;

use crate::{RuleWorker, RuleWorkerConfig, TestClock};

/// When tests begin: a whole minute.
pub(crate) const START: &str = "2026-01-01T00:00:00Z";

type Answer = Result<Vec<InstantSeries>, EngineError>;

/// An engine that answers as it is told; nothing where it is told nothing.
#[derive(Default)]
pub(crate) struct Script {
    answers: Mutex<HashMap<String, Answer>>,
    /// Queries, windows in seconds, and the times they were asked for.
    pub(crate) asked: Mutex<Vec<(String, u64, i64)>>,
    /// As long as it is set, answers to `sum slow` wait.
    pub(crate) slow: watch::Sender<bool>,
    /// How many wait.
    pub(crate) waiting: Arc<()>,
}

impl Script {
    pub(crate) fn say(&self, query: &str, value: f64) {
        self.say_all(query, &[("", value)]);
    }

    /// Values by `label=value`.
    pub(crate) fn say_all(&self, query: &str, values: &[(&str, f64)]) {
        let series = |(text, value): &(&str, f64)| InstantSeries { labels: labels(text), value: *value };
        self.answers.lock().insert(query.to_owned(), Ok(values.iter().map(series).collect()));
    }

    pub(crate) fn fail(&self, query: &str) {
        self.answers.lock().insert(query.to_owned(), Err(EngineError::Unavailable("it is away".to_owned())));
    }

    pub(crate) fn times(&self, query: &str) -> Vec<i64> {
        self.asked.lock().iter().filter(|(asked, ..)| asked == query).map(|(.., at)| *at).collect()
    }
}

/// Labels from `a=b,c=d`.
pub(crate) fn labels(text: &str) -> Labels {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[async_trait]
impl MetricsEngine for Script {
    async fn instant(&self, query: &ShortQuery, window: Duration, at: i64) -> Answer {
        let query = query.to_string();
        self.asked.lock().push((query.clone(), window.as_secs(), at));
        if query == "sum slow" {
            let _waiting = self.waiting.clone();
            self.slow.subscribe().wait_for(|slow| !slow).await.unwrap();
        }
        self.answers.lock().get(&query).cloned().unwrap_or_else(|| Ok(Vec::new()))
    }

    async fn range(&self, _: &ShortQuery, _: Duration, _: TimeRange) -> Result<Vec<RangeSeries>, EngineError> {
        Ok(Vec::new())
    }

    async fn metric_names(&self) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }

    async fn label_values(&self, _: Option<&str>, _: &str) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }
}

/// A rule of namespace `shop` from its spec.
pub(crate) fn rule(name: &str, spec: &Value) -> AlertRule {
    let object = json!({
        "apiVersion": "taffrail.dev/v1alpha1",
        "kind": "AlertRule",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey { kind: Kind::AlertRule, namespace: "shop".to_owned(), name: name.to_owned() }
}

/// A worker whose time is set by hand.
pub(crate) struct Bench {
    pub(crate) board: Board,
    pub(crate) engine: Arc<Script>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) telemetry: Telemetry,
    worker: Option<RuleWorker>,
}

impl Bench {
    /// A worker without rules.
    pub(crate) async fn new() -> Self {
        let mut bench = Self {
            board: Board::new(),
            engine: Arc::default(),
            clock: Arc::new(TestClock::new(START.parse().unwrap())),
            directory: tempfile::tempdir().unwrap(),
            telemetry: Telemetry::default(),
            worker: None,
        };
        bench.start().await;
        bench
    }

    pub(crate) async fn start(&mut self) {
        self.telemetry = Telemetry::default();
        let worker = RuleWorker::start(RuleWorkerConfig {
            board: self.board.clone(),
            engine: self.engine.clone(),
            data_dir: self.directory.path().to_owned(),
            default_receivers: vec![Receiver { log: Some(LogReceiver {}), ..Receiver::default() }],
            telemetry: &self.telemetry,
            clock: self.clock.clone(),
        });
        self.worker = Some(worker.unwrap());
        self.settled().await;
    }

    /// Ends the worker as a loss of power would.
    pub(crate) async fn kill(&mut self) {
        self.worker = None;
        // The task ends when the runtime comes to it.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn stop(&mut self) {
        self.worker.take().unwrap().stop().await;
    }

    pub(crate) async fn settled(&self) {
        self.worker.as_ref().unwrap().settled().await;
    }

    pub(crate) async fn apply(&self, name: &str, spec: Value) {
        self.board.apply(Object::AlertRule(Arc::new(rule(name, &spec))));
        self.settled().await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.board.delete(&key(name));
        self.settled().await;
    }

    pub(crate) async fn secret(&self, name: &str, data: Value) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "shop"}, "data": data,
        });
        self.board.apply(Object::Secret(Arc::new(serde_json::from_value(secret).unwrap())));
        self.settled().await;
    }

    /// Lets time pass, all at once.
    pub(crate) async fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.settled().await;
    }

    /// Lets time pass while there is no worker.
    pub(crate) fn pass_without_worker(&self, seconds: u64) {
        assert!(self.worker.is_none());
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn status(&self, name: &str) -> AlertRuleStatus {
        serde_json::from_value(self.board.get(&key(name)).unwrap().status.unwrap()).unwrap()
    }

    /// The state, and why the rule is ready or not.
    pub(crate) fn state(&self, name: &str) -> String {
        let status = self.status(name);
        format!("{:?} {}", status.state, status.conditions[0].reason)
    }

    pub(crate) fn message(&self, name: &str) -> String {
        self.status(name).conditions[0].message.clone()
    }

    /// What has been written down.
    pub(crate) fn journal(&self) -> Vec<u8> {
        std::fs::read(self.directory.path().join("state.v1")).unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        crate::Clock::now(&*self.clock)
    }
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// A web server that notes what it is sent, and answers as it is told; 200 where it is told nothing.
#[derive(Clone, Default)]
pub(crate) struct Hook {
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
    pub(crate) answers: Arc<Mutex<VecDeque<u16>>>,
    pub(crate) url: String,
}

impl Hook {
    pub(crate) async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = Self { url: format!("http://{}", listener.local_addr().unwrap()), ..Self::default() };
        let router = axum::Router::new().fallback(take).with_state(hook.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        hook
    }

    pub(crate) fn answer(&self, statuses: &[u16]) {
        self.answers.lock().extend(statuses);
    }

    /// What has come in since it was asked last.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock())
    }

    /// Status and labels of what has come in since it was asked last.
    pub(crate) fn words(&self) -> Vec<String> {
        let words = |request: Request| {
            let json = request.json();
            let reason = json["reason"].as_str().map(|reason| format!(" {reason}")).unwrap_or_default();
            format!("{}{reason}", json["status"].as_str().unwrap())
        };
        self.take().into_iter().map(words).collect()
    }

    pub(crate) fn receiver(&self) -> Value {
        json!({"webhook": {"url": self.url}})
    }
}

async fn take(State(hook): State<Hook>, uri: axum::http::Uri, headers: HeaderMap, body: String) -> impl IntoResponse {
    hook.requests.lock().push(Request { path: uri.path().to_owned(), headers, body });
    let status = hook.answers.lock().pop_front().unwrap_or(200);
    let retry = if status == 429 { "120" } else { "" };
    (StatusCode::from_u16(status).unwrap(), [("retry-after", retry)], "because")
}
