//! The rights that the chart gives to an operator whose namespaces are named.

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Scratch, client_of};

pub const RBAC: &str = "rbac.authorization.k8s.io/v1";

const HELPERS: &str = include_str!("../../../charts/taffrail/templates/_helpers.tpl");
const RBAC_TEMPLATE: &str = include_str!("../../../charts/taffrail/templates/rbac.yaml");

/// What an operator may in a namespace that it looks after, and what about its Lease, as the chart's templates say.
pub fn of_the_chart() -> Vec<Value> {
    let (_, rules) = HELPERS.split_once("{{- define \"taffrail.rules\" -}}\n").unwrap();
    let (rules, _) = rules.split_once("{{- end }}").unwrap();
    let (_, lease) = RBAC_TEMPLATE.split_once("\nrules:\n").unwrap();
    let (lease, _) = lease.split_once("---").unwrap();
    let mut all: Vec<Value> = serde_yaml::from_str(rules).unwrap();
    all.extend(serde_yaml::from_str::<Vec<Value>>(lease).unwrap());
    all
}

/// The account of the operator of a test's namespace.
pub fn account(scratch: &Scratch) -> String {
    format!("system:serviceaccount:{}:operator", scratch.namespace)
}

/// Gives these rights to the operator's account, and no others.
pub async fn grant(scratch: &Scratch, rules: &[Value]) {
    let params = PatchParams::apply("test").force();
    let metadata = json!({"name": "operator"});
    let role = json!({"apiVersion": RBAC, "kind": "Role", "metadata": metadata, "rules": rules});
    scratch.api(RBAC, "Role").patch("operator", &params, &Patch::Apply(&role)).await.unwrap();
    let binding = json!({
        "apiVersion": RBAC, "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": scratch.namespace}],
    });
    scratch.api(RBAC, "RoleBinding").patch("operator", &params, &Patch::Apply(&binding)).await.unwrap();
}

/// Takes all rights from the operator's account.
pub async fn withdraw(scratch: &Scratch) {
    scratch.delete(RBAC, "RoleBinding", "operator").await;
}

/// A client with the rights of the operator's account.
pub async fn client(scratch: &Scratch) -> Client {
    client_of(&account(scratch)).await
}
