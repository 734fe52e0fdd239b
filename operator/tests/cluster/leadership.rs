//! Two replicas, and an API server that goes away.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;

use crate::support::{Gate, Scratch, start, until};

const PIPELINE: &str = "
source: {kafka: {brokers: ['kafka:9092'], topic: logs}}
sink: {elasticsearch: {urls: ['http://elasticsearch:9200']}}
";

async fn holder(scratch: &Scratch) -> Option<String> {
    let api: Api<Lease> = Api::namespaced(scratch.client.clone(), &scratch.namespace);
    api.get_opt(taffrail_operator::LEASE).await.unwrap()?.spec?.holder_identity
}

#[tokio::test]
async fn one_of_two_replicas_leads_and_the_other_takes_over() {
    let scratch = Scratch::new("lease").await;
    let gate = Gate::open().await;
    let first = start(scratch.config("first"), gate.client().await);
    until("the first leads", || async { first.leads() }).await;
    let second = start(scratch.config("second"), scratch.client.clone());
    until("the second stands by", || async { second.ready().is_ok() }).await;
    assert!(!second.leads());
    scratch.apply("LogPipeline", "one", PIPELINE).await;
    scratch.wait_for("apps/v1", "Deployment", "one-ingestion", |_| true).await;

    // Cut off from the API server, the first stops before the second begins.
    gate.cut();
    let cut = Instant::now();
    until("the first leads no more", || async { !first.leads() }).await;
    assert!(!second.leads(), "two lead at a time, {:?} after the cut", cut.elapsed());
    assert!(first.ready().is_err());
    until("the second leads", || async { second.leads() }).await;
    assert_eq!(holder(&scratch).await.as_deref(), Some("second"));
    scratch.apply("LogPipeline", "two", PIPELINE).await;
    scratch.wait_for("apps/v1", "Deployment", "two-ingestion", |_| true).await;

    // Back again, the first stands by; when the second stops in good order it need not wait.
    gate.mend();
    until("the first stands by", || async { first.ready().is_ok() }).await;
    assert!(!first.leads());
    let stopped = Instant::now();
    second.stop().await;
    until("the first leads", || async { first.leads() }).await;
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    scratch.apply("LogPipeline", "three", PIPELINE).await;
    scratch.wait_for("apps/v1", "Deployment", "three-ingestion", |_| true).await;
    first.stop().await;
    assert_eq!(holder(&scratch).await, None);
}

#[tokio::test]
async fn an_api_server_that_was_away_is_caught_up_with() {
    let scratch = Scratch::new("away").await;
    let gate = Gate::open().await;
    let operator = start(scratch.config("operator-1"), gate.client().await);
    scratch.apply("LogPipeline", "stays", PIPELINE).await;
    scratch.apply("LogPipeline", "goes", PIPELINE).await;
    for name in ["stays-ingestion", "goes-ingestion"] {
        scratch.wait_for("apps/v1", "Deployment", name, |_| true).await;
    }
    // Once for less than the Lease holds, and once for longer.
    for seconds in [2, 8] {
        gate.cut();
        let name = format!("new-{seconds}");
        scratch.apply("LogPipeline", &name, PIPELINE).await;
        scratch.delete("apps/v1", "Deployment", "stays-ingestion").await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        gate.mend();
        scratch.wait_for("apps/v1", "Deployment", &format!("{name}-ingestion"), |_| true).await;
        scratch.wait_for("apps/v1", "Deployment", "stays-ingestion", |_| true).await;
    }
    operator.stop().await;
}
