#![allow(clippy::unwrap_used)]

use taffrail_crds::{Comparison, Webhook};
use taffrail_query::Labels;

use super::*;
use crate::notice::Facts;

fn letter(to: &str, id: &str) -> Letter {
    let webhook = Webhook { url: to.to_owned(), headers: BTreeMap::new(), secret_name: Some("s".to_owned()) };
    let facts = Facts {
        namespace: "shop".to_owned(),
        name: "rule".to_owned(),
        title: "Rule".to_owned(),
        query: "sum x".to_owned(),
        operator: Comparison::Greater,
        threshold: 1.0,
        interval: 30_000,
    };
    let notification = Notification { id: id.to_owned(), facts, group: Labels::new(), notices: Vec::new() };
    Letter { receiver: Receiver { webhook: Some(webhook), ..Receiver::default() }, notification, reminder: false }
}

fn taken(outbox: &mut Outbox, now: Millis) -> Vec<String> {
    std::iter::from_fn(|| outbox.take(now)).map(|(_, letter)| letter.notification.id).collect()
}

#[test]
fn a_lane_is_one_after_another_and_lanes_do_not_wait_for_each_other() {
    let mut outbox = Outbox::default();
    for (to, id) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("a", "a3")] {
        outbox.push(letter(to, id));
    }
    assert_eq!(taken(&mut outbox, 0), ["a1", "b1"]);
    assert_eq!(outbox.next(), None);
    outbox.done(&letter("b", "b1"));
    let (failures, pause) = outbox.failed(&letter("a", "a1"), 0, None);
    assert!(failures == 1 && (500..=1_000).contains(&pause), "{pause}");
    assert_eq!(outbox.next(), Some(pause));
    outbox.push(letter("b", "b2"));
    assert_eq!(taken(&mut outbox, 0), ["b2"]);
    assert_eq!(taken(&mut outbox, pause), ["a1"]);
    // The next one after a failure goes without a pause.
    outbox.done(&letter("a", "a1"));
    assert_eq!(taken(&mut outbox, pause), ["a2"]);
    assert_eq!(outbox.len(), 3);
    // What went through makes failures count from one again.
    assert_eq!(outbox.failed(&letter("a", "a2"), 0, None).0, 1);
}

#[test]
fn pauses_grow_to_five_minutes_and_heed_the_receiver() {
    let mut outbox = Outbox::default();
    outbox.push(letter("a", "a1"));
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..40 {
        assert_eq!(taken(&mut outbox, now), ["a1"]);
        let (_, pause) = outbox.failed(&letter("a", "a1"), now, None);
        pauses.push(pause);
        now += pause;
    }
    for (number, pause) in (0..).zip(&pauses) {
        let longest = (1_000_i64 << number.min(20)).min(300_000);
        assert!((longest / 2..=longest).contains(pause), "{pauses:?}");
    }
    assert_eq!(taken(&mut outbox, now), ["a1"]);
    let (_, pause) = outbox.failed(&letter("a", "a1"), now, Some(Duration::from_secs(86_400)));
    assert_eq!(pause, LONGEST_PAUSE);
    // A secret that comes, or a clock that is set back, ends the pause.
    outbox.retry("shop", "other");
    assert!(taken(&mut outbox, now).is_empty());
    outbox.clock_set_back(now - 1_000_000);
    assert_eq!(outbox.next(), Some(now - 1_000_000 + LONGEST_PAUSE));
    outbox.retry("shop", "s");
    assert_eq!(taken(&mut outbox, now - 1_000_000), ["a1"]);
}

#[test]
fn a_full_lane_drops_the_oldest_that_is_not_on_its_way() {
    let mut outbox = Outbox::default();
    for number in 0..MOST_WAITING {
        assert!(outbox.push(letter("a", &number.to_string())).1.is_empty());
    }
    assert_eq!(taken(&mut outbox, 0), ["0"]);
    let (_, dropped) = outbox.push(letter("a", "last"));
    assert_eq!(dropped[0].1.notification.id, "1");
    outbox.done(&letter("a", "0"));
    assert_eq!(taken(&mut outbox, 0), ["2"]);
    outbox.failed(&letter("a", "2"), 0, None);
    outbox.push(letter("a", "x"));
    let (_, dropped) = outbox.push(letter("a", "y"));
    assert_eq!(dropped[0].1.notification.id, "2");
    assert_eq!(outbox.len(), MOST_WAITING);
}

#[test]
fn a_lane_is_bounded_by_alerts_too_but_never_drops_what_has_just_come() {
    let mut outbox = Outbox::default();
    let crowd = |id: &str, alerts: usize| {
        let notice = crate::notice::Notice {
            status: crate::notice::Status::Firing,
            labels: Labels::new(),
            annotations: Labels::new(),
            value: None,
            starts_at: crate::clock::timestamp(0),
            ends_at: None,
            fingerprint: String::new(),
            reason: None,
        };
        let mut letter = letter("a", id);
        letter.notification.notices = vec![notice; alerts];
        letter
    };
    assert!(outbox.push(crowd("1", 4_000)).1.is_empty());
    assert!(outbox.push(crowd("2", 6_000)).1.is_empty());
    let (_, dropped) = outbox.push(crowd("3", 1));
    assert_eq!((dropped.len(), dropped[0].1.notification.id.as_str()), (1, "1"));
    assert_eq!(outbox.push(crowd("4", MOST_ALERTS_WAITING + 1)).1.len(), 2);
    assert_eq!((taken(&mut outbox, 0), outbox.len()), (vec!["4".to_owned()], 1));
}

#[test]
fn what_was_written_down_keeps_its_order() {
    let mut outbox = Outbox::default();
    for number in [7, 9, 12] {
        outbox.restore(number, letter("a", &number.to_string()));
    }
    let (number, _) = outbox.push(letter("a", "new"));
    assert_eq!(number, 13);
    let mut order = Vec::new();
    while let Some((_, letter)) = outbox.take(0) {
        outbox.done(&letter);
        order.push(letter.notification.id);
    }
    assert_eq!(order, ["7", "9", "12", "new"]);
    assert_eq!((outbox.len(), outbox.next()), (0, None));
}

#[test]
fn no_more_than_some_are_under_way() {
    let mut outbox = Outbox::default();
    for number in 0..=MOST_UNDER_WAY {
        outbox.push(letter(&number.to_string(), &number.to_string()));
    }
    let taken = taken(&mut outbox, 0);
    assert_eq!((taken.len(), outbox.next()), (MOST_UNDER_WAY, None));
    outbox.done(&letter(&taken[0], &taken[0]));
    assert_eq!(outbox.next(), Some(0));
}
