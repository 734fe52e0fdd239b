//! `taffrail operator`: the controllers, on a cluster.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use taffrail_crds::{ByteSize, Object, Receiver};
use taffrail_operator::{Config, Findings, Operator, OperatorMetrics, Webhook, serve_webhook};
use taffrail_runtime::{Board, Telemetry, http, start_logging, stop_signal};
use tokio_util::sync::CancellationToken;

use crate::check::semantic;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Namespace whose objects are looked after; may be given several times [default: all]
    #[arg(long = "watch-namespace", env = "TAFFRAIL_WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    /// Namespace that the operator itself runs in
    #[arg(long, env = "POD_NAMESPACE", default_value = taffrail_crds::DEFAULT_NAMESPACE)]
    namespace: String,
    /// What tells this process from the operator's other replicas
    #[arg(long, env = "POD_NAME", default_value = "local")]
    identity: String,
    /// Image of the workers
    #[arg(long, env = "TAFFRAIL_IMAGE", default_value_t = format!("ghcr.io/taffrail/taffrail:{}", taffrail_runtime::VERSION))]
    image: String,
    /// When nodes pull it: Always, IfNotPresent or Never
    #[arg(long, default_value = "IfNotPresent")]
    image_pull_policy: String,
    /// Make no ServiceMonitors, even where the cluster knows them
    #[arg(long)]
    no_service_monitors: bool,
    /// Size of the volume that metrics are kept on; it can grow
    #[arg(long, default_value = "10Gi")]
    metrics_volume_size: ByteSize,
    /// Class of that volume [default: the cluster's]
    #[arg(long)]
    metrics_storage_class: Option<String>,
    /// Receivers of rules that name none, as a JSON list of what `notify` of an AlertRule takes
    #[arg(long, env = "TAFFRAIL_RECEIVERS", value_parser = receivers)]
    receivers: Option<Receivers>,
    /// Refuse objects that can't work when they are applied; needs a ValidatingWebhookConfiguration `<service>.<namespace>`
    #[arg(long)]
    webhook: bool,
    /// Service by which the API server reaches the webhook
    #[arg(long, default_value = "taffrail-operator")]
    webhook_service: String,
    /// Address of the webhook
    #[arg(long, default_value = "0.0.0.0:9443")]
    webhook_listen: SocketAddr,
    /// Address of health and own metrics
    #[arg(long, default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
}

/// A list that stands in one argument.
#[derive(Clone)]
struct Receivers(Vec<Receiver>);

fn receivers(text: &str) -> Result<Receivers, serde_json::Error> {
    serde_json::from_str(text).map(Receivers)
}

/// What `taffrail check` finds in an object, for the webhook.
fn findings(object: &Object) -> Findings {
    let found = semantic::look_at(object);
    let problems = found.problems.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message));
    Findings { problems: problems.collect(), warnings: found.warnings }
}

#[tokio::main]
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    start_logging("info");
    let listener = http::bind(args.listen, "operator's health and metrics", "--listen").await?;
    let telemetry = Telemetry::default();
    let metrics = telemetry.register("taffrail_operator", OperatorMetrics::new);
    let config = Config {
        watch_namespaces: args.watch_namespaces.into_iter().filter(|name| !name.is_empty()).collect(),
        image_pull_policy: args.image_pull_policy,
        service_monitors: !args.no_service_monitors,
        receivers: args.receivers.map(|receivers| receivers.0).unwrap_or_default(),
        metrics_volume_size: args.metrics_volume_size,
        metrics_storage_class: args.metrics_storage_class,
        webhook: args.webhook.then(|| Webhook::behind(&args.webhook_service, &args.namespace)),
        ..Config::new(&args.namespace, &args.identity, &args.image)
    };
    let stop = CancellationToken::new();
    let client = taffrail_operator::connect().await?;
    let webhook = if args.webhook {
        let listener = http::bind(args.webhook_listen, "webhook", "--webhook-listen").await?;
        let (client, config, metrics) = (client.clone(), config.clone(), metrics.clone());
        Some(tokio::spawn(serve_webhook(listener, client, config, Arc::new(findings), metrics, stop.clone())))
    } else {
        None
    };
    let operator = Arc::new(Operator::start(config, client, metrics));
    let asked = operator.clone();
    let routes = http::worker_routes(Board::new(), telemetry, || Ok(()), move || asked.ready());
    let server = tokio::spawn(http::serve(listener, routes, stop.clone()));
    let signal = stop_signal().await.context("can't wait for signals")?;
    tracing::info!(signal, "stopping");
    stop.cancel();
    let _ = server.await;
    if let Some(webhook) = webhook {
        let _ = webhook.await;
    }
    if let Some(operator) = Arc::into_inner(operator) {
        operator.stop().await;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use taffrail_crds::manifest;

    use super::*;

    #[test]
    fn the_webhook_finds_what_check_finds() {
        let text = "
{apiVersion: taffrail.dev/v1alpha1, kind: LogPipeline, metadata: {name: logs},
  spec: {source: {demo: {}}, sink: {embedded: {}}, transform: \".a = 1\\n.b = nothing(.a)\"}}
---
{apiVersion: taffrail.dev/v1alpha1, kind: AlertRule, metadata: {name: broken},
  spec: {query: rat errors, operator: '>', threshold: 1}}
---
{apiVersion: taffrail.dev/v1alpha1, kind: AlertRule, metadata: {name: template},
  spec: {query: rate errors, operator: '>', threshold: 1, annotations: {summary: '{{ host }}'}}}
---
{apiVersion: taffrail.dev/v1alpha1, kind: AlertRule, metadata: {name: mail}, spec: {query: rate errors, operator: '>',
  threshold: 1, notify: [{slack: {secretName: s}}, {email: {to: ['a@b'], from: a@b, smarthost: 'a:25'}}]}}
---
{apiVersion: taffrail.dev/v1alpha1, kind: Dashboard, metadata: {name: shop},
  spec: {panels: [{title: A, type: timeseries, queries: [{query: 'rate errors service=$nobody'}]}]}}
";
        let parsed = manifest::parse(text);
        assert_eq!(parsed.problems, []);
        let found: Vec<_> = parsed.objects.iter().map(|located| findings(&located.object)).collect();
        let expected = [
            ("spec.transform: line 2, column 6: call to undefined function", ""),
            ("spec.query: column 1: expected a function", ""),
            ("spec.annotations: annotation `summary`: there is no `host`", ""),
            ("", "receivers of kind email can't be told yet"),
            ("spec.panels[0].queries[0].query: there is no variable `nobody`", ""),
        ];
        assert_eq!(found.len(), expected.len());
        for (found, (problem, warning)) in found.iter().zip(expected) {
            assert!(found.problems.join("\n").contains(problem), "{found:?}");
            assert_eq!(found.problems.is_empty(), problem.is_empty(), "{found:?}");
            assert!(found.warnings.join("\n").contains(warning), "{found:?}");
            assert_eq!(found.warnings.is_empty(), warning.is_empty(), "{found:?}");
        }
    }
}
