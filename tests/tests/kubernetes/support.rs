//! What the tests share: the installed chart, and somebody who is told of alerts.

use std::sync::OnceLock;

use serde_json::{Value, json};
use taffrail_tests::kubernetes::{apply, helm, kubectl};
use taffrail_tests::webhook::Webhook;
use taffrail_tests::{checkout, kafka, variable};
use tokio::sync::OnceCell;

/// The namespace of the operator that most tests share, and its release.
pub const SYSTEM: &str = "taffrail-system";
/// Namespaces that it looks after: each test has one to itself.
pub const NAMESPACES: [&str; 5] = ["shop", "rules", "neighbours", "isolated", "observed"];

/// Installs the chart once, after the Prometheus Operator's kinds.
pub async fn install() {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let install = || async {
        let crds = variable("TAFFRAIL_TEST_PROMETHEUS_CRDS");
        kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", &crds]).unwrap();
        NAMESPACES.iter().for_each(|name| make_namespace(name));
        let watched = NAMESPACES.join(",");
        let receivers = json!([{"webhook": {"url": pager().url}}]);
        install_release("taffrail", SYSTEM, &[&format!("watchNamespaces={{{watched}}}")], &receivers);
    };
    INSTALLED.get_or_init(install).await;
}

/// Installs the chart, or changes its values, and waits for the operator.
pub fn install_release(release: &str, namespace: &str, values: &[&str], receivers: &Value) {
    let chart = checkout("charts/taffrail");
    let receivers = format!("receivers={receivers}");
    let mut arguments = vec!["upgrade", "--install", release, chart.to_str().unwrap()];
    arguments.extend(["--namespace", namespace, "--create-namespace", "--wait", "--timeout", "3m"]);
    arguments.extend(["--set-json", &receivers]);
    values.iter().for_each(|value| arguments.extend(["--set", value]));
    helm(&arguments).unwrap();
}

/// A namespace that admits pods of the restricted standard only, and has Kafka and Elasticsearch by their usual names.
pub fn make_namespace(name: &str) {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    apply(name, &[namespace]).unwrap();
    let elasticsearch = variable("TAFFRAIL_TEST_ELASTICSEARCH");
    let servers = [("kafka", 9092, kafka::address()), ("elasticsearch", 9200, elasticsearch.replace("http://", ""))];
    for (service, port, address) in servers {
        let (host, target) = address.split_once(':').unwrap();
        let target: u16 = target.parse().unwrap();
        let ports = json!([{"port": port, "targetPort": target}]);
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
            "ports": [{"name": "", "port": target}], "endpoints": [{"addresses": [host]}],
        });
        let service =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": service}, "spec": {"ports": ports}});
        apply(name, &[service, slice]).unwrap();
    }
}

/// Who is told of alerts.
pub fn pager() -> &'static Webhook {
    static PAGER: OnceLock<Webhook> = OnceLock::new();
    // Kafka's address is the one that pods reach.
    PAGER.get_or_init(|| Webhook::listen(kafka::address().split(':').next().unwrap()).unwrap())
}
