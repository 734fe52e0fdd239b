//! Taking in changes of rules and secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use taffrail_crds::{AlertRule, AlertRuleStatus, Kind, Object, ObjectKey, Receiver};
use taffrail_runtime::Change;

use super::deliver::receiver_key;
use super::{Keeper, Rule, rule_key};
use crate::clock::Millis;
use crate::compile::compile;
use crate::machine::Reason;
use crate::status::Readiness;
use crate::telemetry::Share;

impl Keeper {
    pub(super) fn follow(&mut self, change: Change) {
        match change {
            Change::Applied(Object::AlertRule(rule)) => self.apply(rule),
            Change::Deleted(key) if key.kind == Kind::AlertRule => self.delete(&key),
            Change::Applied(object) => self.secret_changed(&object.key()),
            Change::Deleted(key) => self.secret_changed(&key),
        }
    }

    pub(super) fn apply(&mut self, object: Arc<AlertRule>) {
        let key = Object::AlertRule(object.clone()).key();
        let now = self.now();
        let board = self.board.clone();
        let compiled = compile(&object, &self.default_receivers, |name| board.secret(&key.namespace, name));
        let suspended = object.spec.suspend;
        let rule = self.rules.entry(key.clone()).or_insert_with(|| Rule {
            object: object.clone(),
            compiled: None,
            fault: None,
            state: self.leftovers.remove(&key).unwrap_or_default(),
            version: 0,
            running: None,
            evaluated: None,
            error: None,
            delivery: BTreeMap::new(),
            reminded: Millis::MIN,
            readiness: board.get(&key).and_then(|entry| readiness_in(entry.status?)),
            share: Share::default(),
        });
        rule.object = object;
        self.unreported.insert(key.clone());
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(fault) => {
                tracing::warn!(rule = %key, reason = fault.reason, "the rule can't be used: {}", fault.message);
                rule.fault = Some(fault);
                // Whoever suspends a rule wants quiet, whatever else is wrong with it.
                if suspended {
                    rule.halt();
                    rule.compiled = None;
                    let dispatches = rule.state.end(now, Reason::RuleSuspended);
                    self.due.set(&key, None);
                    self.after(&key, dispatches, now);
                }
                return;
            }
        };
        rule.halt();
        rule.fault = None;
        rule.error = None;
        let dispatches = rule.state.adopt(&compiled, now);
        rule.delivery.retain(|receiver, _| compiled.receivers.iter().any(|known| receiver_key(known) == *receiver));
        rule.compiled = Some(Arc::new(compiled));
        self.due.set(&key, (!suspended).then_some(now));
        self.after(&key, dispatches, now);
    }

    fn delete(&mut self, key: &ObjectKey) {
        let now = self.now();
        self.leftovers.remove(key);
        let Some(mut rule) = self.rules.remove(key) else { return };
        rule.halt();
        self.own.share(&mut rule.share, Share::default());
        let dispatches = rule.state.end(now, Reason::RuleDeleted);
        self.post(dispatches, now);
        self.due.set(key, None);
        self.telling.set(key, None);
        self.unreported.remove(key);
        self.note(rule_key(key), None);
    }

    /// A secret is what is wrong with a rule, or is so no longer.
    fn secret_changed(&mut self, secret: &ObjectKey) {
        let uses = |rule: &Rule| {
            let receivers = rule.object.spec.notify.iter().chain(&self.default_receivers);
            receivers.filter_map(Receiver::secret_name).any(|name| name == secret.name)
        };
        let users = self.rules.iter().filter(|(key, rule)| key.namespace == secret.namespace && uses(rule));
        let users: Vec<_> = users.map(|(_, rule)| rule.object.clone()).collect();
        users.into_iter().for_each(|object| self.apply(object));
        self.outbox.retry(&secret.namespace, &secret.name);
    }
}

/// Whether a rule was ready, and since when, by the status that the last run reported.
fn readiness_in(status: serde_json::Value) -> Readiness {
    let status: AlertRuleStatus = serde_json::from_value(status).ok()?;
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some((ready.status == "True", ready.last_transition_time.0.as_millisecond()))
}
