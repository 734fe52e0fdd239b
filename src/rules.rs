//! `taffrail rules`: the worker that evaluates the rules of a namespace.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use reqwest::Url;
use taffrail_crds::{LogReceiver, Receiver};
use taffrail_query::RemoteEngine;
use taffrail_rules::{RuleWorker, RuleWorkerConfig, SystemClock};
use taffrail_runtime::{Board, Kind, Telemetry, http, start_logging, stop_signal};
use tokio_util::sync::CancellationToken;

use crate::objects;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: objects::Source,
    /// Address of the metrics worker
    #[arg(long, env = "TAFFRAIL_METRICS_URL", default_value = "http://127.0.0.1:9090")]
    metrics: Url,
    /// Folder for the state of alerts, and for notifications on their way
    #[arg(long, default_value = "taffrail-data/rules")]
    data: PathBuf,
    /// File with the receivers of rules that name none: a list of what `notify` of an AlertRule takes [default: this
    /// worker's log]
    #[arg(long)]
    receivers: Option<PathBuf>,
    /// Address of health, own metrics and status
    #[arg(long, default_value = "127.0.0.1:9091")]
    listen: SocketAddr,
}

#[tokio::main]
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    start_logging("info");
    let listener = http::bind(args.listen, "worker's health and metrics", "--listen").await?;
    let (board, stop, telemetry) = (Board::new(), CancellationToken::new(), Telemetry::default());
    let loaded = CancellationToken::new();
    let is_loaded = loaded.clone();
    let ready = move || if is_loaded.is_cancelled() { Ok(()) } else { Err("rules are not loaded yet".to_owned()) };
    let routes = http::worker_routes(board.clone(), telemetry.clone(), || Ok(()), ready);
    let server = tokio::spawn(http::serve(listener, routes, stop.clone()));

    let mut signal = pin!(stop_signal());
    let loading = objects::load(args.source, &[Kind::AlertRule, Kind::LogPipeline], &board, &stop);
    let cluster = tokio::select! {
        cluster = loading => cluster?,
        // Nothing has begun yet.
        _ = &mut signal => return Ok(ExitCode::SUCCESS),
    };
    let receivers = match &args.receivers {
        Some(path) => read_receivers(path)?,
        None => own_log(),
    };
    let secrets = receivers.iter().filter_map(Receiver::secret_name).map(str::to_owned).collect();
    let worker = RuleWorker::start(RuleWorkerConfig {
        board: board.clone(),
        engine: Arc::new(RemoteEngine::new(args.metrics)?),
        data_dir: args.data,
        default_receivers: receivers,
        telemetry: &telemetry,
        clock: Arc::new(SystemClock),
    })
    .context("can't start the rules")?;
    let tasks = cluster
        .map(|cluster| (cluster.watch_secrets(secrets, &board, &stop), cluster.write_rule_status(&board, &stop)));
    loaded.cancel();
    let signal = signal.await.context("can't wait for signals")?;
    tracing::info!(signal, "stopping");
    worker.stop().await;
    stop.cancel();
    if let Some((secrets, status)) = tasks {
        let _ = tokio::join!(secrets, status);
    }
    let _ = server.await;
    Ok(ExitCode::SUCCESS)
}

/// The receivers of rules that name none, where nobody says otherwise.
pub(crate) fn own_log() -> Vec<Receiver> {
    vec![Receiver { log: Some(LogReceiver {}), ..Receiver::default() }]
}

fn read_receivers(path: &Path) -> anyhow::Result<Vec<Receiver>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("{} is no list of receivers", path.display()))
}
