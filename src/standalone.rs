//! `taffrail standalone`: everything in one process. The only place that knows all the parts.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use taffrail_dashboard::Config;
use taffrail_ingestion::IngestionMetrics;
use taffrail_logstore::EmbeddedStore;
use taffrail_logstore::embedded::EmbeddedOptions;
use taffrail_metrics::{Options, Store};
use taffrail_query::MetricsEngine;
use taffrail_rules::{RuleWorker, RuleWorkerConfig, SystemClock};
use taffrail_runtime::{Board, ObjectDirectory, Telemetry, http, start_logging, stop_signal};
use tokio_util::sync::CancellationToken;

use self::classic::Classic;
use self::metrics::LocalMetrics;
use crate::dashboard::Access;
use crate::pipelines::{self, Pipelines};
use crate::redrive::Redrivers;
use crate::stores::Stores;

mod classic;
mod defaults;
mod metrics;

/// How long stopping waits for what is under way in pipelines: the whole process stops in less than two seconds.
const DRAIN: Duration = Duration::from_millis(1_000);

/// The longest that stopping may take; what is not done by then is done at the next start.
const STOP_WITHIN: Duration = Duration::from_millis(1_900);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Object files, and directories of them; they are watched, and changes are in effect within a second. Without any,
    /// logs are taken over HTTP and, when piped, from standard input
    paths: Vec<PathBuf>,
    /// Classic configuration file, instead of object files; its rules file is watched, too
    #[arg(long, env = "CONFIG_PATH", conflicts_with = "paths")]
    config: Option<PathBuf>,
    /// Folder for logs, metrics and state
    #[arg(long, default_value = "taffrail-data")]
    data: PathBuf,
    /// Address of the page and the REST API [default: 127.0.0.1:8080, or the port of the classic configuration]
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Address of the metrics API [default: 127.0.0.1:9090, or the port of the classic configuration]
    #[arg(long)]
    metrics_listen: Option<SocketAddr>,
    /// Address of the http source
    #[arg(long, default_value = "127.0.0.1:8081")]
    http_listen: SocketAddr,
    #[command(flatten)]
    access: Access,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    // People look at the page; a line for each request would hide what matters in their terminal.
    start_logging(if std::io::stderr().is_terminal() { "info,request=warn,tantivy=warn" } else { "info" });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("can't start threads")?;
    let result = runtime.block_on(serve(args));
    // Standard input may be waited for by a thread that nothing wakes.
    runtime.shutdown_background();
    result
}

async fn serve(args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let classic = args.config.as_deref().map(Classic::read).transpose()?;
    let settings = Settings::new(&args, classic.as_ref());
    let listener = http::bind(settings.page, "page and the REST API", "--listen").await?;
    let metrics_listener = http::bind(settings.metrics, "metrics API", "--metrics-listen").await?;
    let addresses = (listener.local_addr()?, metrics_listener.local_addr()?);
    std::fs::create_dir_all(&args.data).with_context(|| format!("can't make the folder {}", args.data.display()))?;

    let telemetry = Telemetry::default();
    let board = Board::new();
    let stop = CancellationToken::new();
    let watching = load_objects(&args, classic, &board, &stop)?;

    let (logs, metrics) = open_stores(&args.data, &board, settings.metric_retention, &telemetry)?;
    let engine: Arc<dyn MetricsEngine> = Arc::new(metrics.clone());
    let rules = RuleWorker::start(RuleWorkerConfig {
        board: board.clone(),
        engine: engine.clone(),
        data_dir: args.data.join("rules"),
        default_receivers: crate::rules::own_log(),
        telemetry: &telemetry,
        clock: Arc::new(SystemClock),
    })
    .context("can't start the rules")?;
    let (stores, redrivers) = (Stores::default(), Redrivers::default());
    let letters = stores.clone();
    let pipelines = Pipelines {
        board: board.clone(),
        embedded: Some(logs.clone()),
        metrics: Arc::new(LocalMetrics(metrics.clone())),
        telemetry: IngestionMetrics::new(&telemetry),
        data: args.data.join("pipelines"),
        http_address: args.http_listen,
        stores: stores.clone(),
        redrivers: redrivers.clone(),
        drain: DRAIN,
    };
    let pipelines = tokio::spawn(pipelines.run(stop.clone()));
    let page = taffrail_dashboard::router(Config {
        board: board.clone(),
        engine,
        stores: Arc::new(move || stores.all()),
        letters: Arc::new(move |key| letters.letters(key)),
        redrive: Arc::new(redrivers),
        api_keys: args.access.api_key,
        cors_origins: args.access.cors_origin,
        base_path: args.access.base_path,
    });
    let health = || http::health_routes(|| Ok(()), || Ok(()));
    let page = tokio::spawn(http::serve(listener, page.merge(health()), stop.clone()));
    let metrics_routes = taffrail_metrics::router(metrics.clone(), telemetry.clone()).merge(health());
    let metrics_api = tokio::spawn(http::serve(metrics_listener, metrics_routes, stop.clone()));

    announce(&addresses, &args.http_listen, &args.data, started.elapsed());
    let signal = stop_signal().await.context("can't wait for signals")?;
    tracing::info!(signal, "stopping");
    stop.cancel();
    let stopped = tokio::time::timeout(STOP_WITHIN, async {
        // What ingestion drains still has to find its stores.
        let _ = tokio::join!(pipelines, rules.stop(), page, metrics_api, watching);
        let (logs, metrics) = (logs.close(), tokio::task::spawn_blocking(move || metrics.sync()));
        let _ = tokio::join!(logs, metrics);
    })
    .await;
    if stopped.is_err() {
        tracing::warn!("stopped before everything pending was acknowledged; the rest is done at the next start");
    }
    Ok(ExitCode::SUCCESS)
}

