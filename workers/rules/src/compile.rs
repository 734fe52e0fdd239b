//! From an `AlertRule` to a rule that can run. Pure: secrets come from a function.

use std::collections::BTreeMap;

use taffrail_crds::{AlertRule, AlertRuleSpec, DEFAULT_NAMESPACE, Duration, Receiver, SecretData};
use taffrail_query::{Labels, MatchOp, ShortQuery};

use crate::clock::{Millis, timestamp};
use crate::desk::Grouping;
use crate::machine::{Alert, Condition};
use crate::notice::{Facts, Notice, Status, fingerprint};
use crate::receivers;
use crate::template::{self, Subject};

/// The label that says which rule an alert is of, as Prometheus has it.
const ALERT_NAME: &str = "alertname";

/// Rules that ask for less are evaluated so often.
const SHORTEST_INTERVAL: Millis = 100;

/// What is wrong with a rule: a word that never changes, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The word, as it stands in conditions.
    pub reason: &'static str,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl Fault {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// A rule that can run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Compiled {
    pub(crate) facts: Facts,
    pub(crate) query: ShortQuery,
    pub(crate) window: std::time::Duration,
    pub(crate) eval_delay: Millis,
    pub(crate) condition: Condition,
    /// What an edit must leave alone for alerts to go on: the query, the comparison, the window and `for`.
    pub(crate) identity: String,
    /// Labels that every series has, because the query asks for them.
    asked: Labels,
    /// The rule's own labels.
    pub(crate) labels: Labels,
    annotations: BTreeMap<String, String>,
    /// Those that can be told.
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) grouping: Option<Grouping>,
    silences: Vec<(Labels, Millis)>,
    pub(crate) suspended: bool,
    /// What is wrong without keeping the rule from running.
    pub(crate) faults: Vec<Fault>,
}

/// What is wrong with a rule by itself, whatever the secrets are that it names.
#[must_use]
pub fn check(rule: &AlertRule) -> Vec<Fault> {
    let mut faults = match compile(rule, &[], |_| None) {
        Ok(compiled) => compiled.faults,
        Err(fault) => vec![fault],
    };
    faults.retain(|fault| fault.reason != "SecretNotFound");
    faults
}

/// Checks a rule.
///
/// # Errors
/// What keeps it from running.
pub(crate) fn compile(
    rule: &AlertRule,
    default_receivers: &[Receiver],
    secret: impl Fn(&str) -> Option<SecretData>,
) -> Result<Compiled, Fault> {
    let spec = &rule.spec;
    let query = query_of(spec)?;
    let (Some(operator), Some(threshold)) = (spec.operator, spec.threshold) else {
        return Err(Fault::new(
            "InvalidCondition",
            "`query` needs `operator` and `threshold`, such as operator: \">\" and threshold: 10",
        ));
    };
    if !threshold.is_finite() || spec.resolve_threshold.is_some_and(|threshold| !threshold.is_finite()) {
        return Err(Fault::new("InvalidCondition", "`threshold` and `resolveThreshold` must be finite numbers"));
    }
    let name = rule.metadata.name.clone().unwrap_or_default();
    let facts = Facts {
        namespace: rule.metadata.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
        title: spec.name.clone().unwrap_or_else(|| name.clone()),
        name,
        query: query.to_string(),
        operator,
        threshold,
        interval: spec.interval.as_millis().max(SHORTEST_INTERVAL),
    };
    let wanted = if spec.notify.is_empty() { default_receivers } else { &spec.notify };
    let (receivers, faults) = receivers_of(wanted, secret);
    let compiled = Compiled {
        identity: format!("{query} {} {threshold:?} over {} for {}", operator.symbol(), spec.duration, spec.hold,),
        condition: Condition {
            operator,
            threshold,
            resolve_threshold: spec.resolve_threshold,
            hold: spec.hold.as_millis(),
            keep_firing_for: spec.keep_firing_for.as_millis(),
            no_data: spec.no_data,
        },
        window: spec.duration.0,
        eval_delay: spec.eval_delay.as_millis(),
        asked: asked_for(&query),
        labels: spec.labels.clone(),
        annotations: spec.annotations.clone(),
        receivers,
        grouping: spec.group.as_ref().map(|group| Grouping {
            by: group.by.clone(),
            wait: group.wait.as_millis(),
            interval: group.interval.as_millis(),
            repeat: group.repeat.as_millis(),
        }),
        silences: spec
            .silences
            .iter()
            .map(|silence| (silence.matches.clone(), silence.until.0.as_millisecond()))
            .collect(),
        suspended: spec.suspend,
        faults,
        facts,
        query,
    };
    compiled.check_templates()?;
    Ok(compiled)
}

