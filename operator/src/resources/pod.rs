//! What all pods share: probes, resources, a security context that the restricted Pod Security standard admits, spread
//! and volumes.

use serde_json::{Value, json};

use super::{CONTENT_HASH, Component, Identity, TELEMETRY_PORT};
use crate::config::Config;
use crate::hash;

/// The name of the port of health, telemetry and status.
pub(crate) const TELEMETRY: &str = "telemetry";
/// Where configuration is mounted.
pub(crate) const CONFIG_DIR: &str = "/etc/taffrail";
/// Where each Secret has a folder of its name, with a file per key.
pub(crate) const SECRETS_DIR: &str = "/etc/taffrail/secrets";
/// Where a worker writes.
pub(crate) const DATA_DIR: &str = "/var/lib/taffrail";
/// How long a pod has to stop. Workers drain for seconds; what is left is for slow stores and busy nodes.
const GRACE_SECONDS: u32 = 60;
/// A user and group without a name or a right.
const NOBODY: u32 = 65_532;

/// How a worker's pods differ from others'.
pub(crate) struct Worker<'a> {
    pub(crate) of: Identity<'a>,
    pub(crate) args: Vec<String>,
    /// Ports beside the telemetry port.
    pub(crate) ports: Vec<(&'static str, u16)>,
    /// The account whose token is mounted; none for workers that have no business with the API server.
    pub(crate) account: Option<String>,
    /// The ConfigMap that is mounted at [`CONFIG_DIR`].
    pub(crate) config_map: Option<String>,
    /// The Secrets that are mounted below [`SECRETS_DIR`].
    pub(crate) secrets: &'a [String],
    /// The claim for the data; without one they go with the pod.
    pub(crate) claim: Option<String>,
    /// What pods are started anew for.
    pub(crate) content_hash: String,
}

impl Worker<'_> {
    /// The pod template.
    pub(crate) fn template(&self, config: &Config) -> Value {
        let (volumes, mounts) = self.volumes();
        let probe = |path: &str| json!({"path": path, "port": TELEMETRY, "scheme": "HTTP"});
        let mut ports = vec![json!({"name": TELEMETRY, "containerPort": TELEMETRY_PORT, "protocol": "TCP"})];
        let port = |(name, port): &(&str, u16)| json!({"name": name, "containerPort": port, "protocol": "TCP"});
        ports.extend(self.ports.iter().map(port));
        let spread = |key: &str| {
            json!({
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": self.of.selector()},
            })
        };
        let mut spec = json!({
            "automountServiceAccountToken": self.account.is_some(),
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": NOBODY,
                "runAsGroup": NOBODY,
                "fsGroup": NOBODY,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "topologySpreadConstraints": [spread("kubernetes.io/hostname"), spread("topology.kubernetes.io/zone")],
            "containers": [{
                "name": self.of.component.name(),
                "image": config.image,
                "imagePullPolicy": config.image_pull_policy,
                "args": self.args,
                "ports": ports,
                "resources": resources(self.of.component),
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "privileged": false,
                    "readOnlyRootFilesystem": true,
                    "runAsNonRoot": true,
                    "capabilities": {"drop": ["ALL"]},
                },
                // Opening a large store may take a while: until then nobody asks whether the worker lives.
                "startupProbe": {"httpGet": probe("/healthz"), "periodSeconds": 2, "failureThreshold": 150},
                "livenessProbe": {"httpGet": probe("/healthz"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
                "readinessProbe": {"httpGet": probe("/readyz"), "periodSeconds": 2, "timeoutSeconds": 5},
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        });
        if let Some(account) = &self.account {
            spec["serviceAccountName"] = account.as_str().into();
        }
        json!({
            "metadata": {"labels": self.of.labels(), "annotations": {CONTENT_HASH: self.content_hash}},
            "spec": spec,
        })
    }

    fn volumes(&self) -> (Vec<Value>, Vec<Value>) {
        let data = match &self.claim {
            Some(claim) => json!({"name": "data", "persistentVolumeClaim": {"claimName": claim}}),
            None => json!({"name": "data", "emptyDir": {}}),
        };
        let mut volumes = vec![data];
        let mut mounts = vec![json!({"name": "data", "mountPath": DATA_DIR})];
        if let Some(name) = &self.config_map {
            volumes.push(json!({"name": "config", "configMap": {"name": name}}));
            mounts.push(json!({"name": "config", "mountPath": CONFIG_DIR, "readOnly": true}));
        }
        for secret in self.secrets {
            // A Secret's name may be longer than a volume's.
            let volume = format!("secret-{}", &hash::of_parts([secret.as_bytes()])[..12]);
            // A worker whose Secret is not there yet says so itself, and goes on with what does not need it.
            volumes.push(json!({"name": volume, "secret": {"secretName": secret, "optional": true}}));
            mounts.push(json!({"name": volume, "mountPath": format!("{SECRETS_DIR}/{secret}"), "readOnly": true}));
        }
        (volumes, mounts)
    }
}

/// Requests that a small team's load fits in, and limits that keep a runaway from harming others. No limit on CPU: it
/// would slow workers down on idle nodes.
fn resources(component: Component) -> Value {
    let (cpu, memory, most) = match component {
        Component::Ingestion => ("100m", "128Mi", "512Mi"),
        Component::Metrics => ("100m", "256Mi", "2Gi"),
        Component::Rules => ("50m", "64Mi", "512Mi"),
        Component::Dashboard => ("50m", "64Mi", "512Mi"),
    };
    json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": most}})
}
