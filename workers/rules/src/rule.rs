//! A rule over time: its alerts, what receivers know of them, and what edits make of both. Pure; time is an argument.
//!
//! An edit of the query, the comparison with the threshold, the window or `for` makes another condition: what fires
//! resolves, and the rule starts anew. Everything else (labels, annotations, receivers, grouping, silences, `interval`,
//! `evalDelay`, `keepFiringFor`, `resolveThreshold`, `noData`, name) leaves alerts as they are.

use serde::{Deserialize, Serialize};
use taffrail_crds::{AlertState, AlertStatus, Receiver};
use taffrail_query::{InstantSeries, Labels};

use crate::clock::{Millis, timestamp};
use crate::compile::Compiled;
use crate::desk::Desk;
use crate::machine::{Machine, Reason, Resolved};
use crate::notice::{Facts, Message, Notice};

/// Alerts that are shown after they have resolved, at most, and for how long.
const MOST_RECENT: usize = 10;
const RECENT: Millis = 15 * 60_000;

/// A message and whom it is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dispatch {
    pub(crate) receiver: Receiver,
    pub(crate) facts: Facts,
    pub(crate) message: Message,
}

/// What survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RuleState {
    /// What the alerts are alerts of. There is none as long as there are no alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    basis: Option<Basis>,
    #[serde(default)]
    pub(crate) machine: Machine,
    #[serde(default)]
    desk: Desk,
    /// Alerts that resolved not long ago, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) recent: Vec<AlertStatus>,
}

/// What must be known of a rule to end its alerts once it is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Basis {
    identity: String,
    facts: Facts,
    /// Those who were told.
    receivers: Vec<Receiver>,
    /// Labels that all alerts have.
    labels: Labels,
    /// The labels that alerts are gathered by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<Vec<String>>,
}

impl Basis {
    fn of(compiled: &Compiled) -> Self {
        Self {
            identity: compiled.identity.clone(),
            facts: compiled.facts.clone(),
            receivers: compiled.receivers.clone(),
            labels: compiled.labels_of(&Labels::new()),
            by: compiled.grouping.as_ref().map(|grouping| grouping.by.clone()),
        }
    }

    /// For some of its receivers.
    fn only(&self, wanted: impl Fn(&Receiver) -> bool) -> Self {
        let receivers = self.receivers.iter().filter(|receiver| wanted(receiver)).cloned().collect();
        Self { receivers, ..self.clone() }
    }

    fn dispatch(&self, messages: Vec<Message>) -> Vec<Dispatch> {
        let to_all = messages.into_iter().flat_map(|message| {
            let to = move |receiver: &Receiver| (receiver.clone(), message.clone());
            self.receivers.iter().map(to).collect::<Vec<_>>()
        });
        to_all.map(|(receiver, message)| Dispatch { receiver, facts: self.facts.clone(), message }).collect()
    }
}

impl RuleState {
    /// Whether there is nothing that a restart must not lose.
    pub(crate) fn is_blank(&self) -> bool {
        self.machine.is_blank() && self.desk.is_blank() && self.recent.is_empty()
    }

    /// Goes on with another version of the rule.
    pub(crate) fn adopt(&mut self, compiled: &Compiled, now: Millis) -> Vec<Dispatch> {
        let mut dispatches = Vec::new();
        if compiled.suspended {
            dispatches = self.end(now, Reason::RuleSuspended);
        } else if let Some(basis) = self.basis.take() {
            if basis.identity != compiled.identity {
                self.basis = Some(basis);
                dispatches = self.end(now, Reason::RuleChanged);
            } else {
                dispatches.extend(self.part(&basis, compiled, now));
                dispatches.extend(self.welcome(&basis, compiled, now));
                dispatches.extend(self.rename(&basis, compiled, now));
            }
        }
        self.basis = Some(Basis::of(compiled));
        dispatches
    }

    /// Ends all alerts.
    pub(crate) fn end(&mut self, now: Millis, reason: Reason) -> Vec<Dispatch> {
        let resolved = self.machine.end(now, reason);
        self.note(resolved);
        let messages = self.desk.flush(self.basis.as_ref().and_then(|basis| basis.by.as_deref()));
        self.basis.as_ref().map(|basis| basis.dispatch(messages)).unwrap_or_default()
    }

    /// Takes the values of one time.
    pub(crate) fn evaluate(
        &mut self,
        compiled: &Compiled,
        at: Millis,
        now: Millis,
        found: &[InstantSeries],
    ) -> Vec<Dispatch> {
        let resolved = self.machine.evaluate(&compiled.condition, at, found);
        self.note(resolved);
        self.tell(compiled, now)
    }

