//! `taffrail ingestion FILE`: the worker of one pipeline.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Url;
use taffrail_crds::{Object, manifest};
use taffrail_ingestion::{IngestionMetrics, RemoteMetrics};
use taffrail_runtime::{Board, SecretFiles, Telemetry, http, redrive, start_logging, stop_signal};
use tokio_util::sync::CancellationToken;

use crate::pipelines::{HTTP_PORT, Pipelines};
use crate::redrive::Redrivers;
use crate::stores::Stores;

/// How long stopping waits for what is under way. Kubernetes gives a pod more.
const DRAIN: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// File that holds one LogPipeline
    file: PathBuf,
    /// Address of the metrics worker
    #[arg(long, env = "TAFFRAIL_METRICS_URL", default_value = "http://127.0.0.1:9090")]
    metrics: Url,
    /// Folder of secrets: a folder for each, a file for each of its keys
    #[arg(long)]
    secrets: Option<PathBuf>,
    /// Folder for the places that sources other than Kafka have been read up to
    #[arg(long, default_value = "taffrail-data")]
    data: PathBuf,
    /// Address of health, own metrics and status
    #[arg(long, default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
}

#[tokio::main]
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    start_logging("info");
    let pipeline = read(&args.file)?;
    let key = pipeline.key();
    let listener = http::bind(args.listen, "worker's health and metrics", "--listen").await?;
    let (board, stop, telemetry) = (Board::new(), CancellationToken::new(), Telemetry::default());
    if let Some(folder) = args.secrets {
        let mut secrets = SecretFiles::new(folder, key.namespace.clone(), board.clone());
        secrets.load();
        tokio::spawn(secrets.watch(stop.clone()));
    }
    board.apply_counted(pipeline);
    let redrivers = Redrivers::default();
    let ingestion = IngestionMetrics::new(&telemetry);
    let alive = {
        let ingestion = ingestion.clone();
        move || ingestion.alive()
    };
    let pipelines = Pipelines {
        board: board.clone(),
        embedded: None,
        metrics: Arc::new(RemoteMetrics::new(&args.metrics)?),
        telemetry: ingestion,
        data: args.data.join("pipelines"),
        http_address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, HTTP_PORT)),
        stores: Stores::default(),
        redrivers: redrivers.clone(),
        drain: DRAIN,
    };
    let pipelines = tokio::spawn(pipelines.run(stop.clone()));
    let shown = board.clone();
    let ready = move || match shown.get(&key).and_then(|entry| entry.status) {
        Some(_) => Ok(()),
        None => Err("the pipeline is not loaded yet".to_owned()),
    };
    // Health is asked for until everything is drained.
    let serving = CancellationToken::new();
    let routes = http::worker_routes(board, telemetry, alive, ready).merge(redrive::routes(Arc::new(redrivers)));
    let server = tokio::spawn(http::serve(listener, routes, serving.clone()));
    let signal = stop_signal().await.context("can't wait for signals")?;
    tracing::info!(signal, "stopping");
    stop.cancel();
    let _ = pipelines.await;
    serving.cancel();
    let _ = server.await;
    Ok(ExitCode::SUCCESS)
}

/// The one pipeline of a file.
fn read(path: &Path) -> anyhow::Result<Object> {
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    let parsed = manifest::parse(&text);
    if !parsed.problems.is_empty() {
        let lines: Vec<String> = parsed.problems.iter().map(|problem| crate::check::line(path, problem)).collect();
        bail!("the pipeline can't be used:\n{}", lines.join("\n"));
    }
    let mut objects = parsed.objects.into_iter().map(|located| located.object);
    match (objects.next(), objects.next()) {
        (Some(object @ Object::LogPipeline(_)), None) => Ok(object),
        _ => bail!("{} must hold one LogPipeline and nothing else", path.display()),
    }
}
