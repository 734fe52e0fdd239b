//! The Secrets that objects name: which they are, whether they are there, and the hash of what is in them.
//!
//! Of all Secrets only the metadata are watched. What is in one is read only where an object names it, once per
//! version, and only its hash is kept.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::core::v1::Secret;
use kube::Resource;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use parking_lot::Mutex;
use taffrail_crds::{AlertRuleSpec, Receiver, secret_data};

use crate::cache::{Cache, Key};
use crate::context::Context;
use crate::error::Error;
use crate::hash;

/// Names of Secrets, in order.
pub(crate) type Names = BTreeSet<String>;

/// All that is known of Secrets.
#[derive(Default)]
pub(crate) struct Secrets {
    /// The metadata of all.
    pub(crate) metadata: Cache<PartialObjectMeta<Secret>>,
    /// Of those that objects name, the hash of a version's contents.
    hashes: Mutex<HashMap<Key, (String, String)>>,
}

impl Secrets {
    /// Those that are not there.
    pub(crate) fn missing(&self, namespace: &str, names: &Names) -> Vec<String> {
        names.difference(&self.present(namespace, names)).cloned().collect()
    }

    /// Those that are there.
    pub(crate) fn present(&self, namespace: &str, names: &Names) -> Names {
        names.iter().filter(|name| self.metadata.get(namespace, name).is_some()).cloned().collect()
    }

    /// Forgets what was in a Secret.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.hashes.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }
}

/// The hash of all that is in Secrets of a namespace; those that are not there count as such.
///
/// # Errors
/// When a Secret can't be read.
pub(crate) async fn hash_of(context: &Context, namespace: &str, names: &Names) -> Result<String, Error> {
    let mut hashes = Vec::with_capacity(names.len());
    for name in names {
        hashes.push(format!("{name}={}", hash_of_one(context, namespace, name).await?));
    }
    Ok(hash::of_parts(hashes.iter().map(String::as_bytes)))
}

async fn hash_of_one(context: &Context, namespace: &str, name: &str) -> Result<String, Error> {
    let secrets = &context.secrets;
    let Some(known) = secrets.metadata.get(namespace, name) else { return Ok(String::new()) };
    let version = known.meta().resource_version.clone().unwrap_or_default();
    let key = (namespace.to_owned(), name.to_owned());
    if let Some((hashed, hash)) = secrets.hashes.lock().get(&key)
        && *hashed == version
    {
        return Ok(hash.clone());
    }
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let Some(secret) = context.call("read", "Secret", name, api.get_opt(name)).await? else { return Ok(String::new()) };
    // Salted with the UID, which whoever sees the hash need not know, so that short passwords can't be tried out.
    let uid = secret.metadata.uid.clone().unwrap_or_default();
    let data = secret_data(&secret);
    let parts = data.iter().flat_map(|(key, value)| [key.as_bytes(), value.as_slice()]);
    let hash = hash::of_parts([uid.as_bytes()].into_iter().chain(parts));
    let version = secret.metadata.resource_version.unwrap_or_default();
    secrets.hashes.lock().insert(key, (version, hash.clone()));
    Ok(hash)
}

/// The Secrets that telling a rule's receivers needs.
pub(crate) fn of_rule(spec: &AlertRuleSpec, default: &[Receiver]) -> Names {
    if spec.notify.is_empty() {
        return default.iter().filter_map(Receiver::secret_name).map(str::to_owned).collect();
    }
    spec.secret_names()
}
