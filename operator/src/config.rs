//! What the operator needs in order to run.

use std::time::Duration;

use taffrail_crds::{ByteSize, Receiver};

use crate::webhook::Webhook;

/// What the operator needs in order to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The namespaces whose objects are looked after; none means all.
    pub watch_namespaces: Vec<String>,
    /// The namespace that the operator runs in: its Lease is there, and workers let its pods in.
    pub own_namespace: String,
    /// What tells this process from the operator's other replicas: the pod's name.
    pub identity: String,
    /// The image of all workers.
    pub image: String,
    /// When nodes pull it: `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// Whether ServiceMonitors are made where the cluster knows them.
    pub service_monitors: bool,
    /// The receivers of rules that name none.
    pub receivers: Vec<Receiver>,
    /// The size of the volume that metrics are kept on. It can grow.
    pub metrics_volume_size: ByteSize,
    /// The class of that volume; none means the cluster's default.
    pub metrics_storage_class: Option<String>,
    /// How often workers are asked what they have loaded.
    pub poll_interval: Duration,
    /// The port on which workers tell it; another than 9090 only where a test stands in for them.
    pub worker_port: u16,
    /// How often the operator looks whether the Prometheus Operator has come or gone.
    pub discovery_interval: Duration,
    /// The times of the Lease.
    pub lease: LeaseTimes,
    /// The webhook that refuses what can't work, if there is to be one.
    pub webhook: Option<Webhook>,
}

/// The times of the Lease that the operator's replicas share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// How long a Lease holds that is not renewed.
    pub duration: Duration,
    /// After how long without renewal its holder stops. Well below `duration`.
    pub deadline: Duration,
    /// How often it is renewed, and looked at by others.
    pub retry: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), deadline: Duration::from_secs(10), retry: Duration::from_secs(3) }
    }
}

impl Config {
    /// A configuration with what it can't do without, and defaults for everything else.
    #[must_use]
    pub fn new(own_namespace: &str, identity: &str, image: &str) -> Self {
        Self {
            watch_namespaces: Vec::new(),
            own_namespace: own_namespace.to_owned(),
            identity: identity.to_owned(),
            image: image.to_owned(),
            image_pull_policy: "IfNotPresent".to_owned(),
            service_monitors: true,
            receivers: Vec::new(),
            metrics_volume_size: ByteSize(10 << 30),
            metrics_storage_class: None,
            poll_interval: Duration::from_secs(5),
            worker_port: crate::resources::TELEMETRY_PORT,
            discovery_interval: Duration::from_secs(30),
            lease: LeaseTimes::default(),
            webhook: None,
        }
    }
}