    /// What is to be told now.
    pub(crate) fn tell(&mut self, compiled: &Compiled, now: Millis) -> Vec<Dispatch> {
        self.recent.retain(|alert| is_recent(alert, now));
        let mut new = Vec::new();
        for (series, alert) in self.machine.alerts() {
            let known = alert.fired_at.is_none() || self.desk.told().contains_key(series);
            if !known && !compiled.is_silenced(&compiled.labels_of(series), now) {
                new.push((series.clone(), compiled.notice(series, alert)));
            }
        }
        let messages = self.desk.tell(compiled.grouping.as_ref(), now, new);
        self.basis.as_ref().map(|basis| basis.dispatch(messages)).unwrap_or_default()
    }

    /// When there is something to be told if nothing else happens.
    pub(crate) fn next(&self, compiled: &Compiled, now: Millis) -> Option<Millis> {
        let firing = self.machine.alerts().iter().filter(|(_, alert)| alert.fired_at.is_some());
        let untold = firing.filter(|(series, _)| !self.desk.told().contains_key(*series)).count();
        let unsilenced = if untold > 0 { compiled.next_end_of_silence(now) } else { None };
        [self.desk.next(compiled.grouping.as_ref()), unsilenced].into_iter().flatten().min()
    }

    /// Whether receivers know of no alert.
    pub(crate) fn nobody_knows(&self) -> bool {
        self.desk.told().is_empty()
    }

    /// All that receivers know to be firing, as it is now; for those who forget what they are not told again.
    pub(crate) fn reminder(&self, compiled: &Compiled) -> Option<Message> {
        let firing = self.desk.told().keys().filter_map(|series| Some((series, self.machine.alerts().get(series)?)));
        let notices: Vec<_> = firing.map(|(series, alert)| compiled.notice(series, alert)).collect();
        (!notices.is_empty()).then(|| Message { group: Labels::new(), notices })
    }

    /// Tells receivers that are to be told no longer that everything is over.
    fn part(&self, basis: &Basis, compiled: &Compiled, now: Millis) -> Vec<Dispatch> {
        let over = |notice: &Notice| notice.clone().resolved(now, notice.value, Reason::ReceiverRemoved);
        let told = self.desk.told().values().map(over);
        let messages = told.chain(self.desk.ended().cloned()).map(Message::of).collect();
        basis.only(|receiver| !compiled.receivers.contains(receiver)).dispatch(messages)
    }

    /// Tells new receivers what the others know.
    fn welcome(&self, basis: &Basis, compiled: &Compiled, now: Millis) -> Vec<Dispatch> {
        let told = self.desk.told().values().filter(|notice| !compiled.is_silenced(&notice.labels, now));
        let messages = told.cloned().map(Message::of).collect();
        Basis::of(compiled).only(|receiver| !basis.receivers.contains(receiver)).dispatch(messages)
    }

    /// Takes over other labels of the rule. Alertmanager knows an alert by its labels: there, the old one must end.
    fn rename(&mut self, basis: &Basis, compiled: &Compiled, now: Millis) -> Vec<Dispatch> {
        if basis.labels == compiled.labels_of(&Labels::new()) {
            return Vec::new();
        }
        let mut messages = Vec::new();
        for (series, old) in self.desk.told().clone() {
            let labels = compiled.labels_of(&series);
            let new = Notice { labels: labels.clone(), ..old.clone() };
            let value = old.value;
            let over = old.resolved(now, value, Reason::RuleChanged);
            messages.push(Message { group: Labels::new(), notices: vec![over, new] });
            self.desk.rename(&series, labels);
        }
        let by_labels = |receiver: &Receiver| receiver.alertmanager.is_some() && basis.receivers.contains(receiver);
        Basis::of(compiled).only(by_labels).dispatch(messages)
    }

    /// Notes what has resolved.
    fn note(&mut self, resolved: Vec<Resolved>) {
        for Resolved { series, alert, at, reason } in resolved {
            let mut labels = series.clone();
            labels.extend(self.basis.iter().flat_map(|basis| basis.labels.clone()));
            let mut shown = AlertStatus {
                labels,
                state: AlertState::Inactive,
                value: alert.value.filter(|value| value.is_finite()),
                active_at: Some(timestamp(alert.active_at).to_string()),
                fired_at: alert.fired_at.map(|fired| timestamp(fired).to_string()),
                resolved_at: Some(timestamp(at).to_string()),
                ..AlertStatus::default()
            };
            self.desk.resolve(&series, |notice| {
                shown.labels.clone_from(&notice.labels);
                shown.annotations.clone_from(&notice.annotations);
                notice.resolved(at, alert.value, reason)
            });
            self.recent.insert(0, shown);
        }
        self.recent.truncate(MOST_RECENT);
    }
}

/// Whether a resolved alert is still to be shown.
pub(crate) fn is_recent(alert: &AlertStatus, now: Millis) -> bool {
    let resolved = alert.resolved_at.as_ref().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    resolved.is_some_and(|at| now.saturating_sub(at.as_millisecond()) <= RECENT)
}

#[cfg(test)]
mod tests;
