//! `taffrail dashboard`: the REST API and the page of a namespace.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use reqwest::Url;
use taffrail_dashboard::Config;
use taffrail_query::RemoteEngine;
use taffrail_runtime::{Board, Kind, Object, SecretFiles, Telemetry, http, start_logging, stop_signal};
use tokio_util::sync::CancellationToken;

use crate::objects;
use crate::redrive::RemoteRedrive;
use crate::stores::Stores;

/// The secret whose values are API keys.
const KEYS: &str = "taffrail-dashboard";

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: objects::Source,
    /// Address of the metrics worker
    #[arg(long, env = "TAFFRAIL_METRICS_URL", default_value = "http://127.0.0.1:9090")]
    metrics: Url,
    /// Address of a pipeline's worker, which sends its dead letters again; `{name}` and `{namespace}` are the pipeline's
    #[arg(long, default_value = "http://{name}-ingestion.{namespace}.svc:9090")]
    ingestion: String,
    /// Folder of secrets: a folder for each, a file for each of its keys. The values of `taffrail-dashboard`, and of those
    /// that dashboards name, are API keys
    #[arg(long)]
    secrets: Option<PathBuf>,
    /// Address of the page and the REST API
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address of health, own metrics and status
    #[arg(long, default_value = "127.0.0.1:9092")]
    telemetry_listen: SocketAddr,
    #[command(flatten)]
    access: Access,
}

/// Who may ask the REST API, and from where.
#[derive(clap::Args)]
pub(crate) struct Access {
    /// API key that the REST API asks for; may be given several times
    #[arg(long, env = "TAFFRAIL_API_KEY", hide_env_values = true, value_delimiter = ',')]
    pub(crate) api_key: Vec<String>,
    /// Origin of a page that may ask the REST API from a browser; `*` is any
    #[arg(long)]
    pub(crate) cors_origin: Vec<String>,
    /// Path under which a proxy shows the page
    #[arg(long, default_value = "/")]
    pub(crate) base_path: String,
}

#[tokio::main]
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    start_logging("info");
    let page = http::bind(args.listen, "page and the REST API", "--listen").await?;
    let telemetry_listener =
        http::bind(args.telemetry_listen, "worker's health and metrics", "--telemetry-listen").await?;
    let (board, stop, telemetry) = (Board::new(), CancellationToken::new(), Telemetry::default());
    let loaded = CancellationToken::new();
    let is_loaded = loaded.clone();
    let ready = move || if is_loaded.is_cancelled() { Ok(()) } else { Err("objects are not loaded yet".to_owned()) };
    let routes = http::worker_routes(board.clone(), telemetry, || Ok(()), ready);
    let telemetry_server = tokio::spawn(http::serve(telemetry_listener, routes, stop.clone()));

    let mut signal = pin!(stop_signal());
    let kinds = [Kind::LogPipeline, Kind::AlertRule, Kind::Dashboard];
    let cluster = tokio::select! {
        cluster = objects::load(args.source, &kinds, &board, &stop) => cluster?,
        _ = &mut signal => return Ok(ExitCode::SUCCESS),
    };
    let namespace = cluster.as_ref().map_or(taffrail_crds::DEFAULT_NAMESPACE, |cluster| cluster.namespace()).to_owned();
    let mut api_keys = args.access.api_key;
    if let Some(folder) = args.secrets {
        let mut secrets = SecretFiles::new(folder.clone(), namespace.clone(), board.clone());
        secrets.load();
        for name in key_secrets(&board) {
            let keys = board.secret(&namespace, &name).unwrap_or_default();
            api_keys.extend(keys.into_values().filter_map(|key| String::from_utf8(key).ok()));
        }
        let place = folder.join(KEYS);
        // Open to everybody is never what a missing file means.
        ensure!(!api_keys.is_empty(), "no API key: {} holds none, and no --api-key is given", place.display());
        tokio::spawn(secrets.watch(stop.clone()));
    }
    let stores = Stores::default();
    let (searched, letters) = (stores.clone(), stores.clone());
    tokio::spawn(stores.follow(board.clone(), stop.clone()));
    let router = taffrail_dashboard::router(Config {
        board,
        engine: Arc::new(RemoteEngine::new(args.metrics)?),
        stores: Arc::new(move || searched.all()),
        letters: Arc::new(move |key| letters.letters(key)),
        redrive: Arc::new(RemoteRedrive::new(args.ingestion)?),
        api_keys,
        cors_origins: args.access.cors_origin,
        base_path: args.access.base_path,
    });
    let page = tokio::spawn(http::serve(page, router, stop.clone()));
    loaded.cancel();
    let signal = signal.await.context("can't wait for signals")?;
    tracing::info!(signal, "stopping");
    stop.cancel();
    let _ = tokio::join!(page, telemetry_server);
    Ok(ExitCode::SUCCESS)
}

/// The secrets whose values are API keys: the namespace's, and those that dashboards name.
fn key_secrets(board: &Board) -> BTreeSet<String> {
    let mut names = BTreeSet::from([KEYS.to_owned()]);
    for entry in board.list(Kind::Dashboard) {
        if let Object::Dashboard(dashboard) = entry.object {
            names.extend(dashboard.spec.secret_names());
        }
    }
    names
}
