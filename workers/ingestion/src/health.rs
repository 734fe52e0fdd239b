//! What is wrong with a pipeline at the moment.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// What can be wrong, the most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Sink,
    DeadLetters,
    Source,
    Metrics,
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
/// The target of dead letters does not take one.
pub(crate) const DEAD_LETTERS_UNAVAILABLE: &str = "DeadLettersUnavailable";
/// The source can't be reached or opened.
pub(crate) const SOURCE_UNAVAILABLE: &str = "SourceUnavailable";
/// The source refuses our credentials.
pub(crate) const SOURCE_AUTH_FAILED: &str = "SourceAuthFailed";
/// A secret is missing, or lacks a key.
pub(crate) const SECRET_NOT_FOUND: &str = "SecretNotFound";
/// The metrics store does not take metrics.
pub(crate) const METRICS_UNAVAILABLE: &str = "MetricsUnavailable";

/// What is wrong with a pipeline at the moment.
#[derive(Debug, Default)]
pub(crate) struct Health {
    problems: Mutex<BTreeMap<Part, Problem>>,
    pipeline: String,
}

impl Health {
    pub(crate) fn new(pipeline: String) -> Self {
        Self { problems: Mutex::default(), pipeline }
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

    /// The problem to show.
    pub(crate) fn problem(&self) -> Option<Problem> {
        self.problems.lock().values().next().cloned()
    }
}
