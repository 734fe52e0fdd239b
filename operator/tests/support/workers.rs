//! Stand-ins for what runs on nodes: the kubelet, and the workers' status endpoint.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Says of every pod that it runs and is ready, as a kubelet would, whatever the scheduler says, which has no node; and
/// lets those go that are deleted.
pub(super) async fn kubelet(pods: Api<Pod>) {
    let now = jiff::Timestamp::now().to_string();
    let status = json!({"status": {
        "phase": "Running",
        "podIP": "127.0.0.1",
        "podIPs": [{"ip": "127.0.0.1"}],
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": now, "lastProbeTime": null},
            {"type": "Ready", "status": "True", "lastTransitionTime": now, "lastProbeTime": null},
        ],
    }});
    loop {
        for pod in pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            let name = pod.metadata.name.unwrap_or_default();
            if pod.metadata.deletion_timestamp.is_some() {
                let _ = pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
            } else if !is_said_to_run(&pod.status.unwrap_or_default()) {
                let _ = pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn is_said_to_run(status: &PodStatus) -> bool {
    let is_not_scheduled = |condition: &PodCondition| condition.type_ == "PodScheduled" && condition.status == "False";
    status.pod_ip.is_some() && !status.conditions.iter().flatten().any(is_not_scheduled)
}

/// The status endpoint of all workers of a test.
pub struct Workers {
    pub port: u16,
    objects: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Workers {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let objects = Arc::new(Mutex::new(Vec::new()));
        let shown: Arc<Mutex<Vec<Value>>> = objects.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let body = json!({"objects": *shown.lock()}).to_string();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Self { port, objects, task }
    }

    /// What the workers say from now on: kind, namespace, name, generation and status of each object.
    pub fn say(&self, objects: Vec<Value>) {
        *self.objects.lock() = objects;
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a worker says of a pipeline.
pub fn pipeline_report(
    namespace: &str,
    name: &str,
    generation: i64,
    is_ready: bool,
    reason: &str,
    indexed: u64,
) -> Value {
    let ready = json!({
        "type": "Ready", "status": if is_ready { "True" } else { "False" }, "reason": reason, "message": "so it is",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    json!({
        "kind": "LogPipeline", "namespace": namespace, "name": name, "generation": generation,
        "status": {
            "conditions": [ready], "observedGeneration": generation, "replicas": 1, "lag": 5,
            "consumed": indexed, "indexed": indexed, "deduplicated": 0, "deadLettered": 0, "filtered": 0,
            "watermark": "2026-01-01T00:00:00Z",
        },
    })
}
