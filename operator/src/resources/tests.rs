//! Snapshots of everything that is rendered, from objects as users write them.

use rstest::rstest;
use serde::de::DeserializeOwned;
use taffrail_crds::{Dashboard, LogPipeline, Receiver};

use super::*;
use crate::config::Config;

fn config() -> Config {
    Config::new("taffrail-system", "operator-1", "ghcr.io/taffrail/taffrail:1.0.0")
}

fn owner(kind: &'static str, name: &str) -> Owner {
    let api_version = "taffrail.dev/v1alpha1".to_owned();
    Owner { api_version, kind, name: name.to_owned(), uid: format!("uid-of-{name}") }
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_yaml::from_str(text).expect("an object")
}

/// One document per object, with keys in order whatever `serde_json` was built to do.
fn yaml(rendered: &[Rendered]) -> String {
    let document = |object: &Rendered| serde_yaml::to_string(&sorted(&object.body)).expect("YAML");
    rendered.iter().map(document).collect::<Vec<_>>().join("---\n")
}

fn sorted(value: &Value) -> serde_yaml::Value {
    match value {
        Value::Object(map) => {
            let ordered: std::collections::BTreeMap<_, _> =
                map.iter().map(|(key, value)| (key, sorted(value))).collect();
            serde_yaml::to_value(ordered).expect("YAML")
        }
        Value::Array(items) => serde_yaml::Value::Sequence(items.iter().map(sorted).collect()),
        scalar => serde_yaml::to_value(scalar).expect("YAML"),
    }
}

const PLAIN: &str = "
metadata: {name: logs, namespace: shop, generation: 3}
spec:
  source: {kafka: {brokers: ['kafka:9092'], topic: logs}}
  sink: {elasticsearch: {urls: ['http://elasticsearch:9200']}}
";

const SECRETS: &str = "
metadata: {name: logs, namespace: shop, generation: 1}
spec:
  source:
    kafka:
      brokers: ['kafka:9093']
      topic: logs
      tls: {caSecretName: kafka-ca, certSecretName: kafka-cert}
      sasl: {mechanism: SCRAM-SHA-512, secretName: kafka-user}
  metrics: [{name: error_count, type: counter, match: {level: error}}]
  sink: {elasticsearch: {urls: ['https://elasticsearch:9200'], auth: {secretName: es}, tls: {caSecretName: es-ca}}}
  replicas: 3
";

const HTTP: &str = "
metadata: {name: web, namespace: shop, generation: 1}
spec:
  source: {http: {port: 8081}}
  sink: {elasticsearch: {urls: ['http://elasticsearch:9200']}}
  replicas: 2
";

const TEMPLATE: &str = "
metadata: {name: logs, namespace: shop, generation: 7}
spec:
  source: {kafka: {brokers: ['kafka:9092'], topic: logs}}
  sink: {elasticsearch: {urls: ['http://elasticsearch:9200']}}
  autoscaling: {maxReplicas: 10}
  template:
    metadata:
      labels: {team: shop, app.kubernetes.io/instance: hijacked}
      annotations: {sidecar.istio.io/inject: 'false'}
    spec:
      priorityClassName: high
      nodeSelector: {disk: ssd}
      containers:
        - name: ingestion
          env: [{name: LOG_LEVEL, value: debug}]
          resources: {limits: {memory: 1Gi}}
        - {name: sidecar, image: 'sidecar:1'}
";

#[rstest]
#[case::plain("plain", PLAIN)]
#[case::secrets("secrets", SECRETS)]
#[case::http("http", HTTP)]
#[case::template("template", TEMPLATE)]
fn ingestion(#[case] name: &str, #[case] object: &str) {
    let pipeline: LogPipeline = read(object);
    let names: Vec<_> = pipeline.spec.secret_names().into_iter().collect();
    let config = config();
    let around = crate::resources::ingestion::Surroundings { config: &config, secrets: &names, secrets_hash: "hash" };
    let owner = owner("LogPipeline", pipeline.metadata.name.as_deref().expect("a name"));
    let (rendered, _) = crate::resources::ingestion::render(&pipeline, "shop", &owner, &around).expect("fits");
    insta::assert_snapshot!(format!("ingestion_{name}"), yaml(&rendered));
}

#[test]
fn metrics() {
    let mut config = config();
    config.metrics_storage_class = Some("fast".to_owned());
    let owners = [owner("LogPipeline", "logs"), owner("AlertRule", "errors")];
    let mut rendered = crate::resources::metrics::roots("shop", &owners, &config);
    rendered.extend(crate::resources::metrics::attachments("shop", &owner("StatefulSet", "taffrail-metrics"), &config));
    insta::assert_snapshot!(yaml(&rendered));
}

