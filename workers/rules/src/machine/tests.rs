#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::testing::labels;

const BASE: Condition = Condition {
    operator: Comparison::Greater,
    threshold: 10.0,
    resolve_threshold: None,
    hold: 0,
    keep_firing_for: 0,
    no_data: NoData::Ok,
};

fn series(values: &[(&str, f64)]) -> Vec<InstantSeries> {
    values.iter().map(|(text, value)| InstantSeries { labels: labels(text), value: *value }).collect()
}

/// One letter for each alert that there is: `p`ending or `F`iring.
fn letters(machine: &Machine) -> String {
    let letter = |alert: &Alert| if alert.fired_at.is_some() { 'F' } else { 'p' };
    machine.alerts().values().map(letter).collect()
}

/// Evaluates values one second apart; `None` is no data. Gives back what there is after each.
fn run(condition: &Condition, values: &[Option<f64>]) -> String {
    let mut machine = Machine::default();
    let mut seen = Vec::new();
    for (second, value) in (0..).zip(values) {
        let found = value.map(|value| series(&[("", value)])).unwrap_or_default();
        machine.evaluate(condition, second * 1_000, &found);
        let letters = letters(&machine);
        seen.push(if letters.is_empty() { "-".to_owned() } else { letters });
    }
    seen.concat()
}

#[rstest::rstest]
#[case::at_once(BASE, "5 11 10 11", "-F-F")]
#[case::hold(Condition { hold: 2_000, ..BASE }, "11 11 11 11 5 11 5", "ppFF-p-")]
#[case::keep(Condition { keep_firing_for: 2_000, ..BASE }, "11 5 5 5 11 5 11 5 5 5", "FFF-FFFFF-")]
#[case::pending_is_not_kept(Condition { hold: 2_000, keep_firing_for: 9_000, ..BASE }, "11 5", "p-")]
#[case::hysteresis(Condition { resolve_threshold: Some(8.0), ..BASE }, "9 11 9 8.5 8 9", "-FFF--")]
#[case::hysteresis_is_for_firing_ones(
    Condition { resolve_threshold: Some(8.0), hold: 2_000, ..BASE }, "11 9 11 11 11 9 8", "p-ppFF-"
)]
#[case::below(
    Condition { operator: Comparison::Less, threshold: 1.0, resolve_threshold: Some(2.0), ..BASE },
    "1 0.5 1.5 2", "-FF-"
)]
#[case::lack_is_fine(Condition { hold: 1_000, ..BASE }, "11 11 _ 11 _", "pF-p-")]
#[case::lack_of_a_kept_one(Condition { keep_firing_for: 2_000, ..BASE }, "11 _ _ _", "FFF-")]
#[case::lack_changes_nothing(
    Condition { no_data: NoData::Keep, hold: 2_000, ..BASE }, "_ 11 _ _ 11 _ _ 5 _", "-pppFFF--"
)]
#[case::lack_counts(Condition { no_data: NoData::Alert, hold: 2_000, ..BASE }, "5 _ _ _ 5 _ 11 11", "-ppF-ppF")]
#[case::lack_from_the_start(Condition { no_data: NoData::Alert, ..BASE }, "_ _ 5", "FF-")]
#[case::not_a_number_is_no_data(Condition { no_data: NoData::Alert, ..BASE }, "5 NaN 5", "-F-")]
#[case::equal(Condition { operator: Comparison::Equal, threshold: 0.0, ..BASE }, "0 1 0 _", "F-F-")]
#[case::infinite(BASE, "inf -inf", "F-")]
fn one_number(#[case] condition: Condition, #[case] values: &str, #[case] expected: &str) {
    let values: Vec<_> = values.split(' ').map(|value| value.parse().ok()).collect();
    assert_eq!(run(&condition, &values), expected);
}