/// What the command line says, or else the classic configuration, or else is usual.
struct Settings {
    page: SocketAddr,
    metrics: SocketAddr,
    metric_retention: Duration,
}

impl Settings {
    fn new(args: &Args, classic: Option<&Classic>) -> Self {
        let config = classic.map(|classic| classic.config().clone()).unwrap_or_default();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            page: args.listen.unwrap_or_else(|| local(config.dashboard.port)),
            metrics: args.metrics_listen.unwrap_or_else(|| local(config.metrics.port)),
            metric_retention: Duration::from_secs(u64::from(config.metrics.retention_days) * 86_400),
        }
    }
}

/// Puts the objects on the board that the command line names, and keeps them there as the files say.
fn load_objects(
    args: &Args,
    classic: Option<Classic>,
    board: &Board,
    stop: &CancellationToken,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    if let Some(mut classic) = classic {
        classic.load(board);
        return Ok(tokio::spawn(classic.watch(board.clone(), stop.clone())));
    }
    if args.paths.is_empty() {
        for object in defaults::objects(!std::io::stdin().is_terminal())? {
            board.apply(object);
        }
        return Ok(tokio::spawn(async {}));
    }
    for path in &args.paths {
        anyhow::ensure!(path.exists(), "there is no {}; name object files, or directories of them", path.display());
    }
    let mut directory = ObjectDirectory::new(args.paths.clone(), board.clone()).without(&args.data);
    directory.load();
    Ok(tokio::spawn(directory.watch(stop.clone())))
}

fn open_stores(
    data: &Path,
    board: &Board,
    retention: Duration,
    telemetry: &Telemetry,
) -> anyhow::Result<(Arc<EmbeddedStore>, Store)> {
    let log_options = EmbeddedOptions { retention: pipelines::retention(board) };
    let logs = EmbeddedStore::open(&data.join("logs"), log_options)
        .with_context(|| format!("can't open the logs in {}", data.display()))?;
    let metrics = Store::open(&data.join("metrics"), Options { retention, ..Options::default() }, telemetry)
        .with_context(|| format!("can't open the metrics in {}", data.display()))?;
    Ok((logs, metrics))
}

fn announce((page, metrics): &(SocketAddr, SocketAddr), source: &SocketAddr, data: &Path, took: Duration) {
    let text = format!(
        "\nTaffrail {} is up after {} ms\n\n  page and REST API  http://{page}/\n  metrics            http://{metrics}/metrics\n  \
         send logs to       http://{source}/\n  data               {}\n\nStop with Ctrl-C.\n\n",
        taffrail_runtime::VERSION,
        took.as_millis(),
        data.display(),
    );
    // A closed standard output is no reason to stop.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
