//! A pipeline, running.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batcher, Sender};
use crate::config::{PipelineConfig, StartError};
use crate::dead_letter::dead_letters;
use crate::deliver::{Counters, Courier};
use crate::engine::{CHUNKS, Derived, Engine, Hurry, Limits};
use crate::health::Health;
use crate::lane::Books;
use crate::push::{Asked, Counter, Recount};
use crate::redrive::Redriver;
use crate::source::{self, Intake};
use crate::status::{Reporter, State};

/// What a source may take beyond the time for draining, to note how far it came and to say goodbye.
const FAREWELL: Duration = Duration::from_millis(400);

/// Starts pipelines.
pub struct Pipeline;

impl Pipeline {
    /// Starts a pipeline. It runs until its handle is stopped; a handle that is dropped stops it without draining.
    ///
    /// # Errors
    /// When something is wrong that waiting does not mend. Sources, sinks and secrets that are not there yet are
    /// waited for, and status says so.
    pub async fn start(config: PipelineConfig) -> Result<PipelineHandle, StartError> {
        let object = &config.object;
        let name = config.name();
        let sender = Sender { pipeline: name.clone(), generation: object.metadata.generation.unwrap_or_default() };
        let batcher = Batcher::new(&object.spec, sender.clone())?;
        let health = Arc::new(Health::new(name.clone(), object.spec.source.kafka.is_none()));
        let books = Arc::new(Books::default());
        let counters = Arc::new(Counters::default());
        let derived = Arc::new(Derived::default());
        let state = Arc::new(State {
            pipeline: name,
            generation: object.metadata.generation,
            books: books.clone(),
            is_partitioned: object.spec.source.kafka.is_some(),
            health: health.clone(),
            counters: counters.clone(),
            derived: derived.clone(),
        });
        let hurry = Arc::new(Hurry::default());
        let (records, queue) = mpsc::channel(CHUNKS);
        let counting = (!object.spec.metrics.is_empty()).then(|| Counter::new(config.metrics.clone(), health.clone()));
        let (counter, asked) = counting.unzip();
        let (to_push, behind) = asked.map(|Asked { queued, behind }| (queued, behind)).unzip();
        let recount = match (counter.clone(), behind) {
            // Elsewhere nothing can be read again.
            (Some(counter), Some(behind)) if object.spec.source.kafka.is_some() => {
                Some(Recount { counter, batcher: batcher.another(&object.spec)?, behind })
            }
            _ => None,
        };
        let intake = Intake {
            books,
            recount,
            health: health.clone(),
            hurry: hurry.clone(),
            stopping: CancellationToken::new(),
            drained: CancellationToken::new(),
        };
        let (stopping, drained, abort) = (intake.stopping.clone(), intake.drained.clone(), CancellationToken::new());
        let letters = dead_letters(object, config.store.clone(), &config.secrets)?;
        let drain = config.drain;
        let (store, report) = (config.store.clone(), config.report.clone());
        let metrics = (!object.spec.metrics.is_empty()).then(|| config.metrics.clone());
        let (telemetry, batch) = (config.telemetry.clone(), object.spec.batch.clone());
        let redriver = Redriver::new(
            sender.pipeline.clone(),
            letters.clone(),
            metrics,
            records.downgrade(),
            intake.stopping.clone(),
            hurry.clone(),
        );
        let (source, checkpoint) = source::start(config, intake, records).await?;
        let courier = Courier { store, letters, sender, health: health.clone(), counters };
        let engine = Engine {
            batcher,
            courier: Arc::new(courier),
            counter,
            to_push,
            health,
            derived,
            limits: Limits {
                records: batch.size.max(1) as usize,
                timeout: batch.timeout.0,
                bytes: usize::try_from(batch.max_bytes.0).unwrap_or(usize::MAX),
            },
            hurry: hurry.clone(),
            checkpoint,
            abort: abort.clone(),
        };
        let engine = tokio::spawn(engine.run(queue));
        telemetry.add(&state);
        let reporting_over = CancellationToken::new();
        let reporting = tokio::spawn(Reporter::new(state, report).run(reporting_over.clone()));
        let cancel = Cancel { stopping, drained, abort, reporting_over };
        Ok(PipelineHandle { cancel, hurry, engine, source, drain, reporting, redriver })
    }
}

/// Cancelled when the handle goes, however it goes.
struct Cancel {
    stopping: CancellationToken,
    drained: CancellationToken,
    abort: CancellationToken,
    reporting_over: CancellationToken,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.abort.cancel();
        self.drained.cancel();
        self.reporting_over.cancel();
    }
}

/// A pipeline that runs.
pub struct PipelineHandle {
    cancel: Cancel,
    hurry: Arc<Hurry>,
    engine: JoinHandle<()>,
    source: JoinHandle<()>,
    drain: Duration,
    reporting: JoinHandle<()>,
    redriver: Redriver,
}

impl PipelineHandle {
    /// Sends the pipeline's dead letters again, while it runs.
    #[must_use]
    pub fn redriver(&self) -> Redriver {
        self.redriver.clone()
    }

    /// Stops taking records, sends what is pending, waits for acknowledgements at most as long as
    /// [`PipelineConfig::drain`] says, notes how far it came, and closes. What was not acknowledged is read again at
    /// the next start.
    pub async fn stop(self) {
        let Self { cancel, hurry, mut engine, source, drain, reporting, redriver: _ } = self;
        cancel.stopping.cancel();
        hurry.set(true);
        if tokio::time::timeout(drain, &mut engine).await.is_err() {
            cancel.abort.cancel();
            // Aborting takes no time.
            let _ = engine.await;
        }
        cancel.drained.cancel();
        if tokio::time::timeout(FAREWELL, source).await.is_err() {
            tracing::warn!("the source did not close in time; what it had not noted is read again at the next start");
        }
        cancel.reporting_over.cancel();
        // Reporting takes no time.
        let _ = reporting.await;
    }
}
