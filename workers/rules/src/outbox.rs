//! The outbox: notifications that no receiver has acknowledged yet. Pure; time is an argument.
//!
//! Each receiver has its lane. In a lane, notifications go one after another in the order in which they were put there;
//! one that can't be delivered now holds the others up, and is tried again after longer and longer pauses, for as long as
//! it takes. A lane is bounded: what overflows it is dropped, the oldest first.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use taffrail_crds::Receiver;

use crate::clock::Millis;
use crate::notice::Notification;

/// Notifications that wait for one receiver, at most.
const MOST_WAITING: usize = 1_000;

/// Alerts that they tell of together, at most; it bounds the memory that they take.
const MOST_ALERTS_WAITING: usize = 10_000;

/// Lanes that are under way at the same time.
const MOST_UNDER_WAY: usize = 32;

/// The pause after the first failure, and the longest.
const FIRST_PAUSE: Millis = 1_000;
const LONGEST_PAUSE: Millis = 300_000;

/// A notification on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) receiver: Receiver,
    pub(crate) notification: Notification,
    /// It only repeats what is known, and is not worth writing down.
    #[serde(default, skip)]
    pub(crate) reminder: bool,
}

/// Tells a letter from all others; grows with time.
pub(crate) type Number = u64;

/// Letters by receiver.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    lanes: BTreeMap<String, Lane>,
    under_way: usize,
    next: Number,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<(Number, Letter)>,
    /// How many alerts those waiting tell of.
    alerts: usize,
    /// The first of those waiting is being delivered.
    busy: bool,
    failures: u32,
    not_before: Millis,
}

impl Outbox {
    /// How many letters wait.
    pub(crate) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }

    /// Puts back a letter that was written down.
    pub(crate) fn restore(&mut self, number: Number, letter: Letter) {
        self.next = self.next.max(number + 1);
        let lane = self.lanes.entry(lane_of(&letter)).or_default();
        lane.alerts += letter.notification.notices.len();
        lane.waiting.push_back((number, letter));
    }

    /// Adds a letter. Gives back its number, and what had to go for it.
    pub(crate) fn push(&mut self, letter: Letter) -> (Number, Vec<(Number, Letter)>) {
        let number = self.next;
        self.next += 1;
        let lane = self.lanes.entry(lane_of(&letter)).or_default();
        lane.alerts += letter.notification.notices.len();
        lane.waiting.push_back((number, letter));
        // The first may be on its way, and the last must not go for itself.
        let oldest = usize::from(lane.busy);
        let mut dropped = Vec::new();
        while (lane.waiting.len() > MOST_WAITING || lane.alerts > MOST_ALERTS_WAITING)
            && lane.waiting.len() > oldest + 1
        {
            let Some(one) = lane.waiting.remove(oldest) else { break };
            lane.alerts -= one.1.notification.notices.len();
            dropped.push(one);
        }
        (number, dropped)
    }

    /// Whether a reminder of a rule waits for a receiver.
    pub(crate) fn has_reminder(&self, letter: &Letter) -> bool {
        let facts = &letter.notification.facts;
        let same = |other: &Letter| {
            let known = &other.notification.facts;
            other.reminder && known.namespace == facts.namespace && known.name == facts.name
        };
        self.lanes.get(&lane_of(letter)).is_some_and(|lane| lane.waiting.iter().any(|(_, letter)| same(letter)))
    }

    /// A letter that can be delivered now; it is under way until it is settled.
    pub(crate) fn take(&mut self, now: Millis) -> Option<(Number, Letter)> {
        if self.under_way == MOST_UNDER_WAY {
            return None;
        }
        let ready = |lane: &&mut Lane| !lane.busy && lane.not_before <= now && !lane.waiting.is_empty();
        let lane = self.lanes.values_mut().find(ready)?;
        lane.busy = true;
        self.under_way += 1;
        lane.waiting.front().cloned()
    }

    /// Notes that a letter was delivered, or never will be.
    pub(crate) fn done(&mut self, letter: &Letter) {
        let key = lane_of(letter);
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        self.under_way -= 1;
        lane.waiting.pop_front();
        lane.alerts -= letter.notification.notices.len();
        if lane.waiting.is_empty() {
            self.lanes.remove(&key);
        } else {
            (lane.busy, lane.failures, lane.not_before) = (false, 0, 0);
        }
    }

    /// Notes that a letter could not be delivered. Gives back how often that happened in a row, and the pause.
    pub(crate) fn failed(&mut self, letter: &Letter, now: Millis, after: Option<Duration>) -> (u32, Millis) {
        let Some(lane) = self.lanes.get_mut(&lane_of(letter)) else { return (0, 0) };
        self.under_way -= 1;
        lane.busy = false;
        lane.failures = lane.failures.saturating_add(1);
        let asked = after.map_or(0, |after| Millis::try_from(after.as_millis()).unwrap_or(LONGEST_PAUSE));
        let pause = pause(lane.failures, &letter.notification.id).max(asked.min(LONGEST_PAUSE));
        lane.not_before = now.saturating_add(pause);
        (lane.failures, pause)
    }

    /// Lets all lanes of a namespace that use a secret try again at once.
    pub(crate) fn retry(&mut self, namespace: &str, secret: &str) {
        for lane in self.lanes.values_mut() {
            let uses = |(_, letter): &(Number, Letter)| {
                letter.notification.facts.namespace == namespace && letter.receiver.secret_name() == Some(secret)
            };
            if lane.waiting.front().is_some_and(uses) {
                lane.not_before = Millis::MIN;
            }
        }
    }

    /// Does not wait longer than the longest pause, whatever has become of the clock.
    pub(crate) fn clock_set_back(&mut self, now: Millis) {
        for lane in self.lanes.values_mut() {
            lane.not_before = lane.not_before.min(now.saturating_add(LONGEST_PAUSE));
        }
    }

    /// When the next letter can be tried.
    pub(crate) fn next(&self) -> Option<Millis> {
        if self.under_way == MOST_UNDER_WAY {
            return None;
        }
        self.lanes.values().filter(|lane| !lane.busy && !lane.waiting.is_empty()).map(|lane| lane.not_before).min()
    }
}

/// Receivers are told apart by all that they say; secrets are looked up in the namespace of the rule.
fn lane_of(letter: &Letter) -> String {
    let receiver = serde_json::to_string(&letter.receiver).unwrap_or_default();
    format!("{}\0{receiver}", letter.notification.facts.namespace)
}

/// Twice as long each time, less up to half of it: letters that failed together are not tried again together.
fn pause(failures: u32, id: &str) -> Millis {
    let longest = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(LONGEST_PAUSE);
    let random = crc32fast::hash(format!("{id} {failures}").as_bytes());
    longest - longest / 2 * Millis::from(random % 1_000) / 1_000
}

#[cfg(test)]
mod tests;
