//! The chart goes, comes back, and is upgraded: objects and workers stay as they are.

use std::fs;
use std::path::Path;
use std::time::Duration;

use taffrail_tests::checkout;
use taffrail_tests::kubernetes::{KINDS, all_ready, apply, get, helm, kubectl, ours, pods};

use super::{install_everywhere, one_of_each, populate};
use crate::support::SYSTEM;

const NAMESPACE: &str = "kept";
/// How long workers would take to be started anew, if they were.
const SETTLES_WITHIN: Duration = Duration::from_secs(15);

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() { copy(&from, &to) } else { fs::copy(from, to).map(drop).unwrap() }
    }
}

/// The next version of the chart, whose LogPipelines have a field more.
fn next_chart(folder: &Path) {
    copy(&checkout("charts/taffrail"), folder);
    let file = folder.join("files/crds/taffrail.dev_logpipelines.yaml");
    let mut crd = get(SYSTEM, "crd/logpipelines.taffrail.dev").unwrap();
    let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    crd.pointer_mut(properties).unwrap()["brandNew"] = serde_json::json!({"type": "string"});
    let metadata = serde_json::json!({"name": crd["metadata"]["name"]});
    crd["metadata"] = metadata;
    crd.as_object_mut().unwrap().remove("status");
    // JSON is YAML.
    fs::write(file, crd.to_string()).unwrap();
    let chart = folder.join("Chart.yaml");
    let text = fs::read_to_string(&chart).unwrap();
    let version = text.lines().find(|line| line.starts_with("version:")).unwrap();
    fs::write(&chart, text.replace(version, "version: 99.0.0")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_that_goes_and_comes_back_leaves_objects_and_workers_alone() {
    install_everywhere(&[]).await;
    let before = populate(NAMESPACE).await;

    helm(&["uninstall", "taffrail", "--namespace", SYSTEM, "--wait"]).unwrap();
    for kind in KINDS {
        let crd = get(SYSTEM, &format!("crd/{kind}.taffrail.dev")).unwrap();
        assert!(crd["metadata"]["deletionTimestamp"].is_null());
    }
    let left = ours(NAMESPACE).unwrap();
    assert_eq!(left.len(), KINDS.len());
    assert!(left.iter().all(|object| object["metadata"]["deletionTimestamp"].is_null()));
    // Without Helm, and then with it again.
    let [crds, operator] = ["crds", "charts/taffrail/ci/snapshots/default.yaml"].map(checkout);
    let operator = operator.to_str().unwrap();
    kubectl(&["apply", "--server-side", "--filename", crds.to_str().unwrap()]).unwrap();
    kubectl(&["apply", "--filename", operator]).unwrap();
    apply(NAMESPACE, &one_of_each("second")).unwrap();
    assert_eq!(all_ready(NAMESPACE).await, 2 * KINDS.len());
    kubectl(&["delete", "--filename", operator]).unwrap();
    install_everywhere(&[]).await;
    apply(NAMESPACE, &one_of_each("third")).unwrap();
    assert_eq!(all_ready(NAMESPACE).await, 3 * KINDS.len());
    let after = pods(NAMESPACE).unwrap();
    assert!(before.iter().all(|pod| after.contains(pod)), "{before:#?}\n{after:#?}");

    let folder = tempfile::tempdir().unwrap();
    next_chart(folder.path());
    let chart = folder.path().to_str().unwrap();
    helm(&["upgrade", "taffrail", chart, "--namespace", SYSTEM, "--reuse-values", "--wait"]).unwrap();
    let crd = get(SYSTEM, "crd/logpipelines.taffrail.dev").unwrap();
    assert!(crd.to_string().contains("brandNew"), "the definition is that of the new chart");
    tokio::time::sleep(SETTLES_WITHIN).await;
    assert_eq!(all_ready(NAMESPACE).await, 3 * KINDS.len());
    assert_eq!(pods(NAMESPACE).unwrap(), after, "no worker was started anew");
    kubectl(&["delete", "namespace", NAMESPACE]).unwrap();
}
