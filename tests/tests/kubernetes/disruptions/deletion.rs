//! What is deleted goes, with everything that was made for it.

use std::time::{Duration, Instant};

use taffrail_tests::eventually;
use taffrail_tests::kubernetes::{KINDS, PATIENCE, get, helm, items, kubectl, list};

use super::{install_everywhere, populate};
use crate::support::SYSTEM;

/// Everything that the operator makes, and pods.
const MADE: &str = "deployments,statefulsets,pods,configmaps,secrets,services,serviceaccounts,roles,rolebindings,\
    poddisruptionbudgets,networkpolicies,ingresses,persistentvolumeclaims,servicemonitors.monitoring.coreos.com";
/// A namespace takes some time of its own.
const GOES_WITHIN: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_of_what_is_deleted() {
    install_everywhere(&[]).await;
    populate("emptied").await;
    populate("deleted").await;
    let made = || list("emptied", MADE, "app.kubernetes.io/managed-by=taffrail-operator").unwrap();
    assert!(made().len() > 20, "{:#?}", made());
    kubectl(&["delete", "--namespace", "emptied", &KINDS.join(","), "--all"]).unwrap();
    eventually(PATIENCE, || async {
        let left: Vec<_> =
            made().iter().map(|object| format!("{} {}", object["kind"], object["metadata"]["name"])).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
    })
    .await;

    // With the operator there, and what it was about to make.
    let begun = Instant::now();
    kubectl(&["delete", "namespace", "deleted"]).unwrap();
    println!("a namespace with workers was gone after {:?}", begun.elapsed());
    assert!(begun.elapsed() < GOES_WITHIN);

    populate("left").await;
    helm(&["uninstall", "taffrail", "--namespace", SYSTEM, "--wait"]).unwrap();
    // And without it.
    for namespace in [SYSTEM, "left", "emptied"] {
        kubectl(&["delete", "namespace", namespace, "--timeout", "120s"]).unwrap();
    }
    for kind in KINDS {
        let crd = get("default", &format!("crd/{kind}.taffrail.dev")).unwrap();
        assert!(crd["metadata"]["deletionTimestamp"].is_null());
    }
    let namespaces = items(get("default", "namespaces").unwrap());
    assert!(namespaces.iter().all(|namespace| namespace["status"]["phase"] == "Active"), "{namespaces:#?}");
}
