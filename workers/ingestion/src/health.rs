//! What is wrong with a pipeline at the moment.

use std::collections::BTreeMap;

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use taffrail_logstore::Obstacle;

use crate::pulse::Pulse;

/// What can be wrong, the most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Sink,
    DeadLetters,
    Source,
    Metrics,
    /// Derived metrics that are made again of records that are read again.
    Recount,
    /// How many series derived metrics have.
    Series,
}

/// A reason, which is a word that never changes, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// The store does not answer, or is overloaded.
pub(crate) const SINK_UNAVAILABLE: &str = "SinkUnavailable";
/// The store refuses our credentials.
pub(crate) const SINK_AUTH_FAILED: &str = "SinkAuthFailed";
/// The store's disk is nearly full, or its indices are read-only.
pub(crate) const STORAGE_BLOCKED: &str = "StorageBlocked";
/// The store has no room for another index.
pub(crate) const SHARD_LIMIT: &str = "ShardLimit";
/// There is no index, and the store makes none.
pub(crate) const INDEX_MISSING: &str = "IndexMissing";
/// The store, or its address, is not as it must be.
pub(crate) const SINK_MISCONFIGURED: &str = "SinkMisconfigured";
/// The target of dead letters does not take one.
pub(crate) const DEAD_LETTERS_UNAVAILABLE: &str = "DeadLettersUnavailable";
/// The source can't be reached or opened.
pub(crate) const SOURCE_UNAVAILABLE: &str = "SourceUnavailable";
/// The source refuses our credentials.
pub(crate) const SOURCE_AUTH_FAILED: &str = "SourceAuthFailed";
/// The source has records, and gives none.
pub(crate) const SOURCE_STUCK: &str = "SourceStuck";
/// A secret is missing, or lacks a key.
pub(crate) const SECRET_NOT_FOUND: &str = "SecretNotFound";
/// The metrics store does not take metrics.
pub(crate) const METRICS_UNAVAILABLE: &str = "MetricsUnavailable";
/// A warning: derived metrics have fallen behind the logs, and are caught up with.
pub(crate) const METRICS_BEHIND: &str = "MetricsBehind";
/// A warning: a derived metric has as many series as it may have, and what is beyond goes into one of overflow.
pub(crate) const TOO_MANY_SERIES: &str = "TooManySeries";

/// A warning: many logs do not fit the store's mapping.
pub(crate) const MAPPING_CONFLICT: &str = "MappingConflict";
/// A warning: many logs are of days whose index is closed.
pub(crate) const INDEX_CLOSED: &str = "IndexClosed";
/// A warning: logs were redirected to the failure store of a data stream.
pub(crate) const FAILURE_STORE_USED: &str = "FailureStoreUsed";

/// The reason that an obstacle is told by.
pub(crate) fn reason_of(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Unauthorized => SINK_AUTH_FAILED,
        Obstacle::StorageBlocked => STORAGE_BLOCKED,
        Obstacle::ShardLimit => SHARD_LIMIT,
        Obstacle::IndexMissing => INDEX_MISSING,
        Obstacle::Misconfigured => SINK_MISCONFIGURED,
    }
}

/// Of about so many of the latest logs the share that was refused is looked at.
const LATEST: u64 = 10_000;
/// Fewer refusals may be chance.
const FEW: u64 = 10;
/// One of so many refused is worth a warning; when it is only one of twice as many, the warning ends.
const SHARE: u64 = 20;

/// What the store has decided lately.
#[derive(Debug, Default)]
struct Decisions {
    logs: u64,
    refused: u64,
    warning: Option<Problem>,
}

/// What is wrong with a pipeline at the moment.
#[derive(Debug, Default)]
pub(crate) struct Health {
    problems: Mutex<BTreeMap<Part, Problem>>,
    decisions: Mutex<Decisions>,
    redirected: AtomicU64,
    pipeline: String,
    waits_for_metrics: bool,
    /// Whether the source is alive.
    pub(crate) pulse: Pulse,
}

impl Health {
    /// `waits_for_metrics` says whether the source gives records only once, and so logs wait where metrics do.
    pub(crate) fn new(pipeline: String, waits_for_metrics: bool) -> Self {
        Self { pipeline, waits_for_metrics, ..Self::default() }
    }

