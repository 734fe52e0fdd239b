//! An API server that is killed and started again.

use std::time::Duration;

use serde_json::json;

use crate::processes::{alone, kill};
use crate::replicas::{PIPELINE, Replicas, answers, identities};
use crate::support::{Scratch, until};

#[tokio::test]
async fn a_killed_api_server_costs_nothing_but_the_time_it_is_away() {
    let _alone = alone().await;
    let scratch = Scratch::new("killed").await;
    let replicas = Replicas::at_work(&scratch).await;
    let before = identities(&scratch).await;
    for round in 0..3 {
        // In the middle of what the operator does about a new object, or about none.
        let name = format!("new-{round}");
        if round > 0 {
            scratch.apply("LogPipeline", &name, PIPELINE).await;
            tokio::time::sleep(Duration::from_millis(40 * round)).await;
        }
        kill("kube-apiserver");
        answers(&scratch).await;
        scratch.apply("LogPipeline", "logs", &format!("{PIPELINE}replicas: {}", round + 1)).await;
        scratch.apply("LogPipeline", &name, PIPELINE).await;
        let scaled = |it: &serde_json::Value| it["spec"]["replicas"] == json!(round + 1);
        scratch.wait_for("apps/v1", "Deployment", "logs-ingestion", scaled).await;
        scratch.wait_for("apps/v1", "Deployment", &format!("{name}-ingestion"), |_| true).await;
        scratch.wait_for_condition("LogPipeline", &name, "Ready", "False RollingOut").await;
        replicas.come_to_rest(&scratch).await;
    }
    // Three of `logs`, and one of each new one. Another controller makes them, in its own time.
    let pods = "1".repeat(6);
    until("all pods are there", || async { identities(&scratch).await["pods of ingestion"].len() >= pods.len() }).await;
    // Nothing was made anew, and nothing twice.
    let mut after = identities(&scratch).await;
    after.retain(|name, _| !name.contains("new-"));
    let mut expected = before.clone();
    expected.insert("pods of ingestion".to_owned(), pods);
    assert_eq!(after, expected);
    replicas.stop().await;
}
