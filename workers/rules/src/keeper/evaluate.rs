//! Evaluations: starting those that are due, and taking in what they found.

use std::sync::Arc;
use std::time::{Duration, Instant};

use taffrail_crds::ObjectKey;
use taffrail_query::{EngineError, InstantSeries};
use tokio::task::{Id, JoinError};

use super::deliver::receiver_key;
use super::{Keeper, rule_key};
use crate::clock::Millis;
use crate::compile::Compiled;
use crate::notice::Notification;
use crate::outbox::Letter;
use crate::receivers::alertmanager::REMIND_EVERY;
use crate::rule::Dispatch;
use crate::schedule;

/// Evaluations that run at the same time.
const EVALUATIONS: usize = 16;

/// An evaluation that runs.
pub(super) struct Run {
    key: ObjectKey,
    version: u64,
    at: Millis,
}

pub(super) enum Failure {
    Engine(EngineError),
    Timeout(Duration),
    Broken(String),
}

pub(super) type Found = Result<Vec<InstantSeries>, Failure>;

impl Keeper {
    pub(super) fn has_room(&self) -> bool {
        self.running.len() < EVALUATIONS
    }

    pub(super) fn start_evaluations(&mut self, now: Millis) {
        while self.has_room() {
            let Some((at, key)) = self.due.take(now) else { return };
            let Some(rule) = self.rules.get_mut(&key) else { continue };
            let Some(compiled) = rule.compiled.clone() else { continue };
            let interval = compiled.facts.interval;
            let missed = now.saturating_sub(at) / interval;
            // Of those that were missed, the last one is made up for.
            let at = if missed > 0 { schedule::last(&key, interval, now).max(at) } else { at };
            self.own.missed.inc_by(u64::try_from(missed).unwrap_or(0));
            let engine = Arc::clone(&self.engine);
            let task = self.running.spawn(async move {
                let start = Instant::now();
                let end = at.saturating_sub(compiled.eval_delay);
                let patience = compiled.patience();
                let asked = engine.instant(&compiled.query, compiled.window, end);
                let found = match tokio::time::timeout(patience, asked).await {
                    Ok(found) => found.map_err(Failure::Engine),
                    Err(_) => Err(Failure::Timeout(patience)),
                };
                (found, start.elapsed())
            });
            self.runs.insert(task.id(), Run { key, version: rule.version, at });
            rule.running = Some(task);
        }
    }

    pub(super) fn evaluated(&mut self, done: Result<(Id, (Found, Duration)), JoinError>) {
        let (id, found) = match done {
            Ok((id, (found, took))) => {
                self.own.seconds.observe(took.as_secs_f64());
                (id, found)
            }
            Err(error) => (error.id(), Err(Failure::Broken(error.to_string()))),
        };
        let Some(Run { key, version, at }) = self.runs.remove(&id) else { return };
        let now = self.now();
        let Some(rule) = self.rules.get_mut(&key).filter(|rule| rule.version == version) else { return };
        let Some(compiled) = rule.compiled.clone() else { return };
        rule.running = None;
        rule.evaluated = Some(at);
        self.own.evaluations.inc();
        if rule.state.nobody_knows() {
            rule.reminded = now;
        }
        let dispatches = match found {
            Ok(found) => {
                rule.error = None;
                rule.state.evaluate(&compiled, at, now, &found)
            }
            Err(failure) => {
                let (reason, message) = failure.words();
                self.own.evaluation_failed(reason);
                if rule.error.is_none() {
                    tracing::warn!(rule = %key, reason, "the rule can't be evaluated: {message}");
                }
                rule.error = Some(message);
                rule.state.tell(&compiled, now)
            }
        };
        self.due.set(&key, Some(schedule::next(&key, compiled.facts.interval, at)));
        self.after(&key, dispatches, now);
        self.remind(&key, &compiled, now);
    }

    /// Tells receivers again that forget what they are not told again.
    fn remind(&mut self, key: &ObjectKey, compiled: &Compiled, now: Millis) {
        let forgetful: Vec<_> =
            compiled.receivers.iter().filter(|receiver| receiver.alertmanager.is_some()).cloned().collect();
        let Some(rule) = self.rules.get_mut(key).filter(|_| !forgetful.is_empty()) else { return };
        if now.saturating_sub(rule.reminded) < REMIND_EVERY {
            return;
        }
        let Some(message) = rule.state.reminder(compiled) else { return };
        rule.reminded = now;
        for receiver in forgetful {
            let notification = Notification::new(&compiled.facts, message.clone(), &receiver_key(&receiver), now);
            let letter = Letter { receiver, notification, reminder: true };
            if !self.outbox.has_reminder(&letter) {
                self.put(letter);
            }
        }
    }

    pub(super) fn tell(&mut self, key: &ObjectKey, now: Millis) {
        let Some(rule) = self.rules.get_mut(key) else { return };
        let Some(compiled) = rule.compiled.clone() else { return };
        let dispatches = rule.state.tell(&compiled, now);
        self.after(key, dispatches, now);
    }

    /// What follows from a change of a rule's state.
    pub(super) fn after(&mut self, key: &ObjectKey, dispatches: Vec<Dispatch>, now: Millis) {
        self.post(dispatches, now);
        let Some(rule) = self.rules.get(key) else { return };
        let next = rule.compiled.as_ref().and_then(|compiled| rule.state.next(compiled, now));
        self.telling.set(key, next);
        // States hold nothing that JSON can't carry.
        let value = if rule.state.is_blank() { None } else { serde_json::to_string(&rule.state).ok() };
        self.unreported.insert(key.clone());
        self.note(rule_key(key), value);
    }
}

impl Failure {
    fn words(self) -> (&'static str, String) {
        match self {
            Self::Engine(error) => {
                let reason = match error {
                    EngineError::Unavailable(_) => "unavailable",
                    EngineError::TooLarge(_) => "too_large",
                    EngineError::Invalid(_) => "invalid",
                };
                (reason, error.to_string())
            }
            Self::Timeout(patience) => {
                ("timeout", format!("the metrics engine did not answer within {} s", patience.as_secs()))
            }
            Self::Broken(error) => ("broken", format!("the evaluation broke off: {error}")),
        }
    }
}