#[test]
fn label_sets_are_on_their_own_and_vanished_ones_are_remembered_for_a_day() {
    let condition = Condition { no_data: NoData::Alert, ..BASE };
    let mut machine = Machine::default();
    machine.evaluate(&condition, 0, &series(&[("pod=a", 1.0), ("pod=b", 20.0), ("pod=c", 1.0)]));
    assert_eq!(machine.alerts().keys().collect::<Vec<_>>(), [&labels("pod=b")]);
    // One vanishes, then all; the whole is no alert of its own.
    machine.evaluate(&condition, 1_000, &series(&[("pod=b", 20.0), ("pod=c", 1.0)]));
    assert_eq!(letters(&machine), "FF");
    machine.evaluate(&condition, 2_000, &[]);
    assert_eq!(machine.alerts().keys().cloned().collect::<Vec<_>>(), ["pod=a", "pod=b", "pod=c"].map(labels));
    // `a` has been away for a day.
    let resolved = machine.evaluate(&condition, 1_001 + REMEMBERED, &[]);
    assert_eq!(resolved.len(), 1);
    assert_eq!((&resolved[0].series, resolved[0].reason), (&labels("pod=a"), Reason::NoData));
    assert_eq!(letters(&machine), "FF");
}

#[test]
fn alerts_are_bounded_and_those_that_there_are_keep_their_place() {
    let mut machine = Machine::default();
    let many = |from: usize, to: usize| {
        let label = |number: usize| labels(&format!("n={number:05}"));
        (from..to).map(|number| InstantSeries { labels: label(number), value: 11.0 }).collect::<Vec<_>>()
    };
    machine.evaluate(&BASE, 0, &many(500, 1_400));
    assert_eq!((machine.alerts().len(), machine.unwatched()), (900, 0));
    machine.evaluate(&BASE, 1_000, &many(0, 1_400));
    assert_eq!((machine.alerts().len(), machine.unwatched()), (MOST_ALERTS, 400));
    assert!(many(500, 1_400).iter().all(|series| machine.alerts().contains_key(&series.labels)));
}

#[test]
fn state_and_value_are_those_of_the_gravest() {
    let condition = Condition { hold: 1_000, ..BASE };
    let mut machine = Machine::default();
    let mut step = |at, values: &[(&str, f64)]| {
        machine.evaluate(&condition, at, &series(values));
        (machine.state(), machine.value(condition.operator))
    };
    assert_eq!(step(0, &[]), (AlertState::NoData, None));
    assert_eq!(step(1_000, &[("a=1", 3.0), ("a=2", 7.0)]), (AlertState::Inactive, Some(7.0)));
    assert_eq!(step(2_000, &[("a=1", 11.0), ("a=2", 7.0)]), (AlertState::Pending, Some(11.0)));
    assert_eq!(step(3_000, &[("a=1", 12.0), ("a=2", 99.0)]), (AlertState::Firing, Some(12.0)));
    assert_eq!(worst(Comparison::LessOrEqual, [3.0, 1.0, 2.0].into_iter()), Some(1.0));
}

/// What is asked of the machine.
#[derive(Debug, Clone)]
enum Step {
    /// Milliseconds later, there is a value for each of two label sets, or none.
    Values(Millis, [Option<f64>; 2]),
    /// The process ends and begins anew.
    Restart,
    /// The rule becomes another one.
    Edit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Around the thresholds 8 and 10, so that each comes to matter.
    let value =
        prop_oneof![2 => Just(None), 1 => Just(Some(f64::NAN)), 12 => (6..13_i32).prop_map(|n| Some(f64::from(n)))];
    let values = (1..4_000_i64, [value.clone(), value]).prop_map(|(later, values)| Step::Values(later, values));
    proptest::collection::vec(prop_oneof![20 => values, 2 => Just(Step::Restart), 1 => Just(Step::Edit)], 1..60)
}

fn conditions() -> impl Strategy<Value = Condition> {
    let operator = prop_oneof![
        Just((Comparison::Greater, Some(8.0))),
        Just((Comparison::GreaterOrEqual, None)),
        Just((Comparison::Less, Some(11.0))),
        Just((Comparison::LessOrEqual, None)),
        Just((Comparison::Equal, None)),
        Just((Comparison::NotEqual, None)),
    ];
    let lengths = (prop_oneof![Just(0), 1..9_000_i64], prop_oneof![Just(0), 1..9_000_i64]);
    let no_data = prop_oneof![Just(NoData::Ok), Just(NoData::Alert), Just(NoData::Keep)];
    (operator, lengths, no_data).prop_map(|((operator, resolve_threshold), (hold, keep_firing_for), no_data)| {
        Condition { operator, threshold: 10.0, resolve_threshold, hold, keep_firing_for, no_data }
    })
}

