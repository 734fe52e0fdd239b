//! Where a worker gets its objects from: files, or a namespace of a cluster.

use std::path::PathBuf;

use anyhow::ensure;
use taffrail_runtime::{Board, Cluster, Kind, ObjectDirectory};
use tokio_util::sync::CancellationToken;

/// Where objects come from.
#[derive(clap::Args)]
pub(crate) struct Source {
    /// Object files, and directories of them, which are watched; without any, objects come from the cluster
    paths: Vec<PathBuf>,
    /// Namespace of the cluster [default: the one that KUBECONFIG or the pod's account names]
    #[arg(long, conflicts_with = "paths")]
    namespace: Option<String>,
}

/// Fills a board, keeps it as the files or the cluster say until `stop` is cancelled, and returns when everything that
/// was there at the start is on it; with the cluster, if that is where objects come from.
pub(crate) async fn load(
    source: Source,
    kinds: &[Kind],
    board: &Board,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Cluster>> {
    if source.paths.is_empty() {
        let cluster = Cluster::connect(source.namespace).await?;
        tracing::info!(namespace = cluster.namespace(), "loading objects");
        cluster.watch(kinds, board, stop).await;
        return Ok(Some(cluster));
    }
    for path in &source.paths {
        ensure!(path.exists(), "there is no {}; name object files, or directories of them", path.display());
    }
    let mut directory = ObjectDirectory::new(source.paths, board.clone());
    directory.load();
    tokio::spawn(directory.watch(stop.clone()));
    Ok(None)
}
