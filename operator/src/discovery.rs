//! Whether the Prometheus Operator is there: it may be installed, or taken away, while the operator runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::child::ChildKind;
use crate::context::Context;
use crate::queue::Work;
use crate::watch;

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
                while !context.children(ChildKind::ServiceMonitor).is_synced(scopes.len()) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            context.set_monitors(is_there);
            look_at_everything(&context);
        }
        tokio::time::sleep(context.config.discovery_interval).await;
    }
}

fn look_at_everything(context: &Context) {
    let key = |object: &dyn Named| object.key();
    for object in context.pipelines.all() {
        let (namespace, name) = key(object.as_ref());
        context.queue.add(Work::Namespace { namespace: namespace.clone() }, Duration::ZERO);
        context.queue.add(Work::Pipeline { namespace, name }, Duration::ZERO);
    }
    let shared = context.rules.all().iter().map(|object| key(object.as_ref())).collect::<Vec<_>>();
    let more = context.dashboards.all().iter().map(|object| key(object.as_ref())).collect::<Vec<_>>();
    for (namespace, _) in shared.into_iter().chain(more) {
        context.queue.add(Work::Namespace { namespace }, Duration::ZERO);
    }
}

trait Named {
    fn key(&self) -> (String, String);
}

impl<K: kube::Resource> Named for K {
    fn key(&self) -> (String, String) {
        (self.meta().namespace.clone().unwrap_or_default(), self.meta().name.clone().unwrap_or_default())
    }
}
