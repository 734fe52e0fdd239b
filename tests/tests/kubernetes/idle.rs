//! Idle means idle: ten minutes of an operator with fifty objects, by the API server's audit log and the kernel's clock.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use taffrail_tests::kubernetes::{all_ready, apply, kubectl, object, processes};
use taffrail_tests::process::processor_time;
use taffrail_tests::variable;

use crate::support::{install, install_release, make_namespace};

/// The namespace of the objects, which is also the one namespace that an operator of its own looks after.
const NAMESPACE: &str = "idle";
const SYSTEM: &str = "idle-system";
const OBJECTS: usize = 50;
const TIME: Duration = Duration::from_secs(600);
/// After everything is ready: counts of pipelines and conditions of the last one may still be on their way.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
/// One percent of a core.
const SHARE: f64 = 0.01;

fn objects() -> Vec<Value> {
    let pipeline = json!({
        "source": {"kafka": {"brokers": ["kafka:9092"], "topic": "idle", "group": "idle"}},
        "metrics": [{"name": "log_count", "type": "counter"}],
        "sink": {"elasticsearch": {"urls": ["http://elasticsearch:9200"], "index": "idle"}},
    });
    let rule = json!({"query": "sum log_count", "operator": ">", "threshold": 1, "interval": "30s"});
    let pipelines = (0..2).map(|n| object("LogPipeline", &format!("idle-{n}"), &pipeline));
    let rules = (0..OBJECTS - 5).map(|n| object("AlertRule", &format!("idle-{n}"), &rule));
    let dashboards = (0..3).map(|n| object("Dashboard", &format!("idle-{n}"), &json!({"title": "Idle"})));
    pipelines.chain(rules).chain(dashboards).collect()
}

/// Lines of the audit log that the operator caused.
fn audited() -> Vec<Value> {
    let log = fs::read_to_string(format!("{}/audit.log", variable("TAFFRAIL_TEST_CLUSTER"))).unwrap();
    let user = format!("system:serviceaccount:{SYSTEM}:idle-taffrail-operator");
    log.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|event: &Value| event["user"]["username"] == user.as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_with_nothing_to_do_does_nothing() {
    install().await;
    make_namespace(NAMESPACE);
    taffrail_tests::kafka::create_topic("idle", 1).await.unwrap();
    install_release("idle", SYSTEM, &["watchNamespaces={idle}", "crds.install=false"], &json!([]));
    apply(NAMESPACE, &objects()).unwrap();
    assert_eq!(all_ready(NAMESPACE).await, OBJECTS);
    tokio::time::sleep(SETTLES_WITHIN).await;

    let operators = processes(&["/taffrail operator", "--watch-namespace=idle"]);
    let [operator] = operators[..] else { panic!("{operators:?} are the operator") };
    let (begun, before, spent) = (Instant::now(), audited().len(), processor_time(operator).unwrap());
    assert!(before > OBJECTS, "the audit log must show what it did when there was something to do");
    tokio::time::sleep(TIME).await;
    let spent = processor_time(operator).unwrap() - spent;
    let share = spent.as_secs_f64() / begun.elapsed().as_secs_f64();
    let writes: Vec<_> = audited()[before..]
        .iter()
        .map(|event| {
            let object = &event["objectRef"];
            format!("{} {} {}/{}", event["verb"], object["resource"], object["namespace"], object["name"])
        })
        .collect();
    let (renewals, others): (Vec<_>, Vec<_>) = writes.into_iter().partition(|write| write.contains("\"leases\""));
    println!(
        "{OBJECTS} objects, {} s of doing nothing: {} renewals of the Lease, {} other writes, {:.2} % of a core",
        TIME.as_secs(),
        renewals.len(),
        others.len(),
        share * 100.0
    );
    assert_eq!(others, [""; 0]);
    assert!(!renewals.is_empty(), "or else the audit log shows nothing");
    assert!(share < SHARE, "{spent:?} of processor time");
    kubectl(&["delete", "--namespace", NAMESPACE, "lp,ar,dash", "--all"]).unwrap();
}
