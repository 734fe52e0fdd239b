//! The ServiceMonitor by which the Prometheus Operator finds a namespace's workers.

use serde_json::json;

use super::{Component, Identity, MANAGED_BY, MANAGER, Owner, Rendered, SHARED, pod};
use crate::child::ChildKind;

/// One monitor for all workers of a namespace.
pub(crate) fn service_monitor(namespace: &str, owners: &[Owner]) -> Rendered {
    let of = Identity { namespace, component: Component::Metrics, instance: SHARED };
    let spec = json!({"spec": {
        "selector": {"matchLabels": {"app.kubernetes.io/name": "taffrail", MANAGED_BY: MANAGER}},
        "targetLabels": ["app.kubernetes.io/component", "app.kubernetes.io/instance"],
        "endpoints": [{"port": pod::TELEMETRY, "path": "/metrics"}],
    }});
    Rendered::new(ChildKind::ServiceMonitor, SHARED, &of, owners, spec)
}
