//! `taffrail operator`: the controllers, on a cluster.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use taffrail_crds::{ByteSize, Receiver};
use taffrail_operator::{Config, Operator, OperatorMetrics};
use taffrail_runtime::{Board, Telemetry, http, start_logging, stop_signal};
use tokio_util::sync::CancellationToken;

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
        ..Config::new(&args.namespace, &args.identity, &args.image)
    };
    let client = taffrail_operator::connect().await?;
    let operator = Arc::new(Operator::start(config, client, metrics));
    let stop = CancellationToken::new();
    let asked = operator.clone();
    let routes = http::worker_routes(Board::new(), telemetry, move || asked.ready());
    let server = tokio::spawn(http::serve(listener, routes, stop.clone()));
    let signal = stop_signal().await.context("can't wait for signals")?;
    tracing::info!(signal, "stopping");
    stop.cancel();
    let _ = server.await;
    if let Some(operator) = Arc::into_inner(operator) {
        operator.stop().await;
    }
    Ok(ExitCode::SUCCESS)
}