    /// Notes that something is wrong. It is logged when the reason is new.
    pub(crate) fn fail(&self, part: Part, reason: &'static str, message: String) {
        let problem = Problem { reason, message };
        let mut problems = self.problems.lock();
        let before = problems.insert(part, problem.clone());
        if before.is_none_or(|before| before.reason != reason) {
            tracing::warn!(pipeline = self.pipeline, reason, "{}", problem.message);
        }
    }

    /// Notes that a part is well.
    pub(crate) fn recover(&self, part: Part) {
        let mut problems = self.problems.lock();
        if let Some(problem) = problems.remove(&part) {
            tracing::info!(pipeline = self.pipeline, reason = problem.reason, "the pipeline has recovered");
        }
    }

    /// Notes how many logs the store has decided on, and of those that it refused the status and the reason.
    pub(crate) fn decided<'a>(&self, logs: usize, refused: impl Iterator<Item = (u16, &'a str)>) {
        let mut decisions = self.decisions.lock();
        let mut last = None;
        for (status, reason) in refused {
            decisions.refused += 1;
            self.redirected.fetch_add(u64::from(status < 300), Ordering::Relaxed);
            last = Some((status, reason));
        }
        decisions.logs = decisions.logs.saturating_add(logs as u64);
        while decisions.logs > LATEST {
            (decisions.logs, decisions.refused) = (decisions.logs / 2, decisions.refused / 2);
        }
        match last {
            Some((status, reason)) => {
                let is_often = decisions.refused >= FEW && decisions.refused * SHARE >= decisions.logs;
                if is_often || status < 300 {
                    self.warn(&mut decisions, status, reason);
                }
            }
            None if decisions.refused * SHARE * 2 < decisions.logs && decisions.warning.take().is_some() => {
                tracing::info!(pipeline = self.pipeline, "few logs are refused any more");
            }
            None => {}
        }
    }

    /// The sentence has no counts: status would be news every second.
    fn warn(&self, decisions: &mut Decisions, status: u16, why: &str) {
        let (reason, what) = match status {
            ..300 => (FAILURE_STORE_USED, "logs went to the failure store of a data stream, and to the dead letters"),
            _ if why.starts_with("index_closed_exception") => {
                (INDEX_CLOSED, "many of the latest logs are of indices that are closed, and go to the dead letters")
            }
            _ => (MAPPING_CONFLICT, "many of the latest logs were refused, and go to the dead letters"),
        };
        if decisions.warning.as_ref().is_none_or(|before| before.reason != reason) {
            let problem = Problem { reason, message: format!("{what}; one of them: {why}") };
            tracing::warn!(pipeline = self.pipeline, reason, "{}", problem.message);
            decisions.warning = Some(problem);
        }
    }

    /// What does not keep the pipeline from its work, but is not as it should be.
    pub(crate) fn warning(&self) -> Option<Problem> {
        let refused = self.decisions.lock().warning.clone();
        refused.or_else(|| self.first(false))
    }

    /// Whether something is wrong with a part.
    pub(crate) fn is_failing(&self, part: Part) -> bool {
        self.problems.lock().contains_key(&part)
    }

    /// The most telling problem of those that stall, or of those that do not.
    fn first(&self, stalls: bool) -> Option<Problem> {
        let problems = self.problems.lock();
        problems.iter().find(|(part, _)| self.stalls(**part) == stalls).map(|(_, problem)| problem.clone())
    }

    /// Whether logs wait while something is wrong with a part.
    fn stalls(&self, part: Part) -> bool {
        match part {
            Part::Sink | Part::DeadLetters | Part::Source => true,
            Part::Metrics => self.waits_for_metrics,
            Part::Recount | Part::Series => false,
        }
    }

    /// How many logs went to the failure store of a data stream.
    pub(crate) fn redirected(&self) -> u64 {
        self.redirected.load(Ordering::Relaxed)
    }

    /// The problem to show.
    pub(crate) fn problem(&self) -> Option<Problem> {
        self.first(true)
    }
}
