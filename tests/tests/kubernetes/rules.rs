//! Applied means evaluating: how long it takes from `kubectl` to the rule worker, beside what a mounted ConfigMap takes.

use std::io::BufReader;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use taffrail_tests::eventually;
use taffrail_tests::kubernetes::{
    PATIENCE, all_ready, apply, becomes, is_ready, kubectl, kubectl_command, list, object, pods,
};

use crate::support::install;

const NAMESPACE: &str = "rules";
const CHANGES: usize = 200;
const A_SECOND: Duration = Duration::from_secs(1);
/// Rules that are there all the time.
const OTHERS: usize = 30;

fn rule(name: &str, threshold: usize) -> Value {
    let spec = json!({"query": "sum error_count", "operator": ">", "threshold": threshold, "interval": "30s"});
    object("AlertRule", name, &spec)
}

/// What `kubectl get --watch` prints of the rules, with when it did.
struct Watch {
    kubectl: Child,
    seen: Receiver<(Instant, Value)>,
}

impl Watch {
    fn start() -> Self {
        let arguments =
            ["get", "alertrules", "--namespace", NAMESPACE, "--watch", "--output-watch-events", "-o", "json"];
        let mut kubectl = kubectl_command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(kubectl.stdout.take().unwrap());
        let (tell, seen) = channel();
        std::thread::spawn(move || {
            for event in serde_json::Deserializer::from_reader(output).into_iter::<Value>().map_while(Result::ok) {
                // Nobody waits any more once the test is over.
                let _ = tell.send((Instant::now(), event));
            }
        });
        Self { kubectl, seen }
    }

    /// When the rule's status first said that a generation is in effect.
    fn in_effect(&self, name: &str, generation: i64) -> Instant {
        loop {
            let (at, event) = self.seen.recv_timeout(PATIENCE).unwrap();
            let rule = &event["object"];
            if rule["metadata"]["name"] == name && rule["metadata"]["generation"] == generation && is_ready(rule) {
                return at;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

/// What the worker has loaded: generation and threshold are the same here.
async fn loaded(worker: &str, name: &str) -> Option<i64> {
    let status: Value = reqwest::get(worker).await.ok()?.json().await.ok()?;
    status["objects"].as_array()?.iter().find(|object| object["name"] == name)?["generation"].as_i64()
}

/// Waits until the worker has a generation of a rule, or none.
async fn at_worker(worker: &str, name: &str, generation: Option<i64>) -> Instant {
    let deadline = Instant::now() + PATIENCE;
    while loaded(worker, name).await != generation {
        assert!(Instant::now() < deadline, "the worker does not take up {name} {generation:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Instant::now()
}

/// The value below which so many percent are.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_effect_within_a_second() {
    install().await;
    let others: Vec<_> = (0..OTHERS).map(|n| rule(&format!("other-{n}"), 1)).collect();
    apply(NAMESPACE, &others).unwrap();
    assert_eq!(all_ready(NAMESPACE).await, OTHERS);
    let before = pods(NAMESPACE).unwrap();
    let worker = list(NAMESPACE, "pods", "app.kubernetes.io/component=rules").unwrap().remove(0);
    let worker = format!("http://{}:9090/api/v1/status", worker["status"]["podIP"].as_str().unwrap());

    let watch = Watch::start();
    let mut took = Vec::with_capacity(CHANGES);
    // A rule is created, edited twice and deleted, again and again.
    for change in 0..CHANGES {
        let (name, step) = (format!("changing-{}", change / 4), i64::try_from(change % 4).unwrap());
        let begun = Instant::now();
        if step == 3 {
            kubectl(&["delete", "--namespace", NAMESPACE, "--wait=false", "ar", &name]).unwrap();
            took.push(at_worker(&worker, &name, None).await - begun);
        } else {
            apply(NAMESPACE, &[rule(&name, change)]).unwrap();
            let at_worker = at_worker(&worker, &name, Some(step + 1)).await;
            took.push(watch.in_effect(&name, step + 1).max(at_worker) - begun);
        }
    }
    took.sort();
    let [median, high] = [50, 95].map(|percent| percentile(&took, percent));
    assert_eq!(pods(NAMESPACE).unwrap(), before, "no pod was started anew");
    let mounted = mount_of_a_config_map().await;
    println!(
        "{CHANGES} changes of rules in effect, from the start of kubectl: median {median:?}, 95% within {high:?}; \
         a changed ConfigMap was in its mount after {mounted:?}, {:.0} times as long",
        mounted.as_secs_f64() / high.as_secs_f64()
    );
    assert!(high < A_SECOND, "{took:?}");
}

/// How long the same kubelet takes until a pod sees a changed ConfigMap.
async fn mount_of_a_config_map() -> Duration {
    let map = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mounted"}, "data": {"value": value}});
    let context = json!({
        "allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": 65532,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mounted"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "shell", "image": "localhost/busybox:1", "args": ["-c", "sleep 600"], "securityContext": context,
                "volumeMounts": [{"name": "map", "mountPath": "/map"}],
            }],
            "volumes": [{"name": "map", "configMap": {"name": "mounted"}}],
        },
    });
    apply(NAMESPACE, &[map("first"), pod]).unwrap();
    becomes(NAMESPACE, "pod/mounted", |pod| pod["status"]["phase"] == "Running").await;
    let begun = Instant::now();
    apply(NAMESPACE, &[map("second")]).unwrap();
    eventually(PATIENCE, || async {
        match kubectl(&["exec", "--namespace", NAMESPACE, "mounted", "--", "cat", "/map/value"]) {
            Ok(value) if value == "second" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let took = begun.elapsed();
    kubectl(&["delete", "--namespace", NAMESPACE, "pod", "mounted"]).unwrap();
    took
}
