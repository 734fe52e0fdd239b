//! What a namespace looks like, in words that are the same for each namespace and each time.

use std::collections::BTreeMap;

use kube::api::ListParams;
use serde_json::{Value, json};

use super::scratch::{Scratch, WRITTEN};
use super::{PATIENCE, TAFFRAIL};

/// Everything of the operator's and its users', by kind and name.
pub type Picture = BTreeMap<String, Value>;

impl Scratch {
    /// What there is now, without what differs from one time to the next: versions, UIDs, hashes of them, addresses.
    pub async fn picture(&self) -> Picture {
        let mut picture = Picture::new();
        for (api_version, kind) in WRITTEN.into_iter().filter(|(_, kind)| !matches!(*kind, "Pod" | "Event")) {
            let is_own = api_version == TAFFRAIL;
            let params = ListParams::default();
            let params = if is_own { params } else { params.labels("app.kubernetes.io/managed-by=taffrail-operator") };
            for object in self.api(api_version, kind).list(&params).await.unwrap() {
                let name = format!("{kind} {}", object.metadata.name.clone().unwrap_or_default());
                let object = drawn(kind, serde_json::to_value(object).unwrap(), is_own);
                let text = object.to_string().replace(&self.namespace, "NAMESPACE");
                picture.insert(name, serde_json::from_str(&text).unwrap());
            }
        }
        picture
    }

    /// What there is once the garbage collector, which takes its time, has deleted what belongs to nothing any more.
    pub async fn collected_picture(&self) -> Picture {
        let began = std::time::Instant::now();
        loop {
            let picture = self.picture().await;
            let owners = picture.values().filter_map(|object| object["metadata"]["owners"].as_array()).flatten();
            let mut names =
                owners.map(|owner| [&owner[0], &owner[1]].map(|it| it.as_str().unwrap_or_default()).join(" "));
            let Some(gone) = names.find(|name| !picture.contains_key(name)) else { return picture };
            assert!(began.elapsed() < PATIENCE, "{gone} is gone and what it owns is not");
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    }

    /// Waits until everything looks as it should.
    pub async fn wait_for_picture(&self, what: &str, expected: &Picture) {
        let began = std::time::Instant::now();
        loop {
            let picture = self.picture().await;
            if picture == *expected {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {}", differences(expected, &picture));
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    }
}

fn drawn(kind: &str, mut object: Value, is_own: bool) -> Value {
    let metadata = object["metadata"].take();
    let mut annotations = metadata["annotations"].clone();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove("deployment.kubernetes.io/revision");
        // Made of the owners' UIDs.
        annotations.entry("taffrail.dev/applied").and_modify(|hash| *hash = "a hash".into());
    }
    // Salted with UIDs of Secrets.
    if let Some(hash) = object.pointer_mut("/spec/template/metadata/annotations/taffrail.dev~1content-hash") {
        *hash = "a hash".into();
    }
    if kind == "Service"
        && let Some(spec) = object["spec"].as_object_mut()
    {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    if kind == "Secret"
        && let Some(data) = object["data"].as_object_mut()
    {
        data.values_mut().for_each(|value| *value = value.as_str().map(str::len).into());
    }
    let status = object["status"].take();
    if is_own {
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let said: Vec<_> = conditions.iter().map(|it| json!([it["type"], it["status"], it["reason"]])).collect();
        object["status"] = json!([said, status["observedGeneration"], status["url"]]);
    }
    let owners = metadata["ownerReferences"].as_array().cloned().unwrap_or_default();
    let owners: Value = owners.iter().map(|owner| json!([owner["kind"], owner["name"]])).collect();
    object["metadata"] = json!({"labels": metadata["labels"], "annotations": annotations, "owners": owners});
    object
}

/// In what the second differs from the first.
pub fn differences(expected: &Picture, found: &Picture) -> String {
    let missing = expected.iter().filter(|(name, object)| found.get(*name) != Some(object));
    let extra = found.iter().filter(|(name, object)| expected.get(*name) != Some(object));
    let line = |sign: &str, (name, object): (&String, &Value)| format!("\n{sign} {name}: {object}");
    missing.map(|it| line("-", it)).chain(extra.map(|it| line("+", it))).collect()
}
