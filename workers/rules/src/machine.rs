//! The alert state machine: from values to alerts. Time is an argument; nothing here waits, asks or remembers by itself.
//!
//! Each set of labels that a query answers with is on its own:
//!
//! - While the condition holds, an alert is pending; once it has held for `for`, the alert fires.
//! - An alert that fires goes on for as long as its value is beyond `resolveThreshold`, and then for `keepFiringFor`.
//! - Where there was a number and now is none, `noData` decides. `ok`: as if the condition did not hold. `keep`: the alert
//!   stays as it is, and no time of its passes. `alert`: as if the condition held, for every set of labels that has had a
//!   number in the last day, and for the rule as a whole if none has. A value that is not a number (NaN) is none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use taffrail_crds::{AlertState, Comparison, NoData};
use taffrail_query::{InstantSeries, Labels};

use crate::clock::Millis;
use crate::pairs;
use crate::telemetry::Share;

/// Alerts of one rule that are pending or firing, at most. Label sets beyond it are counted, not watched.
pub(crate) const MOST_ALERTS: usize = 1_000;

/// How long `noData: alert` remembers a label set that has vanished.
const REMEMBERED: Millis = 86_400_000;

/// When alerts begin and end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Condition {
    pub(crate) operator: Comparison,
    pub(crate) threshold: f64,
    pub(crate) resolve_threshold: Option<f64>,
    /// `for`.
    pub(crate) hold: Millis,
    pub(crate) keep_firing_for: Millis,
    pub(crate) no_data: NoData,
}

/// An alert that is pending or firing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// Since when the condition holds.
    pub(crate) active_at: Millis,
    /// Since when it fires; a pending alert does not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fired_at: Option<Millis>,
    /// Since when the condition holds no longer, although the alert fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ceased_at: Option<Millis>,
    /// The last value. It changes with every evaluation, and is not worth writing down.
    #[serde(skip)]
    pub(crate) value: Option<f64>,
}

/// Why an alert has resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reason {
    /// The condition holds no longer.
    ConditionCeased,
    /// There is nothing to evaluate any more.
    NoData,
    /// The rule asks for something else now.
    RuleChanged,
    /// The rule is gone.
    RuleDeleted,
    /// The rule is suspended.
    RuleSuspended,
    /// The receiver is to be told no longer.
    ReceiverRemoved,
}

/// A firing alert that has come to its end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resolved {
    pub(crate) series: Labels,
    pub(crate) alert: Alert,
    pub(crate) at: Millis,
    pub(crate) reason: Reason,
}

/// The alerts of one rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    #[serde(with = "pairs", default, skip_serializing_if = "BTreeMap::is_empty")]
    alerts: BTreeMap<Labels, Alert>,
    /// Label sets that have had a number, and since when they have none; for `noData: alert`.
    #[serde(with = "pairs", default, skip_serializing_if = "BTreeMap::is_empty")]
    seen: BTreeMap<Labels, Option<Millis>>,
    #[serde(skip)]
    last: Last,
}

/// What the last evaluation found; forgotten by a restart.
#[derive(Debug, Clone, Default, PartialEq)]
struct Last {
    /// The value furthest beyond the threshold, or nearest to it.
    value: Option<f64>,
    /// There was nothing.
    empty: bool,
    /// Label sets that were not watched for want of room.
    unwatched: usize,
}

impl Machine {
    /// Whether there is nothing to remember.
    pub(crate) fn is_blank(&self) -> bool {
        self.alerts.is_empty() && self.seen.is_empty()
    }

    /// Alerts that are pending or firing, by the labels of their series.
    pub(crate) fn alerts(&self) -> &BTreeMap<Labels, Alert> {
        &self.alerts
    }

    /// The state of the whole.
    pub(crate) fn state(&self) -> AlertState {
        if self.alerts.values().any(|alert| alert.fired_at.is_some()) {
            AlertState::Firing
        } else if !self.alerts.is_empty() {
            AlertState::Pending
        } else if self.last.empty {
            AlertState::NoData
        } else {
            AlertState::Inactive
        }
    }

    /// The value of the gravest alert, or that of the last evaluation where there is none.
    pub(crate) fn value(&self, operator: Comparison) -> Option<f64> {
        let firing = self.alerts.values().any(|alert| alert.fired_at.is_some());
        let gravest = self.alerts.values().filter(|alert| alert.fired_at.is_some() == firing);
        if self.alerts.is_empty() { self.last.value } else { worst(operator, gravest.filter_map(|alert| alert.value)) }
    }

    /// What the alerts add to the worker's own metrics.
    pub(crate) fn share(&self, ready: Option<bool>) -> Share {
        let firing = self.alerts.values().filter(|alert| alert.fired_at.is_some()).count();
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        Share { pending: count(self.alerts.len() - firing), firing: count(firing), ready }
    }

    /// How many label sets the last evaluation left unwatched, because there are too many alerts.
    pub(crate) fn unwatched(&self) -> usize {
        self.last.unwatched
    }

