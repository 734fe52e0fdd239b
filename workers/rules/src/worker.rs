//! The rule worker from outside: start, stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use taffrail_crds::Receiver;
use taffrail_query::MetricsEngine;
use taffrail_runtime::{Board, Telemetry};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::Clock;
use crate::journal::{Journal, JournalError};
use crate::keeper::Keeper;
use crate::receivers;
use crate::telemetry::OwnMetrics;

/// How long stopping tries to deliver what waits.
pub(crate) const FLUSH: Duration = Duration::from_millis(700);

/// What a rule worker works with.
pub struct RuleWorkerConfig<'a> {
    /// Where rules and secrets come from, and where status goes. All rules are to be on it before the worker starts: the
    /// alerts of those of the last run that are not, nor come within five seconds, are resolved.
    pub board: Board,
    /// Answers the queries of rules.
    pub engine: Arc<dyn MetricsEngine>,
    /// The folder for what must survive a restart.
    pub data_dir: PathBuf,
    /// Whom to tell of alerts of rules that name nobody.
    pub default_receivers: Vec<Receiver>,
    /// Where the worker's own metrics go.
    pub telemetry: &'a Telemetry,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// Why a rule worker can't start. A rule is never the reason.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state can't be kept.
    #[error("can't keep the state of rules")]
    State(#[from] JournalError),
    /// The client that notifications are sent with can't be made.
    #[error("can't set up the client that sends notifications")]
    Client(#[from] reqwest::Error),
}

/// A running rule worker. One that is dropped ends at once, and leaves everything to its successor.
pub struct RuleWorker {
    task: AbortOnDropHandle<()>,
    stop: CancellationToken,
    probes: mpsc::Sender<oneshot::Sender<()>>,
}

impl RuleWorker {
    /// Starts a rule worker in the current tokio runtime.
    ///
    /// # Errors
    /// When its folder can't be used.
    pub fn start(config: RuleWorkerConfig<'_>) -> Result<Self, StartError> {
        let journal = Journal::open(&config.data_dir)?;
        let own = OwnMetrics::new(config.telemetry);
        let stop = CancellationToken::new();
        let (probes, asked) = mpsc::channel(16);
        let keeper = Keeper::new(config, journal, own, receivers::client()?);
        let task = AbortOnDropHandle::new(tokio::spawn(keeper.run(stop.clone(), asked)));
        Ok(Self { task, stop, probes })
    }

    /// Waits until all that is to be done by now is done: changes of objects are in effect, evaluations that are due
    /// have been made, and each notification that can be tried has been.
    pub async fn settled(&self) {
        let (answer, answered) = oneshot::channel();
        // Without an answer, the worker has ended, and there is nothing to wait for.
        if self.probes.send(answer).await.is_ok() {
            let _ = answered.await;
        }
    }

    /// Stops: no more evaluations; what is to go to receivers now still goes, for less than a second. Nothing is lost: what
    /// could not be delivered is, after the next start.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!("the rule worker broke off: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
