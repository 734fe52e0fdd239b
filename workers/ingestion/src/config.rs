//! What a pipeline needs in order to run.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use taffrail_crds::{LogPipeline, LogPipelineStatus, SecretData};
use taffrail_logstore::LogStore;

use crate::MetricsSink;
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
    pub stdin: Option<Box<dyn Read + Send + Sync>>,
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

/// A secret that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nobody has applied it.
    #[error("the secret `{0}` is not there; apply it, or name another one in the pipeline")]
    Missing(String),
    /// It holds something else.
    #[error("the secret `{secret}` has no text under `{key}`")]
    Key {
        /// The secret.
        secret: String,
        /// What it lacks.
        key: &'static str,
    },
}

/// The text that a secret has under a key.
pub(crate) fn secret_text(secret: &SecretData, name: &str, key: &'static str) -> Result<String, SecretError> {
    let value = secret.get(key).and_then(|value| std::str::from_utf8(value).ok());
    // Editors and `base64` like to leave a line feed at the end.
    let value = value.map(|value| value.trim_end_matches(['\n', '\r']).to_owned());
    value.filter(|value| !value.is_empty()).ok_or_else(|| SecretError::Key { secret: name.to_owned(), key })
}

/// Looks up a secret.
pub(crate) fn find_secret(secrets: &Secrets, name: &str) -> Result<SecretData, SecretError> {
    secrets(name).ok_or_else(|| SecretError::Missing(name.to_owned()))
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
    #[error(transparent)]
    Secret(#[from] SecretError),
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

impl StartError {
    /// A word for the reason, for a condition.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Spec(_) => "InvalidSpec",
            Self::Transform(_) => "InvalidTransform",
            Self::Secret(_) => "SecretNotFound",
            Self::Folder { .. } => "FolderUnusable",
            Self::Source(_) => "SourceUnavailable",
        }
    }
}
