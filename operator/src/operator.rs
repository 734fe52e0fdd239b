//! Starting and stopping: campaign for the Lease, lead, stop at once when it is lost, and begin again.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use parking_lot::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::context::Context;
use crate::lease::Candidate;
use crate::telemetry::OperatorMetrics;
use crate::webhook::keeper;
use crate::{controllers, discovery, watch, workers};

/// How many objects are looked at at a time. Each waits for the API server most of the time.
const AT_ONCE: usize = 16;

/// A running operator. Dropping it stops it, without giving the Lease back.
pub struct Operator {
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What a replica is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The API server has not answered yet, or does not any more.
    Unreached,
    /// Another replica leads.
    Standby,
    /// This replica leads, and reads what there is.
    Reading,
    /// This replica leads.
    Leading,
}

/// A cluster that can't be talked to.
#[derive(Debug, thiserror::Error)]
#[error("found no cluster to talk to: {0}; set KUBECONFIG, or run in a pod with a service account")]
pub struct ConnectError(Box<kube::Error>);

/// A client for the cluster that KUBECONFIG or the pod's account names.
///
/// # Errors
/// When neither names one, or what they name can't be used.
pub async fn connect() -> Result<Client, ConnectError> {
    Client::try_default().await.map_err(|error| ConnectError(Box::new(error)))
}

impl Operator {
    /// Starts an operator on the cluster of a client.
    #[must_use]
    pub fn start(config: Config, client: Client, metrics: OperatorMetrics) -> Self {
        let state = Arc::new(Mutex::new(State::Unreached));
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(config, client, metrics, state.clone(), stop.clone()));
        Self { state, stop, task }
    }

    /// Whether this replica leads, or stands by to.
    ///
    /// # Errors
    /// With the reason why it does neither.
    pub fn ready(&self) -> Result<(), String> {
        match *self.state.lock() {
            State::Leading | State::Standby => Ok(()),
            State::Reading => Err("the objects of the cluster have not all been read yet".to_owned()),
            State::Unreached => Err("the API server does not answer".to_owned()),
        }
    }

    /// Whether this replica leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        matches!(*self.state.lock(), State::Reading | State::Leading)
    }

    /// Stops, and gives the Lease back.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // It ends by itself; that it was aborted or panicked is of no interest any more.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    config: Config,
    client: Client,
    metrics: OperatorMetrics,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
) {
    let mut candidate = Candidate::new(client.clone(), &config);
    let reached = |answers: bool| *state.lock() = if answers { State::Standby } else { State::Unreached };
    while let Some(since) = candidate.campaign(&stop, reached).await {
        tracing::info!(identity = config.identity, "this replica leads");
        metrics.leads(true);
        *state.lock() = State::Reading;
        // Everything that leads is a task of this set: dropping it ends each at its next step, with the request it has
        // under way. So nothing is written any more when `hold` has returned, which is before the Lease runs out.
        let mut tasks = JoinSet::new();
        let context = Context::new(config.clone(), client.clone(), metrics.clone());
        tasks.spawn(lead(context, state.clone()));
        tokio::select! {
            () = candidate.hold(since, &stop) => {}
            _ = tasks.join_next() => {}
        }
        tasks.shutdown().await;
        metrics.leads(false);
        *state.lock() = State::Unreached;
        tracing::info!(identity = config.identity, "this replica leads no more");
    }
    candidate.release().await;
}

/// Watches, and once everything has been read, works. For as long as it is not dropped.
async fn lead(context: Arc<Context>, state: Arc<Mutex<State>>) {
    let mut tasks = JoinSet::new();
    watch::start(&context, &mut tasks);
    while !watch::is_synced(&context) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    *state.lock() = State::Leading;
    tasks.spawn(workers::poll(context.clone()));
    if context.config.service_monitors {
        tasks.spawn(discovery::look_for_monitors(context.clone()));
    }
    if let Some(webhook) = context.config.webhook.clone() {
        tasks.spawn(keeper::keep(context.clone(), webhook));
    }
    for _ in 0..AT_ONCE {
        tasks.spawn(controllers::work(context.clone()));
    }
    // None of them ends but by a fault in itself, after which this replica had better begin anew.
    let ended = tasks.join_next().await;
    tracing::error!(?ended, "a part of the operator has ended");
}
