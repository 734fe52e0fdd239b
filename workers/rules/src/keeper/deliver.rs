//! Deliveries: putting letters into the outbox, starting those that can go, and taking in what came of them.

use taffrail_crds::{Kind, ObjectKey, Receiver};
use tokio::task::{Id, JoinError};

use super::{Keeper, Rule, letter_key};
use crate::clock::Millis;
use crate::notice::Notification;
use crate::outbox::{Letter, Number};
use crate::receivers::{self, Outcome};
use crate::rule::Dispatch;

impl Keeper {
    pub(super) fn post(&mut self, dispatches: Vec<Dispatch>, now: Millis) {
        for Dispatch { receiver, facts, message } in dispatches {
            let notification = Notification::new(&facts, message, &receiver_key(&receiver), now);
            self.put(Letter { receiver, notification, reminder: false });
        }
    }

    pub(super) fn put(&mut self, letter: Letter) {
        let written = if letter.reminder { None } else { serde_json::to_string(&letter).ok() };
        let (number, dropped) = self.outbox.push(letter);
        if let Some(value) = written {
            self.unwritten.insert(letter_key(number), Some(value));
        }
        for (number, letter) in dropped {
            self.note(letter_key(number), None);
            self.own.not_delivered(receivers::kind(&letter.receiver), "overflow");
            self.complain(&letter, "too many others wait, and it was the oldest");
        }
    }

    pub(super) fn start_deliveries(&mut self) {
        let now = self.clock.now();
        while let Some((number, letter)) = self.outbox.take(now.as_millisecond()) {
            let secrets = receivers::secrets(&letter.receiver, |name| {
                self.board.secret(&letter.notification.facts.namespace, name)
            });
            let (client, sent) = (self.client.clone(), letter.clone());
            let task = self.deliveries.spawn(async move {
                receivers::deliver(&client, &sent.receiver, secrets, &sent.notification, now).await
            });
            self.on_the_way.insert(task.id(), (number, letter));
        }
        self.own.waiting.set(i64::try_from(self.outbox.len()).unwrap_or(i64::MAX));
    }

    pub(super) fn delivered(&mut self, done: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match done {
            Ok(done) => done,
            Err(error) => {
                let message = format!("the attempt broke off: {error}");
                (error.id(), Outcome::Again { reason: "broken", message, after: None })
            }
        };
        let Some((number, letter)) = self.on_the_way.remove(&id) else { return };
        let kind = receivers::kind(&letter.receiver);
        match outcome {
            Outcome::Delivered => {
                self.own.delivered(kind);
                self.settle(number, &letter);
                self.with_rule(&letter, |rule| rule.delivery.remove(&receiver_key(&letter.receiver)).is_some());
            }
            Outcome::Refused { reason, message } => {
                self.own.not_delivered(kind, reason);
                self.settle(number, &letter);
                self.complain(&letter, &format!("it is not tried again: {message}"));
            }
            Outcome::Again { reason, message, after } => {
                self.own.not_delivered(kind, reason);
                let (failures, pause) = self.outbox.failed(&letter, self.now(), after);
                let seconds = (pause + 999) / 1_000;
                let message = format!("attempt {failures} failed, the next follows within {seconds} s: {message}");
                self.complain(&letter, &message);
            }
        }
    }

    fn settle(&mut self, number: Number, letter: &Letter) {
        self.outbox.done(letter);
        if !letter.reminder {
            self.note(letter_key(number), None);
        }
    }

    /// Says that a notification did not reach its receiver.
    pub(super) fn complain(&mut self, letter: &Letter, message: &str) {
        let facts = &letter.notification.facts;
        let kind = receivers::kind(&letter.receiver);
        let (rule, namespace, id) = (&facts.name, &facts.namespace, &letter.notification.id);
        tracing::warn!(rule, namespace, receiver = kind, id, "a notification was not delivered: {message}");
        let message = format!("a notification to a receiver of kind {kind} was not delivered; {message}");
        self.with_rule(letter, |rule| {
            rule.delivery.insert(receiver_key(&letter.receiver), message.clone()) != Some(message)
        });
    }

    /// Does something with the rule of a letter, and reports it when that made a difference.
    fn with_rule(&mut self, letter: &Letter, change: impl FnOnce(&mut Rule) -> bool) {
        let facts = &letter.notification.facts;
        let (namespace, name) = (facts.namespace.clone(), facts.name.clone());
        let key = ObjectKey { kind: Kind::AlertRule, namespace, name };
        if self.rules.get_mut(&key).is_some_and(change) {
            self.unreported.insert(key);
        }
    }
}

/// What tells receivers apart.
pub(super) fn receiver_key(receiver: &Receiver) -> String {
    serde_json::to_string(receiver).unwrap_or_default()
}
