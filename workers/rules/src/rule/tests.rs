#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::compile::compile;
use crate::notice::Status;
use crate::testing::{START, labels, rule};

/// What a rule says at a time.
#[derive(Debug, Clone)]
struct Version {
    threshold: f64,
    hold: bool,
    label: u8,
    receivers: BTreeSet<u8>,
    silenced: bool,
    suspended: bool,
}

impl Version {
    fn compiled(&self) -> Compiled {
        let notify: Vec<_> =
            self.receivers.iter().map(|receiver| json!({"webhook": {"url": url(*receiver)}})).collect();
        let silences =
            if self.silenced { json!([{"match": {"pod": "a"}, "until": "2027-01-01T00:00:00Z"}]) } else { json!([]) };
        let spec = json!({
            "query": "sum x by pod", "operator": ">", "threshold": self.threshold,
            "for": if self.hold { "10s" } else { "0s" },
            "labels": {"version": self.label.to_string()},
            "notify": notify, "silences": silences, "suspend": self.suspended,
        });
        compile(&rule("rule", &spec), &[], |_| None).unwrap()
    }
}

fn url(receiver: u8) -> String {
    format!("http://receiver-{receiver}")
}

#[derive(Debug, Clone)]
enum Step {
    /// Seconds later, there are these values.
    Values(i64, [Option<f64>; 2]),
    Edit(Version),
    Restart,
    /// The rule is deleted, and another one made of the same name.
    Delete,
}

fn versions() -> impl Strategy<Value = Version> {
    let receivers = proptest::collection::btree_set(0..3_u8, 1..3);
    let often = || prop::bool::weighted(0.3);
    (prop::bool::ANY, often(), 0..2_u8, receivers, often(), prop::bool::weighted(0.1)).prop_map(
        |(low, hold, label, receivers, silenced, suspended)| Version {
            threshold: if low { 9.0 } else { 10.0 },
            hold,
            label,
            receivers,
            silenced,
            suspended,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![1 => Just(None), 8 => (8..13_i32).prop_map(|value| Some(f64::from(value)))];
    let values = (1..20_i64, [value.clone(), value]).prop_map(|(later, values)| Step::Values(later, values));
    let step = prop_oneof![
        10 => values,
        4 => versions().prop_map(Step::Edit),
        2 => Just(Step::Restart),
        1 => Just(Step::Delete),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever happens, each receiver believes what is true: it knows of what fires, unless that is silenced, and of
    /// nothing else; and it is told each thing once.
    #[test]
    fn receivers_know_what_is(first in versions(), steps in steps()) {
        let mut version = first;
        let mut compiled = version.compiled();
        let mut state = RuleState::default();
        let mut now = START.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut silenced_before = version.silenced;
        prop_assert!(state.adopt(&compiled, now).is_empty());
        for step in steps {
            let mut dispatches = Vec::new();
            match step {
                Step::Values(later, values) => {
                    now += later * 1_000;
                    let found = ["pod=a", "pod=b"].into_iter().zip(values);
                    let found: Vec<_> = found
                        .filter_map(|(text, value)| Some(InstantSeries { labels: labels(text), value: value? }))
                        .collect();
                    if !version.suspended {
                        dispatches = state.evaluate(&compiled, now, now, &found);
                    }
                }
                Step::Edit(edit) => {
                    silenced_before |= edit.silenced;
                    version = edit;
                    compiled = version.compiled();
                    dispatches = state.adopt(&compiled, now);
                    if !version.suspended {
                        dispatches.extend(state.tell(&compiled, now));
                    }
                }
                Step::Restart => {
                    let written = if state.is_blank() { "{}".to_owned() } else { serde_json::to_string(&state).unwrap() };
                    state = serde_json::from_str(&written).unwrap();
                    dispatches = state.adopt(&compiled, now);
                }
                Step::Delete => {
                    dispatches = state.end(now, Reason::RuleDeleted);
                    state = RuleState::default();
                    dispatches.extend(state.adopt(&compiled, now));
                }
            }
            for Dispatch { receiver, message, .. } in dispatches {
                let known = known.entry(receiver.webhook.unwrap().url).or_default();
                for notice in message.notices {
                    let pod = notice.labels["pod"].clone();
                    match notice.status {
                        Status::Firing => prop_assert!(known.insert(pod), "told twice"),
                        Status::Resolved => prop_assert!(known.remove(&pod) || silenced_before, "resolved out of nothing"),
                    }
                }
            }
            let firing = state.machine.alerts().iter().filter(|(_, alert)| alert.fired_at.is_some());
            let firing: BTreeSet<_> = firing.map(|(series, _)| series["pod"].clone()).collect();
            for receiver in 0..3 {
                let known = known.get(&url(receiver)).cloned().unwrap_or_default();
                if !version.receivers.contains(&receiver) {
                    prop_assert!(known.is_empty(), "{receiver} is told no longer, and believes {known:?}");
                    continue;
                }
                prop_assert!(known.is_subset(&firing), "{known:?} {firing:?}");
                let unknown: BTreeSet<_> = firing.difference(&known).cloned().collect();
                let silent = if silenced_before { BTreeSet::from(["a".to_owned()]) } else { BTreeSet::new() };
                prop_assert!(unknown.is_subset(&silent), "{known:?} {firing:?}");
                if !version.silenced && !silenced_before {
                    prop_assert_eq!(&known, &firing);
                }
            }
        }
    }
}

#[test]
fn an_alert_that_was_never_told_of_is_shown_with_all_its_labels_when_it_has_resolved() {
    let version = Version {
        threshold: 10.0,
        hold: false,
        label: 1,
        receivers: BTreeSet::from([0]),
        silenced: true,
        suspended: false,
    };
    let compiled = version.compiled();
    let mut state = RuleState::default();
    state.adopt(&compiled, 0);
    let found = |value| [InstantSeries { labels: labels("pod=a"), value }];
    assert!(state.evaluate(&compiled, 0, 0, &found(11.0)).is_empty());
    assert!(state.evaluate(&compiled, 30_000, 30_000, &found(1.0)).is_empty());
    let [shown] = state.recent.as_slice() else { panic!("one") };
    assert_eq!(shown.labels, labels("alertname=rule,pod=a,version=1"));
    assert_eq!((shown.value, shown.resolved_at.as_deref()), (Some(1.0), Some("1970-01-01T00:00:30Z")));
    assert!(is_recent(shown, 30_000 + RECENT) && !is_recent(shown, 30_001 + RECENT));
}
