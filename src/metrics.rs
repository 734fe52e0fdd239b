//! `taffrail metrics`: the time series store of a namespace.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use taffrail_metrics::{Options, Store};
use taffrail_runtime::{Duration, Telemetry, http, start_logging, stop_signal};
use tokio_util::sync::CancellationToken;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder for the series
    #[arg(long, default_value = "taffrail-data/metrics")]
    data: PathBuf,
    /// Address of the metrics API
    #[arg(long, default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// How long samples are kept
    #[arg(long, default_value = "15d")]
    retention: Duration,
}

#[tokio::main]
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    start_logging("info");
    let listener = http::bind(args.listen, "metrics API", "--listen").await?;
    let (telemetry, stop) = (Telemetry::default(), CancellationToken::new());
    let options = Options { retention: args.retention.0, ..Options::default() };
    let store = Store::open(&args.data, options, &telemetry).context("can't open the series")?;
    let checked = store.clone();
    let routes = taffrail_metrics::router(store.clone(), telemetry)
        .merge(http::health_routes(|| Ok(()), move || checked.check()));
    let server = tokio::spawn(http::serve(listener, routes, stop.clone()));
    let signal = stop_signal().await.context("can't wait for signals")?;
    tracing::info!(signal, "stopping");
    stop.cancel();
    let _ = server.await;
    tokio::task::spawn_blocking(move || store.sync()).await?.context("the last samples may be lost")?;
    Ok(ExitCode::SUCCESS)
}
