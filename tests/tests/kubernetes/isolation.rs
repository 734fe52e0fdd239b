//! A namespace is a tenant: who may read what.

use serde_json::json;
use taffrail_tests::kubernetes::{KINDS, all_ready, apply, kubectl, kubectl_command, list, object};

use crate::support::{SYSTEM, install};

const NAMESPACE: &str = "isolated";
/// One that the operator does not look after.
const ELSEWHERE: &str = "default";
/// Whether an account may do something: `kubectl auth can-i` says so, and by its status, too.
fn can(account: &str, verb: &str, resource: &str, namespace: &str) -> bool {
    let account = format!("--as=system:serviceaccount:{account}");
    let mut kubectl = kubectl_command(&["auth", "can-i", verb, resource, "--namespace", namespace, &account]);
    let output = kubectl.output().unwrap();
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => true,
        "no" => false,
        other => panic!("kubectl said {other:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// What an account may in a namespace, beyond what every account may: look at its own rights and at the server's.
fn rights(account: &str, namespace: &str) -> Vec<String> {
    let account = format!("--as=system:serviceaccount:{account}");
    let table = kubectl(&["auth", "can-i", "--list", "--no-headers", "--namespace", namespace, &account]).unwrap();
    let everybodys = |line: &&str| line.starts_with(' ') || line.starts_with("selfsubject");
    table.lines().filter(|line| !everybodys(line)).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_another_namespace_and_ingestion_holds_no_token() {
    install().await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pager"}, "stringData": {"key": "signs"},
    });
    let pipeline = json!({"source": {"demo": {"rate": 1}}, "sink": {"elasticsearch": {
        "urls": ["http://elasticsearch:9200"], "index": "isolated",
    }}});
    let rule = json!({
        "query": "rate error_count", "operator": ">", "threshold": 1, "notify": [{"webhook": {"url": "http://pager", "secretName": "pager"}}],
    });
    let objects = [
        secret,
        object("LogPipeline", "demo", &pipeline),
        object("AlertRule", "errors", &rule),
        object("Dashboard", "shop", &json!({"title": "Shop"})),
    ];
    apply(NAMESPACE, &objects).unwrap();
    assert_eq!(all_ready(NAMESPACE).await, KINDS.len());

    let operator = format!("{SYSTEM}:taffrail-operator");
    assert!(can(&operator, "list", "secrets", NAMESPACE), "or else this test shows nothing");
    assert_eq!(rights(&operator, ELSEWHERE), [""; 0]);
    assert_eq!(rights(&operator, "kube-system"), [""; 0]);
    for worker in ["taffrail-rules", "taffrail-dashboard"] {
        let account = format!("{NAMESPACE}:{worker}");
        assert_ne!(rights(&account, NAMESPACE), [""; 0], "or else this test shows nothing");
        for elsewhere in ["shop", ELSEWHERE, SYSTEM] {
            assert_eq!(rights(&account, elsewhere), [""; 0], "{worker} in {elsewhere}");
        }
        assert!(!can(&account, "list", "secrets", NAMESPACE), "{worker}");
        assert!(!can(&account, "get", "secrets/taffrail-dashboard", NAMESPACE), "{worker}");
    }
    assert!(can(&format!("{NAMESPACE}:taffrail-rules"), "get", "secrets/pager", NAMESPACE));

    for component in ["ingestion", "metrics"] {
        let pods = list(NAMESPACE, "pods", &format!("app.kubernetes.io/component={component}")).unwrap();
        assert_eq!(pods.len(), 1);
        assert_eq!(pods[0]["spec"]["automountServiceAccountToken"], false);
        let volumes = pods[0]["spec"]["volumes"].as_array().unwrap();
        assert!(volumes.iter().all(|volume| volume["projected"].is_null()), "{component}: {volumes:#?}");
    }
    kubectl(&["delete", "--namespace", NAMESPACE, &KINDS.join(","), "--all"]).unwrap();
}
