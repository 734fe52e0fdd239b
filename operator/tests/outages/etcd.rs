//! An etcd that stands still for half a minute: the API server takes requests and does not answer them.

use std::time::{Duration, Instant};

use crate::processes::{Still, alone};
use crate::replicas::{PIPELINE, Replicas, answers, identities};
use crate::support::{Scratch, until};

const HALF_A_MINUTE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn while_etcd_stands_still_nobody_leads_and_afterwards_all_is_caught_up_with() {
    let _alone = alone().await;
    let scratch = Scratch::new("still").await;
    let replicas = Replicas::at_work(&scratch).await;
    let before = identities(&scratch).await;
    scratch.apply("LogPipeline", "new", PIPELINE).await;
    let still = Still::stand("etcd");
    let began = Instant::now();
    until("nobody leads", || async { replicas.leaders() == 0 }).await;
    let led = began.elapsed();
    assert!(led < Duration::from_secs(6), "whose Lease may have run out led on for {led:?}");
    until("nobody says that it is ready", || async { replicas.ready() == 0 }).await;
    assert!(began.elapsed() < HALF_A_MINUTE / 2, "readiness said nothing of it for {:?}", began.elapsed());
    while began.elapsed() < HALF_A_MINUTE {
        assert_eq!((replicas.leaders(), replicas.ready()), (0, 0), "after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(still);
    answers(&scratch).await;
    scratch.apply("LogPipeline", "logs", &format!("{PIPELINE}replicas: 2")).await;
    scratch.wait_for("apps/v1", "Deployment", "new-ingestion", |_| true).await;
    scratch.wait_for("apps/v1", "Deployment", "logs-ingestion", |it| it["spec"]["replicas"] == 2).await;
    scratch.wait_for_condition("LogPipeline", "new", "Ready", "False RollingOut").await;
    replicas.come_to_rest(&scratch).await;

    let mut after = identities(&scratch).await;
    after.retain(|name, _| !name.contains("new"));
    let mut expected = before.clone();
    // Two of `logs`, and the new one.
    expected.insert("pods of ingestion".to_owned(), "1".repeat(3));
    assert_eq!(after, expected);
    replicas.stop().await;
}
