//! What shakes everybody: the operator dies, the control plane goes away, the chart comes and goes. One by one, and with an
//! operator that looks after all namespaces.

mod chart;
mod control_plane;
mod deletion;
mod webhook;

use serde_json::{Value, json};
use taffrail_tests::kubernetes::{KINDS, all_ready, apply, object, pods};

use crate::support::{SYSTEM, install, install_release, make_namespace};

/// The chart with its defaults, but for some values.
async fn install_everywhere(values: &[&str]) {
    install().await;
    install_release("taffrail", SYSTEM, values, &json!([]));
}

/// One object of each kind, whose names end alike.
fn one_of_each(suffix: &str) -> Vec<Value> {
    let pipeline = json!({
        "source": {"demo": {"rate": 5}}, "metrics": [{"name": "log_count", "type": "counter"}],
        "sink": {"elasticsearch": {"urls": ["http://elasticsearch:9200"], "index": "disrupted"}},
    });
    let rule = json!({"query": "rate log_count", "operator": ">", "threshold": 1_000_000});
    vec![
        object("LogPipeline", &format!("demo-{suffix}"), &pipeline),
        object("AlertRule", &format!("many-{suffix}"), &rule),
        object("Dashboard", &format!("shop-{suffix}"), &json!({"ingress": {"host": format!("{suffix}.example.com")}})),
    ]
}

/// A namespace in which one object of each kind is ready; gives its pods.
async fn populate(namespace: &str) -> Vec<String> {
    make_namespace(namespace);
    apply(namespace, &one_of_each("first")).unwrap();
    assert_eq!(all_ready(namespace).await, KINDS.len());
    pods(namespace).unwrap()
}
