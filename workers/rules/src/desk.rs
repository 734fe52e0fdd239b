//! The desk: what receivers have been told, and what they are to be told next. Pure; time is an argument.
//!
//! Receivers are told of what is, not of what happened: an alert that fires and is not known to them is told of, one that
//! is known to them and fires no longer is told of as resolved. So nothing is lost by a restart, and nothing told twice.
//! Without a grouping each alert is told of at once and by itself. With one, alerts are gathered as Alertmanager does it:
//! a new group waits for `wait`, a group told of for `interval` before it tells of changes, and an unchanged one is told
//! of again after `repeat`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use taffrail_query::Labels;

use crate::clock::Millis;
use crate::notice::{Message, Notice};
use crate::pairs;

/// How alerts are gathered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grouping {
    pub(crate) by: Vec<String>,
    pub(crate) wait: Millis,
    pub(crate) interval: Millis,
    pub(crate) repeat: Millis,
}

/// What the receivers of one rule know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Desk {
    /// Alerts that they know to be firing, by the labels of their series.
    #[serde(with = "pairs", default, skip_serializing_if = "BTreeMap::is_empty")]
    told: BTreeMap<Labels, Notice>,
    /// Alerts that they believe to be firing, but which have resolved.
    #[serde(with = "pairs", default, skip_serializing_if = "BTreeMap::is_empty")]
    ended: BTreeMap<Labels, Notice>,
    #[serde(with = "pairs", default, skip_serializing_if = "BTreeMap::is_empty")]
    groups: BTreeMap<Labels, Group>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Group {
    /// When it was told of last.
    sent: Option<Millis>,
    /// When it is to be told of next, because something has changed.
    due: Option<Millis>,
}

/// The alerts of a group.
#[derive(Default)]
struct Members {
    new: Vec<(Labels, Notice)>,
    told: Vec<Labels>,
    ended: Vec<Labels>,
}

impl Desk {
    pub(crate) fn is_blank(&self) -> bool {
        self.told.is_empty() && self.ended.is_empty() && self.groups.is_empty()
    }

    /// Alerts that receivers know to be firing.
    pub(crate) fn told(&self) -> &BTreeMap<Labels, Notice> {
        &self.told
    }

    /// Alerts that they believe to be firing, but which have resolved.
    pub(crate) fn ended(&self) -> impl Iterator<Item = &Notice> {
        self.ended.values()
    }

    /// Changes how receivers know an alert.
    pub(crate) fn rename(&mut self, series: &Labels, labels: Labels) {
        if let Some(notice) = self.told.get_mut(series) {
            notice.labels = labels;
        }
    }

    /// Notes that an alert has resolved. One that was never told of is forgotten.
    pub(crate) fn resolve(&mut self, series: &Labels, end: impl FnOnce(Notice) -> Notice) {
        if let Some(notice) = self.told.remove(series) {
            self.ended.insert(series.clone(), end(notice));
        }
    }

    /// What is to be told now. `new` are alerts that fire and that receivers may, but do not, know of.
    pub(crate) fn tell(
        &mut self,
        grouping: Option<&Grouping>,
        now: Millis,
        new: Vec<(Labels, Notice)>,
    ) -> Vec<Message> {
        let Some(grouping) = grouping else {
            let mut messages = self.flush(None);
            for (series, notice) in new {
                messages.push(Message::of(notice.clone()));
                self.told.insert(series, notice);
            }
            return messages;
        };
        let members = self.gather(grouping, new);
        self.groups.retain(|key, _| members.contains_key(key));
        let mut messages = Vec::new();
        for (key, members) in members {
            if self.is_due(grouping, now, &key, &members) {
                messages.push(self.tell_group(key, members));
            }
        }
        messages
    }

    /// Tells at once of all that has resolved.
    pub(crate) fn flush(&mut self, by: Option<&[String]>) -> Vec<Message> {
        let ended = std::mem::take(&mut self.ended).into_values();
        let Some(by) = by else {
            self.groups.clear();
            return ended.map(Message::of).collect();
        };
        let mut groups: BTreeMap<Labels, Vec<Notice>> = BTreeMap::new();
        for notice in ended {
            groups.entry(key_of(by, &notice)).or_default().push(notice);
        }
        groups.into_iter().map(|(group, notices)| Message { group, notices }).collect()
    }

    /// When [`Desk::tell`] has something to say next if nothing else happens.
    pub(crate) fn next(&self, grouping: Option<&Grouping>) -> Option<Millis> {
        let grouping = grouping?;
        let next = |group: &Group| group.due.or_else(|| Some(group.sent?.saturating_add(grouping.repeat)));
        self.groups.values().filter_map(next).min()
    }

    fn gather(&self, grouping: &Grouping, new: Vec<(Labels, Notice)>) -> BTreeMap<Labels, Members> {
        let mut members: BTreeMap<Labels, Members> = BTreeMap::new();
        for (series, notice) in &self.told {
            members.entry(key_of(&grouping.by, notice)).or_default().told.push(series.clone());
        }
        for (series, notice) in &self.ended {
            members.entry(key_of(&grouping.by, notice)).or_default().ended.push(series.clone());
        }
        for (series, notice) in new {
            members.entry(key_of(&grouping.by, &notice)).or_default().new.push((series, notice));
        }
        members
    }

    fn is_due(&mut self, grouping: &Grouping, now: Millis, key: &Labels, members: &Members) -> bool {
        let group = self.groups.entry(key.clone()).or_default();
        if members.new.is_empty() && members.ended.is_empty() {
            group.due = None;
            // Members that were told of before they were gathered count from now.
            let sent = group.sent.get_or_insert(now);
            *sent = (*sent).min(now);
            let due = now >= sent.saturating_add(grouping.repeat);
            if due {
                *sent = now;
            }
            return due;
        }
        let waited = now.saturating_add(grouping.wait);
        let due = group.due.unwrap_or_else(|| {
            group.sent.map_or(waited, |sent| waited.max(sent.min(now).saturating_add(grouping.interval)))
        });
        // A clock that was set back must not put it off.
        group.due = Some(due.min(waited.max(now.saturating_add(grouping.interval))));
        if due <= now {
            *group = Group { sent: Some(now), due: None };
        }
        due <= now
    }

    fn tell_group(&mut self, key: Labels, members: Members) -> Message {
        let mut notices = Vec::new();
        for series in members.ended {
            let notice = self.ended.remove(&series);
            // One that fires again has not resolved for those who were not told in between.
            if !members.new.iter().any(|(new, _)| *new == series) {
                notices.extend(notice);
            }
        }
        notices.extend(members.told.iter().filter_map(|series| self.told.get(series)).cloned());
        for (series, notice) in members.new {
            notices.push(notice.clone());
            self.told.insert(series, notice);
        }
        Message { group: key, notices }
    }
}

fn key_of(by: &[String], notice: &Notice) -> Labels {
    let label = |name: &String| Some((name.clone(), notice.labels.get(name)?.clone()));
    by.iter().filter_map(label).collect()
}

#[cfg(test)]
mod tests;
