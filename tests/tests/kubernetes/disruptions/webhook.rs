//! Objects that can't work are refused when they are applied, where that is wanted, and by nobody else's absence.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use taffrail_tests::eventually;
use taffrail_tests::kubernetes::{PATIENCE, apply, get, kubectl, object};

use super::install_everywhere;
use crate::support::{SYSTEM, make_namespace};

const NAMESPACE: &str = "refusing";
const CONFIGURATION: &str = "validatingwebhookconfiguration/taffrail-operator";

/// Another rule each time: what is applied again as it is is never refused.
fn rule(query: &str) -> [Value; 1] {
    static THRESHOLD: AtomicU64 = AtomicU64::new(1);
    let threshold = THRESHOLD.fetch_add(1, Ordering::Relaxed);
    [object("AlertRule", "errors", &json!({"query": query, "operator": ">", "threshold": threshold}))]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_work_is_refused_where_that_is_wanted() {
    install_everywhere(&["webhook.enabled=true"]).await;
    make_namespace(NAMESPACE);
    apply(NAMESPACE, &rule("rate error_count")).unwrap();
    // The operator makes the certificate, and has the API server trust it.
    let said = eventually(PATIENCE, || async {
        match apply(NAMESPACE, &rule("rtae error_count")) {
            Err(error) => Ok(format!("{error:#}")),
            Ok(_) => Err("a rule that can't work is taken"),
        }
    })
    .await;
    assert!(said.contains("denied the request") && said.contains("rtae"), "{said}");
    println!("{said}");
    apply(NAMESPACE, &rule("sum error_count")).unwrap();

    // Without the operator nobody refuses anything.
    kubectl(&["scale", "--namespace", SYSTEM, "deployment/taffrail-operator", "--replicas", "0"]).unwrap();
    eventually(PATIENCE, || async {
        apply(NAMESPACE, &rule("rtae error_count")).map_err(|error| format!("{error:#}"))
    })
    .await;

    install_everywhere(&[]).await;
    assert!(get(SYSTEM, CONFIGURATION).is_err(), "it is the chart's, and goes with its value");
    apply(NAMESPACE, &rule("rate error_cout by")).unwrap();
    kubectl(&["delete", "namespace", NAMESPACE]).unwrap();
}
