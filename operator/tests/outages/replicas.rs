//! Two replicas of an operator, and what must be true of them and of what they have made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::api::ListParams;
use taffrail_operator::Operator;
use tokio::task::JoinHandle;

use crate::support::scratch::WRITTEN;
use crate::support::{Scratch, TAFFRAIL, start, until};

pub const PIPELINE: &str = "
source: {kafka: {brokers: ['kafka:9092'], topic: logs}}
metrics: [{name: logs_total, type: counter}]
sink: {elasticsearch: {urls: ['http://elasticsearch:9200']}}
";

/// Two replicas that share a Lease.
pub struct Replicas {
    all: Arc<[Operator; 2]>,
    both_have_led: Arc<AtomicBool>,
    watcher: JoinHandle<()>,
}

impl Replicas {
    /// Two replicas of which one leads, with a pipeline, a rule and a dashboard that have all they need.
    pub async fn at_work(scratch: &Scratch) -> Self {
        let all = Arc::new(["first", "second"].map(|name| start(scratch.config(name), scratch.client.clone())));
        let both_have_led = Arc::new(AtomicBool::new(false));
        let (watched, led) = (all.clone(), both_have_led.clone());
        let watcher = tokio::spawn(async move {
            loop {
                if watched.iter().all(Operator::leads) {
                    led.store(true, Ordering::SeqCst);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        scratch.apply("LogPipeline", "logs", PIPELINE).await;
        scratch.apply("AlertRule", "errors", "{query: rate logs_total, operator: '>', threshold: 1}").await;
        scratch.apply("Dashboard", "shop", "{ingress: {host: shop.example.com}}").await;
        for name in ["logs-ingestion", "taffrail-rules", "taffrail-dashboard"] {
            scratch.wait_for("apps/v1", "Deployment", name, |it| it["status"]["availableReplicas"] == 1).await;
        }
        let replicas = Self { all, both_have_led, watcher };
        replicas.come_to_rest(scratch).await;
        replicas
    }

    /// How many lead.
    pub fn leaders(&self) -> usize {
        assert!(!self.both_have_led.load(Ordering::SeqCst), "both have led at the same time");
        self.all.iter().filter(|operator| operator.leads()).count()
    }

    /// How many say that they are ready.
    pub fn ready(&self) -> usize {
        self.all.iter().filter(|operator| operator.ready().is_ok()).count()
    }

    /// Waits until one leads, the other stands by, and nothing is written.
    pub async fn come_to_rest(&self, scratch: &Scratch) {
        until("one leads and one stands by", || async { self.leaders() == 1 && self.ready() == 2 }).await;
        until("nothing is written", || async {
            let before = scratch.versions().await;
            tokio::time::sleep(Duration::from_secs(4)).await;
            before == scratch.versions().await
        })
        .await;
    }

    pub async fn stop(self) {
        self.watcher.abort();
        let _ = self.watcher.await;
        for operator in Arc::into_inner(self.all).unwrap() {
            operator.stop().await;
        }
    }
}

/// The UID of every object that the operator has made, by kind and name, and a mark for each pod, by its worker.
pub async fn identities(scratch: &Scratch) -> BTreeMap<String, String> {
    let mut all = BTreeMap::<String, String>::new();
    let params = ListParams::default().labels("app.kubernetes.io/managed-by=taffrail-operator");
    for (api_version, kind) in WRITTEN.into_iter().filter(|(api_version, _)| *api_version != TAFFRAIL) {
        for object in scratch.api(api_version, kind).list(&params).await.unwrap() {
            let metadata = object.metadata;
            if kind == "Pod" {
                let worker = &metadata.labels.unwrap()["app.kubernetes.io/component"];
                all.entry(format!("pods of {worker}")).or_default().push('1');
            } else {
                all.insert(format!("{kind} {}", metadata.name.unwrap()), metadata.uid.unwrap());
            }
        }
    }
    all
}

/// Waits until the API server answers, in our kinds as well.
pub async fn answers(scratch: &Scratch) {
    until("the API server answers", || async {
        scratch.client.apiserver_version().await.is_ok()
            && scratch.api(TAFFRAIL, "LogPipeline").list(&ListParams::default()).await.is_ok()
    })
    .await;
}
