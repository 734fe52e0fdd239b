//! What the leader does for the webhook: it makes and renews certificates, and tells the API server whom to trust.
//!
//! The order is what matters. Whatever is in the Secret may be served, and so its authorities are trusted before the
//! Secret changes again: what a step puts there is signed by somebody who was trusted already, but for the first time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use taffrail_crds::{SecretData, secret_data};

use super::Webhook;
use super::certificate::{self, CertificateError};
use crate::FIELD_MANAGER;
use crate::context::Context;
use crate::error::Error;

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(10);

const CONFIGURATION: &str = "ValidatingWebhookConfiguration";

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error(transparent)]
    Api(#[from] Error),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Keeps the certificates, for as long as this replica leads.
pub(crate) async fn keep(context: Arc<Context>, webhook: Webhook) {
    let mut said = String::new();
    loop {
        let pause = match look(&context, &webhook).await {
            Ok(()) => {
                said.clear();
                webhook.interval
            }
            Err(error) => {
                let error = error.to_string();
                if said != error {
                    tracing::warn!(
                        error,
                        "the webhook is not as it should be; objects are taken as they are meanwhile"
                    );
                    said = error;
                }
                webhook.interval.min(RETRY)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Looks once, and goes one step where there is one to go.
async fn look(context: &Context, webhook: &Webhook) -> Result<(), KeeperError> {
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &context.config.own_namespace);
    let secret = context.call("read", "Secret", &webhook.secret, secrets.get_opt(&webhook.secret)).await?;
    let data = secret.as_ref().map(secret_data).unwrap_or_default();
    trust(context, webhook, &data).await?;
    let Some(next) = certificate::next(&data, &webhook.names, webhook.lives, SystemTime::now())? else { return Ok(()) };
    let values: BTreeMap<_, _> = next.iter().map(|(key, value)| (key, ByteString(value.clone()))).collect();
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": webhook.secret}, "data": values});
    let (params, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(&body));
    context.call("apply", "Secret", &webhook.secret, secrets.patch(&webhook.secret, &params, &patch)).await?;
    context.metrics.wrote("apply");
    tracing::info!("the certificates of the webhook in secret {} were renewed", webhook.secret);
    trust(context, webhook, &next).await
}

/// Has the API server trust the authorities of a Secret.
async fn trust(context: &Context, webhook: &Webhook, data: &SecretData) -> Result<(), KeeperError> {
    let Some(bundle) = certificate::trusted(data, SystemTime::now()) else { return Ok(()) };
    let name = webhook.configuration.as_str();
    let api: Api<ValidatingWebhookConfiguration> = Api::all(context.client.clone());
    let found = context.call("read", CONFIGURATION, name, api.get(name)).await?;
    let hooks = found.webhooks.unwrap_or_default();
    if hooks
        .iter()
        .all(|hook| hook.client_config.ca_bundle.as_ref().is_some_and(|trusted| trusted.0 == bundle.as_bytes()))
    {
        return Ok(());
    }
    let bundle = ByteString(bundle.into_bytes());
    let hooks: Vec<_> =
        hooks.iter().map(|hook| json!({"name": hook.name, "clientConfig": {"caBundle": bundle}})).collect();
    let body = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": CONFIGURATION,
        "metadata": {"name": name}, "webhooks": hooks,
    });
    let (params, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(&body));
    context.call("apply", CONFIGURATION, name, api.patch(name, &params, &patch)).await?;
    context.metrics.wrote("apply");
    Ok(())
}
