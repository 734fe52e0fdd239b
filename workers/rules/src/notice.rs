//! What receivers are told.

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use taffrail_crds::Comparison;
use taffrail_query::Labels;

use crate::clock::{Millis, timestamp};
use crate::machine::Reason;

/// What all alerts of a rule share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) namespace: String,
    /// The object's name.
    pub(crate) name: String,
    /// The name that people see.
    pub(crate) title: String,
    /// The query in its canonical form.
    pub(crate) query: String,
    pub(crate) operator: Comparison,
    pub(crate) threshold: f64,
    pub(crate) interval: Millis,
}

/// Whether an alert fires or has resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Firing,
    Resolved,
}

impl Status {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One alert, as receivers see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notice {
    pub(crate) status: Status,
    pub(crate) labels: Labels,
    pub(crate) annotations: Labels,
    pub(crate) value: Option<f64>,
    /// Since when it fires.
    pub(crate) starts_at: Timestamp,
    /// When it resolved.
    pub(crate) ends_at: Option<Timestamp>,
    /// Tells the alert from all others, whatever becomes of the rule's own labels.
    pub(crate) fingerprint: String,
    /// Why it has resolved.
    pub(crate) reason: Option<Reason>,
}

impl Notice {
    /// The same alert at its end.
    pub(crate) fn resolved(mut self, at: Millis, value: Option<f64>, reason: Reason) -> Self {
        self.status = Status::Resolved;
        self.ends_at = Some(timestamp(at));
        self.value = value;
        self.reason = Some(reason);
        self
    }
}

/// Alerts that one notification is to tell of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    /// The labels that they were gathered by.
    pub(crate) group: Labels,
    /// Never empty.
    pub(crate) notices: Vec<Notice>,
}

impl Message {
    /// A message of one alert.
    pub(crate) fn of(notice: Notice) -> Self {
        Self { group: Labels::new(), notices: vec![notice] }
    }
}

/// A message to one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Notification {
    /// The same for every attempt to deliver it.
    pub(crate) id: String,
    pub(crate) facts: Facts,
    pub(crate) group: Labels,
    pub(crate) notices: Vec<Notice>,
}

impl Notification {
    /// A notification made at a time; `receiver` tells receivers apart.
    pub(crate) fn new(facts: &Facts, message: Message, receiver: &str, at: Millis) -> Self {
        let mut text = format!("{}\0{}\0{receiver}\0{at}", facts.namespace, facts.name);
        for notice in &message.notices {
            let ends = notice.ends_at.unwrap_or_default();
            text.push_str(&format!("\0{}\0{}\0{}\0{ends}", notice.status.word(), notice.fingerprint, notice.starts_at));
        }
        let Message { group, notices } = message;
        Self { id: hash(&text, 16), facts: facts.clone(), group, notices }
    }

    /// Firing as long as one alert does.
    pub(crate) fn status(&self) -> Status {
        let firing = self.notices.iter().any(|notice| notice.status == Status::Firing);
        if firing { Status::Firing } else { Status::Resolved }
    }
}

/// What tells an alert from all others: the rule and the labels of the series.
pub(crate) fn fingerprint(facts: &Facts, series: &Labels) -> String {
    let mut text = format!("{}\0{}", facts.namespace, facts.name);
    for (name, value) in series {
        text.push_str(&format!("\0{name}\0{value}"));
    }
    hash(&text, 8)
}

/// The first bytes of the SHA-256 of a text, in hexadecimal digits.
fn hash(text: &str, bytes: usize) -> String {
    hex(&digest(&SHA256, text.as_bytes()).as_ref()[..bytes])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
