//! The operator dies, replicas fight, the API server and etcd go away, rights are withdrawn: it goes on by itself.

use std::time::Duration;

use serde_json::{Value, json};
use taffrail_tests::kubernetes::{
    KINDS, PATIENCE, all_ready, apply, becomes, get, helm, kubectl, list, ours, pods, processes, signal,
};
use taffrail_tests::{eventually, variable};

use super::{install_everywhere, one_of_each, populate};
use crate::support::SYSTEM;

const NAMESPACE: &str = "disrupted";
/// How long etcd is stopped, and rights are withdrawn.
const AWAY: Duration = Duration::from_secs(30);

/// Something that shakes, and how many objects there are afterwards.
struct Round {
    suffix: String,
    objects: usize,
    pods: Vec<String>,
}

impl Round {
    /// New objects are applied, and a workload and a configuration are deleted, right before it shakes.
    fn begin(name: &str) -> Self {
        let pods = pods(NAMESPACE).unwrap();
        apply(NAMESPACE, &one_of_each(name)).unwrap();
        let made =
            ["poddisruptionbudgets,services,ingresses", "--selector", "app.kubernetes.io/managed-by=taffrail-operator"];
        kubectl(&[&["delete", "--namespace", NAMESPACE, "--wait=false"], &made[..]].concat()).unwrap();
        Self { suffix: name.to_owned(), objects: ours(NAMESPACE).unwrap().len(), pods }
    }

    /// Everything is as it should be again, without anybody's help, and workers that were not to change have not.
    async fn end(self) {
        assert_eq!(all_ready(NAMESPACE).await, self.objects, "after {}", self.suffix);
        for what in
            ["service/taffrail-metrics", "service/taffrail-dashboard", "ingress/shop-first", "pdb/demo-first-ingestion"]
        {
            becomes(NAMESPACE, what, |_| true).await;
        }
        let suffix = &self.suffix;
        becomes(NAMESPACE, &format!("ingress/shop-{suffix}"), |_| true).await;
        becomes(NAMESPACE, &format!("deployment/demo-{suffix}-ingestion"), |it| it["status"]["readyReplicas"] == 1)
            .await;
        let after = pods(NAMESPACE).unwrap();
        assert!(self.pods.iter().all(|pod| after.contains(pod)), "after {suffix}: {:#?}\n{after:#?}", self.pods);
        // A rule that comes now is still in effect at once.
        apply(NAMESPACE, &one_of_each(&format!("{suffix}-later"))[1..2]).unwrap();
        assert_eq!(all_ready(NAMESPACE).await, self.objects + 1, "after {suffix}");
        println!("went on after: {suffix}");
    }
}

/// The one process of the control plane that goes by a name.
fn process(program: &str) -> u32 {
    let found = processes(&[&format!("{program} --"), &variable("TAFFRAIL_TEST_CLUSTER")]);
    let [process] = found[..] else { panic!("{found:?} are {program}") };
    process
}

fn operators() -> Vec<Value> {
    list(SYSTEM, "pods", "app.kubernetes.io/component=operator").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_away_the_operator_goes_on() {
    install_everywhere(&["operator.replicas=2"]).await;
    populate(NAMESPACE).await;

    let round = Round::begin("kills");
    for _ in 0..5 {
        // In the middle of whatever it does.
        for process in processes(&["/taffrail operator", "--image-pull-policy="]) {
            let _ = signal(process, "KILL");
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    round.end().await;

    let round = Round::begin("no-leader");
    let lease = get(SYSTEM, "lease/taffrail-operator").unwrap();
    let leader = lease["spec"]["holderIdentity"].as_str().unwrap();
    kubectl(&["delete", "pod", leader, "--namespace", SYSTEM, "--force", "--grace-period", "0"]).unwrap();
    round.end().await;

    let round = Round::begin("api-server");
    let before = process("kube-apiserver");
    signal(before, "KILL").unwrap();
    eventually(PATIENCE, || async { ours(NAMESPACE).map(drop).map_err(|error| format!("{error:#}")) }).await;
    assert_ne!(process("kube-apiserver"), before);
    round.end().await;

    let round = Round::begin("etcd");
    let etcd = process("etcd");
    signal(etcd, "STOP").unwrap();
    tokio::time::sleep(AWAY).await;
    signal(etcd, "CONT").unwrap();
    eventually(PATIENCE, || async { ours(NAMESPACE).map(drop).map_err(|error| format!("{error:#}")) }).await;
    round.end().await;

    let binding = "clusterrolebinding/taffrail-operator";
    let withdrawn = get(SYSTEM, binding).unwrap();
    kubectl(&["delete", binding]).unwrap();
    let round = Round::begin("rights");
    tokio::time::sleep(AWAY).await;
    let restored = json!({
        "apiVersion": withdrawn["apiVersion"], "kind": withdrawn["kind"], "roleRef": withdrawn["roleRef"],
        "subjects": withdrawn["subjects"],
        "metadata": {"name": withdrawn["metadata"]["name"], "labels": withdrawn["metadata"]["labels"]},
    });
    apply(SYSTEM, &[restored]).unwrap();
    round.end().await;

    let ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
    eventually(PATIENCE, || async {
        let operators = operators();
        if operators.len() == 2 && operators.iter().all(ready) { Ok(()) } else { Err(format!("{operators:#?}")) }
    })
    .await;
    assert_eq!(ours(NAMESPACE).unwrap().len(), KINDS.len() * 6 + 5);
    kubectl(&["delete", "namespace", NAMESPACE]).unwrap();
    helm(&["uninstall", "taffrail", "--namespace", SYSTEM, "--wait"]).unwrap();
}
