//! What a pipeline needs in order to run.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use taffrail_crds::{LogPipeline, LogPipelineStatus, SecretData};
use taffrail_logstore::LogStore;

use crate::MetricsSink;
use crate::deliver::Renew;
use crate::telemetry::IngestionMetrics;

/// Looks up a secret of the pipeline's namespace by name. It is asked again whenever credentials fail.
pub type Secrets = Arc<dyn Fn(&str) -> Option<SecretData> + Send + Sync>;

/// Takes what the pipeline says of itself: at most once a second, and only when it changed.
pub type Report = Arc<dyn Fn(LogPipelineStatus) + Send + Sync>;

/// What a pipeline needs in order to run.
pub struct PipelineConfig {
    /// The pipeline.
    pub object: Arc<LogPipeline>,
    /// Its namespace's secrets.
    pub secrets: Secrets,
    /// Where its logs go.
    pub store: Arc<dyn LogStore>,
    /// Called when the store refuses our credentials, to look whether they have changed; none where it has none.
    pub renew: Option<Renew>,
    /// Where the metrics go that it derives.
    pub metrics: Arc<dyn MetricsSink>,
    /// A folder of this pipeline alone, for the places it has read up to. It is made where it is missing.
    pub data_dir: PathBuf,
    /// Takes the pipeline's status.
    pub report: Report,
    /// The process's own metrics.
    pub telemetry: IngestionMetrics,
    /// Where the http source listens; none means all addresses and the port of the spec.
    pub http_address: Option<SocketAddr>,
    /// What the stdin source reads; none means the process's standard input.
    pub stdin: Option<Box<dyn Read + Send>>,
    /// How long stopping waits for what is under way to be acknowledged.
    pub drain: Duration,
}

impl PipelineConfig {
    /// How long stopping waits for acknowledgements unless said otherwise.
    pub const DEFAULT_DRAIN: Duration = Duration::from_millis(1_500);

    /// `namespace/name`.
    pub(crate) fn name(&self) -> String {
        let metadata = &self.object.metadata;
        let namespace = metadata.namespace.as_deref().unwrap_or(taffrail_crds::DEFAULT_NAMESPACE);
        format!("{namespace}/{}", metadata.name.as_deref().unwrap_or_default())
    }
}

/// Why a pipeline does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The spec can't be carried out.
    #[error("the pipeline's spec can't be carried out: {0}")]
    Spec(String),
    /// The transform does not compile.
    #[error("the transform does not compile: {0}")]
    Transform(String),
    /// A secret is missing, or lacks a key.
    #[error("{0}")]
    Secret(String),
    /// The folder for the pipeline's places can't be used.
    #[error("could not use the folder {path} for the places that the pipeline has read up to: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The source can't be opened.
    #[error("could not open the source: {0}")]
    Source(String),
}