fn query_of(spec: &AlertRuleSpec) -> Result<ShortQuery, Fault> {
    let unsupported = |message| Err(Fault::new("UnsupportedQuery", message));
    if spec.expr.is_some() {
        return unsupported(
            "`expr` can't be evaluated yet; write the query in the short form, such as query: rate error_count by \
             service, with operator and threshold",
        );
    }
    if spec.logs.is_some() {
        return unsupported(
            "`logs` can't be evaluated yet; count the logs as a metric in the LogPipeline (spec.metrics), and ask for \
             that metric with `query`",
        );
    }
    let Some(query) = &spec.query else {
        return Err(Fault::new("InvalidQuery", "there is no `query`; write one such as rate error_count service=api"));
    };
    query.parse().map_err(|error: taffrail_query::QueryError| Fault::new("InvalidQuery", error.to_string()))
}

/// Receivers that can be told, and what is wrong with any. One that lacks its secret is told as soon as that is there.
fn receivers_of(wanted: &[Receiver], secret: impl Fn(&str) -> Option<SecretData>) -> (Vec<Receiver>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut usable = Vec::new();
    for receiver in wanted {
        match receivers::check(receiver) {
            Ok(()) => {
                faults.extend(receivers::secrets(receiver, &secret).err());
                if !usable.contains(receiver) {
                    usable.push(receiver.clone());
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
    (usable, faults)
}

/// Labels that a query fixes to one value: its alerts are about them as much as about those of `by`.
fn asked_for(query: &ShortQuery) -> Labels {
    let equal = query.matchers.iter().filter(|matcher| matches!(matcher.op, MatchOp::Equal));
    let fixed = equal.filter(|matcher| !matcher.value.is_empty());
    fixed.map(|matcher| (matcher.label.clone(), matcher.value.clone())).collect()
}

impl Compiled {
    fn check_templates(&self) -> Result<(), Fault> {
        let by = self.query.by.iter().map(|label| (label.clone(), "sample".to_owned()));
        let labels = self.labels_of(&by.collect());
        let sample = Subject {
            labels: &labels,
            value: Some(self.facts.threshold),
            threshold: self.facts.threshold,
            rule: &self.facts.title,
        };
        for (name, source) in &self.annotations {
            template::check(source, sample)
                .map_err(|error| Fault::new("InvalidTemplate", format!("annotation `{name}`: {error}")))?;
        }
        Ok(())
    }

    /// The labels of an alert: those of its series, and over them those of the rule.
    pub(crate) fn labels_of(&self, series: &Labels) -> Labels {
        let mut labels = self.asked.clone();
        labels.extend(series.iter().map(|(name, value)| (name.clone(), value.clone())));
        labels.extend(self.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        // An empty value is as good as no label.
        labels.retain(|_, value| !value.is_empty());
        labels.entry(ALERT_NAME.to_owned()).or_insert_with(|| self.facts.title.clone());
        labels
    }

    /// The texts of an alert.
    pub(crate) fn annotations_of(&self, labels: &Labels, value: Option<f64>) -> BTreeMap<String, String> {
        let subject = Subject { labels, value, threshold: self.facts.threshold, rule: &self.facts.title };
        template::render(&self.annotations, subject)
    }

    /// A firing alert, as receivers see it.
    pub(crate) fn notice(&self, series: &Labels, alert: &Alert) -> Notice {
        let labels = self.labels_of(series);
        Notice {
            status: Status::Firing,
            annotations: self.annotations_of(&labels, alert.value),
            labels,
            value: alert.value,
            starts_at: timestamp(alert.fired_at.unwrap_or(alert.active_at)),
            ends_at: None,
            fingerprint: fingerprint(&self.facts, series),
            reason: None,
        }
    }

    /// Whether nobody is to be told of an alert with these labels.
    pub(crate) fn is_silenced(&self, labels: &Labels, now: Millis) -> bool {
        let matches =
            |wanted: &Labels| wanted.iter().all(|(name, value)| labels.get(name).is_some_and(|is| is == value));
        self.silences.iter().any(|(wanted, until)| now < *until && matches(wanted))
    }

    /// When a silence ends that there is now.
    pub(crate) fn next_end_of_silence(&self, now: Millis) -> Option<Millis> {
        self.silences.iter().map(|(_, until)| *until).filter(|until| *until > now).min()
    }

    /// How long an evaluation may take.
    pub(crate) fn patience(&self) -> std::time::Duration {
        const SHORTEST: Duration = Duration::from_secs(1);
        const LONGEST: Duration = Duration::from_secs(30);
        let interval = u64::try_from(self.facts.interval).unwrap_or(u64::MAX);
        std::time::Duration::from_millis(interval).clamp(SHORTEST.0, LONGEST.0)
    }
}

#[cfg(test)]
mod tests;