#[test]
fn rules() {
    let mut config = config();
    let receiver: Receiver = read("slack: {secretName: slack}");
    config.receivers = vec![receiver];
    let mut rendered = crate::resources::rules::roots("shop", &[owner("AlertRule", "errors")], &config);
    let secrets = ["pager".to_owned(), "slack".to_owned()];
    let root = owner("Deployment", "taffrail-rules");
    rendered.extend(crate::resources::rules::attachments("shop", &root, &secrets, &config, true));
    insta::assert_snapshot!(yaml(&rendered));
}

#[test]
fn rules_without_receivers() {
    let config = config();
    let mut rendered = crate::resources::rules::roots("shop", &[owner("AlertRule", "errors")], &config);
    rendered.extend(crate::resources::rules::attachments(
        "shop",
        &owner("Deployment", "taffrail-rules"),
        &[],
        &config,
        false,
    ));
    insta::assert_snapshot!(yaml(&rendered));
}

#[test]
fn dashboard() {
    let config = config();
    let secrets = ["es".to_owned(), "taffrail-dashboard".to_owned()];
    let owners = [owner("Dashboard", "shop")];
    let mut rendered = vec![crate::resources::dashboard::key_secret("shop", &owners)];
    rendered.extend(crate::resources::dashboard::roots("shop", &owners, &secrets, "hash", &config));
    rendered.extend(crate::resources::dashboard::attachments(
        "shop",
        &owner("Deployment", "taffrail-dashboard"),
        &config,
    ));
    insta::assert_snapshot!(yaml(&rendered));
}

#[rstest]
#[case::host("host", "{host: shop.example.com}", "http://shop.example.com/#/dashboards/shop")]
#[case::all(
    "all",
    "{host: shop.example.com, className: nginx, tlsSecretName: shop-tls, path: /board/}",
    "https://shop.example.com/board/#/dashboards/shop"
)]
fn ingress(#[case] name: &str, #[case] spec: &str, #[case] url: &str) {
    let text = format!("metadata: {{name: shop, namespace: shop}}\nspec: {{ingress: {spec}}}");
    let dashboard: Dashboard = read(&text);
    let ingress = dashboard.spec.ingress.as_ref().expect("an ingress");
    let rendered = crate::resources::ingress::ingress("shop", "shop", &owner("Dashboard", "shop"), ingress);
    insta::assert_snapshot!(format!("ingress_{name}"), yaml(&[rendered]));
    assert_eq!(crate::resources::ingress::url("shop", "shop", Some(ingress)), url);
}

#[test]
fn a_dashboard_without_an_ingress_is_seen_at_the_service() {
    let url = crate::resources::ingress::url("shop", "shop", None);
    assert_eq!(url, "http://taffrail-dashboard.shop.svc:8080/#/dashboards/shop");
}

#[test]
fn service_monitor() {
    let owners = [owner("LogPipeline", "logs"), owner("Dashboard", "shop")];
    insta::assert_snapshot!(yaml(&[crate::resources::monitor::service_monitor("shop", &owners)]));
}

#[test]
fn scaling_and_looks_start_no_worker_anew() {
    let hash = |text: &str| {
        let pipeline: LogPipeline = read(text);
        let config = config();
        let around = crate::resources::ingestion::Surroundings { config: &config, secrets: &[], secrets_hash: "hash" };
        let (_, hash) = crate::resources::ingestion::render(&pipeline, "shop", &owner("LogPipeline", "logs"), &around)
            .expect("fits");
        hash
    };
    assert_eq!(hash(PLAIN), hash(TEMPLATE));
    assert_eq!(hash(PLAIN), hash(&format!("{PLAIN}  replicas: 5\n")));
    assert_ne!(hash(PLAIN), hash(&format!("{PLAIN}  format: text\n")));
}

#[test]
fn an_object_names_no_more_owners_than_it_has_room_for() {
    let owners: Vec<_> = (0..MOST_OWNERS + 10).map(|index| owner("AlertRule", &format!("rule-{index:05}"))).collect();
    let rendered = crate::resources::rules::roots("shop", &owners, &config());
    let named = rendered[0].body["metadata"]["ownerReferences"].as_array().expect("a list");
    assert_eq!(named.len(), MOST_OWNERS);
    assert!(rendered[0].body.to_string().len() < 500_000);
}
