//! What a pipeline says of itself.

use std::sync::Arc;
use std::time::Duration;

use taffrail_crds::LogPipelineStatus;
use tokio_util::sync::CancellationToken;

use crate::Report;
use crate::decode::timestamp;
use crate::deliver::Counters;
use crate::engine::Derived;
use crate::health::{Health, Problem};
use crate::lane::Books;

/// How often status is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Everything that is known of a running pipeline.
#[derive(Debug)]
pub(crate) struct State {
    /// `namespace/name`.
    pub(crate) pipeline: String,
    pub(crate) generation: Option<i64>,
    pub(crate) books: Arc<Books>,
    pub(crate) health: Arc<Health>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) derived: Arc<Derived>,
}

/// What `Ready` says while nothing is wrong.
const RUNNING: &str = "Running";

/// Reports status now, and whenever it has changed, at most once a second.
pub(crate) struct Reporter {
    state: Arc<State>,
    report: Report,
    /// Readiness as it was told last, and since when it is so.
    told: Option<(bool, &'static str, String)>,
    last: Option<LogPipelineStatus>,
}

impl Reporter {
    pub(crate) fn new(state: Arc<State>, report: Report) -> Self {
        Self { state, report, told: None, last: None }
    }

    /// Reports until it is told to stop, and once more then.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_over = tokio::select! {
                () = stop.cancelled() => true,
                _ = ticks.tick() => false,
            };
            self.look();
            if is_over {
                return;
            }
        }
    }

    /// Reports if something has changed.
    fn look(&mut self) {
        let status = self.status();
        if self.last.as_ref() != Some(&status) {
            (self.report)(status.clone());
            self.last = Some(status);
        }
    }

    fn status(&mut self) -> LogPipelineStatus {
        let state = &self.state;
        let ledger = state.books.total();
        let problem = state.health.problem();
        let (is_ready, Problem { reason, message }) = match problem {
            Some(problem) => (false, problem),
            None => (true, Problem { reason: RUNNING, message: "logs are taken and delivered".to_owned() }),
        };
        let since = match &self.told {
            Some((was_ready, _, since)) if *was_ready == is_ready => since.clone(),
            _ => timestamp::format_millis(jiff::Timestamp::now().as_millisecond()),
        };
        let conditions = taffrail_runtime::ready(is_ready, reason, &message, state.generation, &since);
        self.told = Some((is_ready, reason, since));
        LogPipelineStatus {
            // The runtime's conditions are Kubernetes' conditions.
            conditions: serde_json::from_value(conditions).unwrap_or_default(),
            observed_generation: state.generation,
            replicas: Some(1),
            lag: state.books.lag(),
            consumed: ledger.consumed(),
            indexed: ledger.indexed,
            deduplicated: ledger.deduplicated,
            dead_lettered: ledger.dead_lettered,
            filtered: ledger.filtered,
            watermark: state.books.watermark().map(timestamp::format_millis),
        }
    }
}
