//! The webhook that refuses what can't work, asked by a real API server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use prometheus_client::registry::Registry;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use taffrail_crds::Object;
use taffrail_operator::{Config, Findings, Lives, Operator, OperatorMetrics, WEBHOOK_PATH, Webhook, serve_webhook};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Scratch, TAFFRAIL, client_of, start, until};

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const SECRET: &str = "taffrail-operator-webhook";
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Objects in one namespace, and an operator in another, with the rights that the chart gives it.
struct Stage {
    shop: Scratch,
    home: Scratch,
    operator: Client,
    address: SocketAddr,
}

impl Stage {
    async fn new() -> Self {
        let (shop, home) = (Scratch::new("webhook").await, Scratch::new("webhook-home").await);
        let user = format!("operator-of-{}", shop.namespace);
        let stage = Self {
            operator: client_of(&user).await,
            address: TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap(),
            shop,
            home,
        };
        stage.grant(&user).await;
        stage
    }

    /// All rights where the objects are. At home those on the Lease and on one Secret, and elsewhere on one configuration.
    async fn grant(&self, user: &str) {
        let params = PatchParams::apply("test").force();
        let subjects = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]);
        let refer =
            |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
        let binding = json!({"apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": "operator"},
            "roleRef": refer("ClusterRole", "cluster-admin"), "subjects": subjects});
        self.shop.api(RBAC, "RoleBinding").patch("operator", &params, &Patch::Apply(&binding)).await.unwrap();
        let role = json!({"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "operator"}, "rules": [
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET],
             "verbs": ["get", "list", "watch", "create", "patch"]},
        ]});
        self.home.api(RBAC, "Role").patch("operator", &params, &Patch::Apply(&role)).await.unwrap();
        let binding = json!({"apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": "operator"},
            "roleRef": refer("Role", "operator"), "subjects": subjects});
        self.home.api(RBAC, "RoleBinding").patch("operator", &params, &Patch::Apply(&binding)).await.unwrap();
        let name = self.name();
        let role = json!({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": name}, "rules": [
            {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"],
             "resourceNames": [name], "verbs": ["get", "patch"]},
        ]});
        let roles: Api<ClusterRole> = Api::all(self.shop.client.clone());
        roles.patch(&name, &params, &Patch::Apply(&role)).await.unwrap();
        let binding = json!({"apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": refer("ClusterRole", &name), "subjects": subjects});
        let bindings: Api<ClusterRoleBinding> = Api::all(self.shop.client.clone());
        bindings.patch(&name, &params, &Patch::Apply(&binding)).await.unwrap();
    }

    /// The name of everything that belongs to no namespace.
    fn name(&self) -> String {
        format!("taffrail-operator.{}", self.home.namespace)
    }

    fn configurations(&self) -> Api<ValidatingWebhookConfiguration> {
        Api::all(self.shop.client.clone())
    }

    /// Applies what the chart renders, but for the address: there is no Service here.
    async fn configure(&self) {
        let rule = json!({
            "apiGroups": ["taffrail.dev"], "apiVersions": ["v1alpha1"], "operations": ["CREATE", "UPDATE"],
            "resources": ["logpipelines", "alertrules", "dashboards"], "scope": "Namespaced",
        });
        let selector = json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": [self.shop.namespace]});
        let body = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.name()},
            "webhooks": [{
                "name": "check.taffrail.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "failurePolicy": "Ignore", "timeoutSeconds": 5, "rules": [rule],
                "clientConfig": {"url": format!("https://{}{WEBHOOK_PATH}", self.address)},
                "namespaceSelector": {"matchExpressions": [selector]},
            }],
        });
        let params = PatchParams::apply("helm").force();
        self.configurations().patch(&self.name(), &params, &Patch::Apply(&body)).await.unwrap();
    }

    fn config(&self, life: Duration) -> Config {
        let mut config = self.shop.config("operator-1");
        config.own_namespace = self.home.namespace.clone();
        config.webhook = Some(Webhook {
            names: vec!["127.0.0.1".to_owned()],
            lives: Lives { authority: life, certificate: life },
            interval: Duration::from_secs(1),
            ..Webhook::behind("taffrail-operator", &self.home.namespace)
        });
        config
    }

    async fn lead(&self, life: Duration) -> Operator {
        start(self.config(life), self.operator.clone())
    }

    async fn serve(&self) -> Server {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let stop = CancellationToken::new();
        let check = Arc::new(|object: &Object| {
            let Object::AlertRule(rule) = object else { return Findings::default() };
            let nonsense = rule.spec.query.as_ref().filter(|query| query.starts_with("nonsense"));
            let problems = nonsense.map(|query| format!("spec.query: `{query}` is no query")).into_iter().collect();
            Findings { problems, ..Findings::default() }
        });
        let metrics = OperatorMetrics::new(&mut Registry::default());
        let serving = serve_webhook(listener, self.operator.clone(), self.config(HOUR), check, metrics, stop.clone());
        Server { stop, task: tokio::spawn(serving) }
    }

    /// What the API server says to an object, which it does not keep.
    async fn try_out(&self, kind: &str, spec: Value) -> Result<(), String> {
        let object = json!({"apiVersion": TAFFRAIL, "kind": kind, "metadata": {"name": "tried"}, "spec": spec});
        let params = PatchParams { dry_run: true, ..PatchParams::apply("user").force() };
        match self.shop.api(TAFFRAIL, kind).patch("tried", &params, &Patch::Apply(&object)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(format!("{}: {}", status.code, status.message)),
            Err(error) => panic!("{error}"),
        }
    }

    async fn is_refused(&self) -> bool {
        self.try_out("AlertRule", rule("nonsense")).await.is_err()
    }

    async fn secret(&self) -> Option<Secret> {
        Api::namespaced(self.home.client.clone(), &self.home.namespace).get_opt(SECRET).await.unwrap()
    }

    async fn value(&self, key: &str) -> String {
        let data = self.secret().await.and_then(|secret| secret.data).unwrap_or_default();
        data.get(key).map(|value| String::from_utf8(value.0.clone()).unwrap()).unwrap_or_default()
    }

    /// The certificate that is served to those who trust the authorities in the Secret.
    async fn served(&self) -> Option<CertificateDer<'static>> {
        let mut roots = rustls::RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(self.value("ca.crt").await.as_bytes()) {
            roots.add(authority.unwrap()).unwrap();
        }
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::from(self.address.ip());
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        Some(stream.get_ref().1.peer_certificates()?.first()?.clone().into_owned())
    }

    async fn end(self) {
        let (name, params) = (self.name(), DeleteParams::default());
        self.configurations().delete(&name, &params).await.unwrap();
        Api::<ClusterRoleBinding>::all(self.shop.client.clone()).delete(&name, &params).await.unwrap();
        Api::<ClusterRole>::all(self.shop.client.clone()).delete(&name, &params).await.unwrap();
    }
}

