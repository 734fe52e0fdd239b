//! What is reported of a rule.

use taffrail_crds::{AlertRuleStatus, AlertState, AlertStatus};

use crate::clock::{Millis, timestamp};
use crate::compile::{Compiled, Fault};
use crate::machine::{Alert, MOST_ALERTS};
use crate::rule::{RuleState, is_recent};

/// Alerts that are shown, at most.
const SHOWN: usize = 10;

const LOADED: &str = "Loaded";

/// What a status is made from.
pub(crate) struct Facets<'a> {
    pub(crate) generation: Option<i64>,
    /// The version that runs, if one does.
    pub(crate) compiled: Option<&'a Compiled>,
    /// Why the newest version does not.
    pub(crate) fault: Option<&'a Fault>,
    pub(crate) state: &'a RuleState,
    /// When the rule was last evaluated, whatever came of it.
    pub(crate) evaluated: Option<Millis>,
    /// Why the last evaluation failed.
    pub(crate) error: Option<&'a str>,
    /// What is wrong with telling receivers.
    pub(crate) delivery: Vec<String>,
}

/// Whether a rule was ready, and since when.
pub(crate) type Readiness = Option<(bool, Millis)>;

impl Facets<'_> {
    /// The status at a time. `before` is brought up to date.
    pub(crate) fn status(&self, before: &mut Readiness, now: Millis) -> AlertRuleStatus {
        let (is_ready, fault) = self.readiness();
        let since = before.filter(|(was_ready, _)| *was_ready == is_ready).map_or(now, |(_, since)| since);
        *before = Some((is_ready, since));
        let since = timestamp(since).to_string();
        let conditions = taffrail_runtime::ready(is_ready, fault.reason, &fault.message, self.generation, &since);
        let active_at = self.state.machine.alerts().values().map(|alert| alert.active_at).min();
        AlertRuleStatus {
            state: self.gravest(),
            value: finite(self.compiled.and_then(|rule| self.state.machine.value(rule.condition.operator))),
            alerts: self.alerts(now),
            active_at: active_at.map(|at| timestamp(at).to_string()),
            last_evaluation: self.evaluated.map(|at| timestamp(at).to_string()),
            // Made a line above, of the same shape.
            conditions: serde_json::from_value(conditions).unwrap_or_default(),
            observed_generation: self.generation,
        }
    }

    fn gravest(&self) -> AlertState {
        match self.compiled {
            None => AlertState::Error,
            Some(_) if self.error.is_some() => AlertState::Error,
            Some(rule) if rule.suspended => AlertState::Inactive,
            Some(_) => self.state.machine.state(),
        }
    }

    fn readiness(&self) -> (bool, Fault) {
        let mut faults = Vec::new();
        if let Some(fault) = self.fault {
            let goes_on = if self.compiled.is_some() { "; the last good version goes on" } else { "" };
            faults.push(Fault::new(fault.reason, format!("{}{goes_on}", fault.message)));
        }
        faults.extend(self.compiled.iter().flat_map(|rule| rule.faults.clone()));
        faults.extend(
            self.error.map(|error| Fault::new("EvaluationFailed", format!("{error}; alerts stay as they are"))),
        );
        let unwatched = self.state.machine.unwatched();
        if unwatched > 0 {
            let message = format!(
                "there are more than {MOST_ALERTS} alerts, and {unwatched} label sets are not watched; ask for fewer with \
                 matchers, or use fewer labels in `by`"
            );
            faults.push(Fault::new("TooManyAlerts", message));
        }
        faults.extend(self.delivery.iter().map(|message| Fault::new("NotificationFailed", message.clone())));
        let Some(first) = faults.first() else {
            let suspended = self.compiled.is_some_and(|rule| rule.suspended);
            let (reason, message) = if suspended {
                ("Suspended", "the rule is suspended: spec.suspend is set")
            } else {
                (LOADED, "the rule is being evaluated")
            };
            return (true, Fault::new(reason, message));
        };
        let messages: Vec<_> = faults.iter().map(|fault| fault.message.as_str()).collect();
        (false, Fault::new(first.reason, messages.join("; ")))
    }

    /// Firing alerts, pending ones, and those that resolved not long ago.
    fn alerts(&self, now: Millis) -> Vec<AlertStatus> {
        let all = self.state.machine.alerts();
        let firing = all.iter().filter(|(_, alert)| alert.fired_at.is_some());
        let pending = all.iter().filter(|(_, alert)| alert.fired_at.is_none());
        let recent = self.state.recent.iter().filter(|alert| is_recent(alert, now)).cloned();
        firing.chain(pending).map(|(series, alert)| self.alert(series, alert)).chain(recent).take(SHOWN).collect()
    }

    fn alert(&self, series: &taffrail_query::Labels, alert: &Alert) -> AlertStatus {
        let labels = self.compiled.map_or_else(|| series.clone(), |rule| rule.labels_of(series));
        AlertStatus {
            annotations: self.compiled.map(|rule| rule.annotations_of(&labels, alert.value)).unwrap_or_default(),
            labels,
            state: if alert.fired_at.is_some() { AlertState::Firing } else { AlertState::Pending },
            value: finite(alert.value),
            active_at: Some(timestamp(alert.active_at).to_string()),
            fired_at: alert.fired_at.map(|at| timestamp(at).to_string()),
            resolved_at: None,
        }
    }
}

/// JSON knows no infinite numbers, and Kubernetes takes nothing else for a number.
fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}
