//! Where records come from.
//!
//! A source hands chunks of records to the engine through a channel with few places; it waits while they are taken.
//! When the pipeline stops it closes the channel, waits until what it handed over is resolved (or given up), and notes
//! how far that is.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{PipelineConfig, StartError};
use crate::engine::Hurry;
use crate::health::Health;
use crate::lane::Books;
use crate::push::Recount;
use crate::record::Chunk;

mod demo;
mod file;
mod http;
mod kafka;
mod lines;
mod local;
mod stdin;

#[cfg(any(test, fuzzing))]
pub(crate) use http::check_body;
pub(crate) use kafka::InTopic;

/// What a source needs of the pipeline.
pub(crate) struct Intake {
    pub(crate) books: Arc<Books>,
    pub(crate) health: Arc<Health>,
    pub(crate) hurry: Arc<Hurry>,
    /// For a source that can read records again, where there are derived metrics.
    pub(crate) recount: Option<Recount>,
    /// No more records are wanted.
    pub(crate) stopping: CancellationToken,
    /// All that was handed over is resolved or given up.
    pub(crate) drained: CancellationToken,
}

/// Where a source hands over its records. When it is dropped, the engine knows that no more will come.
pub(crate) type Records = mpsc::Sender<Chunk>;

/// Called after each resolved batch.
pub(crate) type Checkpoint = Arc<dyn Fn() + Send + Sync>;

/// Starts the source that a spec names.
///
/// # Errors
/// When the source can't be opened and waiting does not help.
pub(crate) async fn start(
    config: PipelineConfig,
    intake: Intake,
    records: Records,
) -> Result<(JoinHandle<()>, Checkpoint), StartError> {
    let object = config.object.clone();
    let source = &object.spec.source;
    match (&source.kafka, &source.http, &source.file, &source.stdin, &source.demo) {
        (Some(spec), None, None, None, None) => kafka::start(spec, &config, intake, records),
        (None, Some(spec), None, None, None) => http::start(spec, &config, intake, records).await,
        (None, None, Some(spec), None, None) => file::start(spec, &config, intake, records),
        (None, None, None, Some(_), None) => stdin::start(config, intake, records),
        (None, None, None, None, Some(spec)) => demo::start(spec, &config, intake, records),
        _ => Err(StartError::Spec("name exactly one source: kafka, http, file, stdin or demo".to_owned())),
    }
}