/// The obvious way: looks at the whole history of one label set each time, and remembers nothing in between. Gives back
/// since when the condition holds and since when the alert fires.
fn model(condition: &Condition, history: &[(Millis, Option<f64>)]) -> Option<(Millis, Option<Millis>)> {
    // Times that say nothing are as if nobody had looked.
    let ignored = |value: Option<f64>| value.is_none() && condition.no_data == NoData::Keep;
    let told: Vec<_> = history.iter().copied().filter(|(_, value)| !ignored(*value)).collect();
    let ever = |index: usize| told[..=index].iter().any(|(_, value)| value.is_some());
    let lack_counts = |index: usize| condition.no_data == NoData::Alert && ever(index);
    let holds = |index: usize, threshold: f64| match told[index].1 {
        Some(value) => condition.operator.holds(value, threshold),
        None => lack_counts(index),
    };
    let begins = |index: usize| holds(index, condition.threshold);
    let goes_on =
        |index: usize| begins(index) || condition.resolve_threshold.is_some_and(|threshold| holds(index, threshold));
    let time = |index: usize| told[index].0;

    let mut start = 0;
    'episodes: while start < told.len() {
        if !begins(start) {
            start += 1;
            continue;
        }
        // It fires at the first time that is late enough, if the condition holds at all times up to it.
        let mut fires = start;
        while time(fires) - time(start) < condition.hold {
            fires += 1;
            if fires == told.len() {
                return Some((time(start), None));
            }
            if !begins(fires) {
                start = fires;
                continue 'episodes;
            }
        }
        // It ends at the first time by which it has not gone on for long enough.
        let end = (fires + 1..told.len()).find(|index| {
            let last_good = (fires..=*index).rev().find(|index| goes_on(*index) || *index == fires).unwrap();
            *index > last_good && time(*index) - time(last_good + 1) >= condition.keep_firing_for
        });
        match end {
            None => return Some((time(start), Some(time(fires)))),
            Some(end) => start = end + 1,
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_does_what_the_obvious_model_does(condition in conditions(), steps in steps()) {
        let names = ["pod=a", "pod=b"].map(labels);
        let mut machine = Machine::default();
        let mut histories = [Vec::new(), Vec::new()];
        let mut firing: [bool; 2] = [false; 2];
        let mut now = 1_700_000_000_000;
        for step in steps {
            let resolved = match step {
                Step::Restart => {
                    let written = serde_json::to_string(&machine).unwrap();
                    machine = serde_json::from_str(&written).unwrap();
                    continue;
                }
                Step::Edit => {
                    histories = [Vec::new(), Vec::new()];
                    machine.end(now, Reason::RuleChanged)
                }
                Step::Values(later, values) => {
                    now += later;
                    let mut found = Vec::new();
                    for index in [0, 1] {
                        let number = values[index].filter(|value| !value.is_nan());
                        histories[index].push((now, number));
                        let labels = names[index].clone();
                        found.extend(values[index].map(|value| InstantSeries { labels, value }));
                    }
                    machine.evaluate(&condition, now, &found)
                }
            };
            for index in [0, 1] {
                let alert = machine.alerts().get(&names[index]).map(|alert| (alert.active_at, alert.fired_at));
                let expected = model(&condition, &histories[index]);
                prop_assert_eq!(alert, expected, "{:?}", histories[index]);
                // What fired and does so no longer is given back as resolved, once.
                let fires = expected.is_some_and(|(_, fired)| fired.is_some());
                let ended = resolved.iter().filter(|resolved| resolved.series == names[index]).count();
                prop_assert_eq!(ended, usize::from(firing[index] && !fires));
                firing[index] = fires;
            }
        }
    }
}
