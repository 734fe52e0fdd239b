//! Every version that `cargo xtask` installs or asks for, in one place.

/// Apache Kafka (`org.apache.kafka:kafka_2.13` on Maven Central).
pub const KAFKA: &str = "4.3.1";
/// Elasticsearch (`org.elasticsearch:elasticsearch` on Maven Central). Used by tests only: Taffrail links none of it.
pub const ELASTICSEARCH: &str = "9.5.3";
/// OpenSearch (`org.opensearch:opensearch` on Maven Central), with its security plugin.
pub const OPENSEARCH: &str = "3.4.0";
/// The Maven plugin that copies the servers' jars.
pub const MAVEN_DEPENDENCY_PLUGIN: &str = "3.8.1";
/// cargo-deny: licences, bans, sources and advisories of our dependencies.
pub const CARGO_DENY: &str = "0.20.2";
/// The oldest JDK that runs all servers (Elasticsearch decides).
pub const JDK: u32 = 21;
/// The oldest Node.js that the web page's build tools run on.
pub const NODE: u32 = 18;
/// Kubernetes (`k8s.io/kubernetes`), every part of it.
pub const KUBERNETES: &str = "v1.34.4";
/// etcd (`go.etcd.io/etcd/server/v3`), where Kubernetes keeps its objects.
pub const ETCD: &str = "v3.6.16";
/// CoreDNS (`github.com/coredns/coredns`), the cluster's name server.
pub const COREDNS: &str = "v1.15.0";
/// Helm (`helm.sh/helm/v3`).
pub const HELM: &str = "v3.22.0";
/// kubeconform (`github.com/yannh/kubeconform`).
pub const KUBECONFORM: &str = "v0.8.0";
/// The interpreter of Starlark (`go.starlark.net`).
pub const STARLARK: &str = "v0.0.0-20260908191801-89a6a09411d5";
/// Prometheus 3 (`github.com/prometheus/prometheus`), whose modules are numbered otherwise: this is 3.16.
pub const PROMETHEUS: &str = "v0.316.0";
/// The Prometheus Operator (`github.com/prometheus-operator/prometheus-operator`).
pub const PROMETHEUS_OPERATOR: &str = "v0.85.0";
/// telegraf (`github.com/influxdata/telegraf`), which moves logs from Kafka into Elasticsearch, too.
pub const TELEGRAF: &str = "v1.37.2";
/// The oldest Go (1.x) that fetches the newer one which the above ask for.
pub const GO_MINOR: u32 = 21;
