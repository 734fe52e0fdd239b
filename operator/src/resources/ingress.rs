//! How a Dashboard is reached from outside the cluster.

use serde_json::json;
use taffrail_crds::DashboardIngress;

use super::{Component, Identity, Owner, Rendered, dashboard};
use crate::child::ChildKind;

/// The Ingress of a Dashboard, of the Dashboard's name.
pub(crate) fn ingress(namespace: &str, name: &str, owner: &Owner, ingress: &DashboardIngress) -> Rendered {
    let of = Identity { namespace, component: Component::Dashboard, instance: name };
    let service = json!({"name": Component::Dashboard.shared_name(), "port": {"name": dashboard::HTTP}});
    let path = json!({"path": ingress.path, "pathType": "Prefix", "backend": {"service": service}});
    let mut spec = json!({"rules": [{"host": ingress.host, "http": {"paths": [path]}}]});
    if let Some(class) = &ingress.class_name {
        spec["ingressClassName"] = class.as_str().into();
    }
    if let Some(secret) = &ingress.tls_secret_name {
        spec["tls"] = json!([{"hosts": [ingress.host], "secretName": secret}]);
    }
    Rendered::new(ChildKind::Ingress, name, &of, std::slice::from_ref(owner), json!({"spec": spec}))
}

/// Where a Dashboard is seen: at its host, or else at the Service within the cluster.
pub(crate) fn url(namespace: &str, name: &str, ingress: Option<&DashboardIngress>) -> String {
    let page = format!("#/dashboards/{name}");
    match ingress {
        Some(ingress) => {
            let scheme = if ingress.tls_secret_name.is_some() { "https" } else { "http" };
            format!("{scheme}://{}{}/{page}", ingress.host, ingress.path.trim_end_matches('/'))
        }
        None => {
            let service = Component::Dashboard.shared_name();
            format!("http://{service}.{namespace}.svc:{}/{page}", dashboard::HTTP_PORT)
        }
    }
}
