//! Whether the Prometheus Operator is there: it may be installed, or taken away, while the operator runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::child::ChildKind;
use crate::context::Context;
use crate::watch;

/// How long the first list of ServiceMonitors may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Looks for the ServiceMonitor kind now and then. This reads one small document and writes nothing.
pub(crate) async fn look_for_monitors(context: Arc<Context>) {
    let resource = ChildKind::ServiceMonitor.resource();
    // Ends with this function, and so with the leadership.
    let mut watches = JoinSet::new();
    loop {
        let list = context.client.list_api_group_resources(&resource.api_version);
        let is_there = match context.call("look for", &resource.kind, &resource.api_version, list).await {
            Ok(list) => Some(list.resources.iter().any(|known| known.name == resource.plural)),
            Err(error) if error.is_moot() => Some(false),
            // Not known: as it was.
            Err(_) => None,
        };
        if let Some(is_there) = is_there.filter(|is_there| *is_there != context.monitors()) {
            tracing::info!("the Prometheus Operator has {}", if is_there { "come" } else { "gone" });
            watches.abort_all();
            while watches.join_next().await.is_some() {}
            context.children(ChildKind::ServiceMonitor).clear();
            if is_there {
                let scopes = watch::scopes(&context);
                for scope in &scopes {
                    watches.spawn(watch::children(context.clone(), scope.clone(), ChildKind::ServiceMonitor));
                }
                // Without the right to watch them they are as good as not there, until the next look.
                if tokio::time::timeout(PATIENCE, listed(&context, &scopes)).await.is_err() {
                    tracing::warn!("could not list ServiceMonitors: none are made");
                    watches.abort_all();
                    tokio::time::sleep(context.config.discovery_interval).await;
                    continue;
                }
            }
            context.set_monitors(is_there);
            context.look_at_everything();
        }
        tokio::time::sleep(context.config.discovery_interval).await;
    }
}

async fn listed(context: &Context, scopes: &[Option<String>]) {
    let is_listed = |scope| context.children(ChildKind::ServiceMonitor).listed(scope).is_some();
    while !scopes.iter().all(is_listed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