struct Server {
    stop: CancellationToken,
    task: JoinHandle<Result<(), rustls::Error>>,
}

impl Server {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn rule(query: &str) -> Value {
    json!({"query": query, "operator": ">", "threshold": 1})
}

#[tokio::test]
async fn what_can_not_work_is_refused_while_the_webhook_is_there() {
    let stage = Stage::new().await;
    stage.shop.apply("AlertRule", "before", &rule("nonsense").to_string()).await;
    stage.configure().await;
    let operator = stage.lead(HOUR).await;
    let server = stage.serve().await;
    until("nonsense is refused", || stage.is_refused()).await;

    let refused = stage.try_out("AlertRule", rule("nonsense of all kinds")).await.unwrap_err();
    let expected = "422: admission webhook \"check.taffrail.dev\" denied the request: \
                    spec.query: `nonsense of all kinds` is no query";
    assert_eq!(refused, expected);
    let stdin = json!({"source": {"stdin": {}}, "sink": {"elasticsearch": {"urls": ["http://es:9200"]}}});
    let refused = stage.try_out("LogPipeline", stdin).await.unwrap_err();
    assert!(refused.contains("a pod has no standard input"), "{refused}");
    assert_eq!(stage.try_out("AlertRule", rule("rate errors")).await, Ok(()));
    assert_eq!(stage.try_out("Dashboard", json!({"title": "Shop"})).await, Ok(()));

    // What was there before can be labelled, told its status and deleted, but not be edited to something as bad.
    stage.shop.meddle(TAFFRAIL, "AlertRule", "before", json!({"metadata": {"labels": {"team": "shop"}}})).await;
    stage.shop.wait_for(TAFFRAIL, "AlertRule", "before", |it| it["status"]["conditions"].is_array()).await;
    let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
    let worse = Patch::Merge(json!({"spec": {"query": "nonsense again"}}));
    assert!(stage.shop.api(TAFFRAIL, "AlertRule").patch("before", &params, &worse).await.is_err());
    stage.shop.delete(TAFFRAIL, "AlertRule", "before").await;
    stage.shop.wait_until_gone(TAFFRAIL, "AlertRule", "before").await;

    // Nobody is kept waiting for a webhook that is away.
    server.stop().await;
    let began = Instant::now();
    assert_eq!(stage.try_out("AlertRule", rule("nonsense")).await, Ok(()));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let server = stage.serve().await;
    until("nonsense is refused again", || stage.is_refused()).await;
    server.stop().await;
    operator.stop().await;
    stage.end().await;
}

#[tokio::test]
async fn certificates_are_renewed_without_a_gap() {
    let stage = Stage::new().await;
    stage.configure().await;
    let operator = stage.lead(HOUR).await;
    let server = stage.serve().await;
    until("nonsense is refused", || stage.is_refused()).await;
    let (authorities, certificate) = (stage.value("ca.crt").await, stage.value("tls.crt").await);
    // Whoever writes the configuration anew, as the chart does, leaves what is trusted alone.
    stage.configure().await;
    assert!(stage.is_refused().await);
    operator.stop().await;

    // To an operator that makes certificates for longer, these have not long to live.
    let operator = stage.lead(10 * HOUR).await;
    let began = Instant::now();
    loop {
        assert!(stage.is_refused().await, "there was a gap");
        assert!(began.elapsed() < Duration::from_secs(120), "nothing was renewed");
        let now = stage.value("ca.crt").await;
        if now != authorities && stage.value("tls.crt").await != certificate {
            assert!(now.ends_with(&authorities), "the authority before is trusted no more");
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let renewed = CertificateDer::from_pem_slice(stage.value("tls.crt").await.as_bytes()).unwrap();
    until("the new certificate is served", || async { stage.served().await.as_ref() == Some(&renewed) }).await;
    // The API server may have kept its connection: to one that starts anew it makes a new one.
    server.stop().await;
    let server = stage.serve().await;
    until("the new certificate is served", || async { stage.served().await.as_ref() == Some(&renewed) }).await;
    assert!(stage.is_refused().await);

    // What is spoilt by hand, or lost, comes back.
    let patch = Patch::Merge(json!({"data": {"ca.crt": null}}));
    let secrets: Api<Secret> = Api::namespaced(stage.home.client.clone(), &stage.home.namespace);
    secrets.patch(SECRET, &PatchParams::default(), &patch).await.unwrap();
    until("there is another authority", || async { stage.value("ca.crt").await.contains("BEGIN") }).await;
    until("nonsense is refused", || stage.is_refused()).await;
    secrets.delete(SECRET, &DeleteParams::default()).await.unwrap();
    until("there is another secret", || async { stage.secret().await.is_some() }).await;
    until("nonsense is refused", || stage.is_refused()).await;

    // And all is left alone then.
    let version = stage.secret().await.unwrap().metadata.resource_version;
    let configured = stage.configurations().get(&stage.name()).await.unwrap().metadata.resource_version;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(stage.secret().await.unwrap().metadata.resource_version, version);
    assert_eq!(stage.configurations().get(&stage.name()).await.unwrap().metadata.resource_version, configured);
    server.stop().await;
    operator.stop().await;
    stage.end().await;
}