    /// Takes the values of one time, and gives back what has resolved.
    pub(crate) fn evaluate(&mut self, condition: &Condition, at: Millis, found: &[InstantSeries]) -> Vec<Resolved> {
        let numbers: BTreeMap<&Labels, f64> =
            found.iter().filter(|series| !series.value.is_nan()).map(|series| (&series.labels, series.value)).collect();
        self.remember(condition, at, &numbers);
        self.last = Last {
            value: worst(condition.operator, numbers.values().copied()),
            empty: numbers.is_empty(),
            unwatched: 0,
        };
        let resolved = self.go_on(condition, at, &numbers);
        self.begin(condition, at, &numbers);
        resolved
    }

    /// Ends everything, for a reason that is not in the values.
    pub(crate) fn end(&mut self, at: Millis, reason: Reason) -> Vec<Resolved> {
        let alerts = std::mem::take(self).alerts;
        let firing = alerts.into_iter().filter(|(_, alert)| alert.fired_at.is_some());
        firing.map(|(series, alert)| Resolved { series, alert, at, reason }).collect()
    }

    fn remember(&mut self, condition: &Condition, at: Millis, numbers: &BTreeMap<&Labels, f64>) {
        if condition.no_data != NoData::Alert {
            self.seen.clear();
            return;
        }
        self.seen.retain(|series, gone| {
            if numbers.contains_key(series) {
                *gone = None;
                return true;
            }
            at.saturating_sub(*gone.get_or_insert(at)) <= REMEMBERED
        });
        for series in numbers.keys() {
            if self.seen.len() < MOST_ALERTS && !self.seen.contains_key(*series) {
                self.seen.insert((*series).clone(), None);
            }
        }
    }

    /// Whether the lack of a number counts as if the condition held.
    fn lack_counts(&self, condition: &Condition, series: &Labels, nothing: bool) -> bool {
        condition.no_data == NoData::Alert
            && (self.seen.contains_key(series) || (nothing && self.seen.is_empty() && series.is_empty()))
    }

    /// What becomes of the alerts that there are.
    fn go_on(&mut self, condition: &Condition, at: Millis, numbers: &BTreeMap<&Labels, f64>) -> Vec<Resolved> {
        let mut resolved = Vec::new();
        let mut alerts = std::mem::take(&mut self.alerts);
        alerts.retain(|series, alert| {
            let number = numbers.get(series).copied();
            let holds = match number {
                Some(value) => {
                    let threshold = condition.resolve_threshold.filter(|_| alert.fired_at.is_some());
                    condition.operator.holds(value, condition.threshold)
                        || threshold.is_some_and(|threshold| condition.operator.holds(value, threshold))
                }
                None if condition.no_data == NoData::Keep => return true,
                None => self.lack_counts(condition, series, numbers.is_empty()),
            };
            alert.value = number;
            if alert.go_on(condition, at, holds) {
                return true;
            }
            if alert.fired_at.is_some() {
                let reason = if number.is_some() { Reason::ConditionCeased } else { Reason::NoData };
                resolved.push(Resolved { series: series.clone(), alert: alert.clone(), at, reason });
            }
            false
        });
        self.alerts = alerts;
        resolved
    }

    /// New alerts.
    fn begin(&mut self, condition: &Condition, at: Millis, numbers: &BTreeMap<&Labels, f64>) {
        let holding = numbers
            .iter()
            .filter(|(_, value)| condition.operator.holds(**value, condition.threshold))
            .map(|(series, value)| ((*series).clone(), Some(*value)));
        let whole = Labels::new();
        let lacking = self
            .seen
            .keys()
            .chain([&whole])
            .filter(|series| !numbers.contains_key(series) && self.lack_counts(condition, series, numbers.is_empty()))
            .map(|series| (series.clone(), None));
        let new: BTreeMap<Labels, Option<f64>> =
            holding.chain(lacking).filter(|(series, _)| !self.alerts.contains_key(series)).collect();
        for (series, value) in new {
            if self.alerts.len() == MOST_ALERTS {
                self.last.unwatched += 1;
                continue;
            }
            let fired_at = (condition.hold == 0).then_some(at);
            self.alerts.insert(series, Alert { active_at: at, fired_at, ceased_at: None, value });
        }
    }
}

impl Alert {
    /// Whether the alert goes on.
    fn go_on(&mut self, condition: &Condition, at: Millis, holds: bool) -> bool {
        // A clock that was set back must not make anything last longer than it should.
        self.active_at = self.active_at.min(at);
        self.fired_at = self.fired_at.map(|fired| fired.min(at));
        if holds {
            self.ceased_at = None;
            if self.fired_at.is_none() && at - self.active_at >= condition.hold {
                self.fired_at = Some(at);
            }
            return true;
        }
        let ceased = self.ceased_at.map_or(at, |ceased| ceased.min(at));
        self.ceased_at = Some(ceased);
        self.fired_at.is_some() && at - ceased < condition.keep_firing_for
    }
}

/// Of several values the gravest: the greatest where greater is worse, the least where less is; else the first.
fn worst(operator: Comparison, mut values: impl Iterator<Item = f64>) -> Option<f64> {
    match operator {
        Comparison::Greater | Comparison::GreaterOrEqual => values.reduce(f64::max),
        Comparison::Less | Comparison::LessOrEqual => values.reduce(f64::min),
        Comparison::Equal | Comparison::NotEqual => values.next(),
    }
}

#[cfg(test)]
mod tests;
