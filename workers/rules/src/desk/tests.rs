#![allow(clippy::unwrap_used)]

use super::*;
use crate::clock::timestamp;
use crate::machine::Reason;
use crate::notice::Status;
use crate::testing::labels;

const SECOND: Millis = 1_000;

fn notice(series: &str) -> (Labels, Notice) {
    let labels = labels(series);
    let notice = Notice {
        status: Status::Firing,
        labels: labels.clone(),
        annotations: Labels::new(),
        value: Some(1.0),
        starts_at: timestamp(0),
        ends_at: None,
        fingerprint: series.to_owned(),
        reason: None,
    };
    (labels, notice)
}

/// Groups, and in each what is said: `+` fires, `-` has resolved.
fn words(messages: Vec<Message>) -> Vec<String> {
    let word = |notice: &Notice| {
        let sign = if notice.status == Status::Firing { '+' } else { '-' };
        format!("{sign}{}", notice.fingerprint)
    };
    let words = |message: &Message| {
        let group = message.group.values().map(|value| format!("{value}: ")).collect::<String>();
        group + &message.notices.iter().map(word).collect::<Vec<_>>().join(" ")
    };
    messages.iter().map(words).collect()
}

/// A desk and the alerts that fire.
#[derive(Default)]
struct Scene {
    desk: Desk,
    firing: Vec<&'static str>,
}

impl Scene {
    /// Which alerts fire from now on.
    fn fire(&mut self, firing: &[&'static str]) {
        for gone in self.firing.iter().filter(|series| !firing.contains(series)) {
            self.desk.resolve(&labels(gone), |notice| notice.resolved(0, None, Reason::ConditionCeased));
        }
        self.firing = firing.to_vec();
    }

    fn tell(&mut self, grouping: Option<&Grouping>, second: i64) -> Vec<String> {
        let new = self.firing.iter().filter(|series| !self.desk.told().contains_key(&labels(series)));
        let new = new.map(|series| notice(series)).collect();
        // What is known survives a restart at any time.
        self.desk = serde_json::from_str(&serde_json::to_string(&self.desk).unwrap()).unwrap();
        words(self.desk.tell(grouping, second * SECOND, new))
    }
}

#[test]
fn without_a_grouping_each_alert_is_told_of_at_once_and_once() {
    let mut scene = Scene::default();
    scene.fire(&["a=1", "a=2"]);
    assert_eq!(scene.tell(None, 0), ["+a=1", "+a=2"]);
    assert!(scene.tell(None, 1).is_empty());
    scene.fire(&["a=2", "a=3"]);
    assert_eq!(scene.tell(None, 2), ["-a=1", "+a=3"]);
    scene.fire(&["a=1", "a=2", "a=3"]);
    assert_eq!(scene.tell(None, 3), ["+a=1"]);
    assert_eq!(scene.desk.next(None), None);
    // One that nobody was told of is no news when it has resolved.
    scene.fire(&["a=1", "a=2", "a=3", "a=4"]);
    scene.fire(&["a=1", "a=2", "a=3"]);
    assert!(scene.tell(None, 4).is_empty());
    scene.fire(&[]);
    assert_eq!(scene.tell(None, 5), ["-a=1", "-a=2", "-a=3"]);
    assert!(scene.desk.is_blank());
}

#[test]
fn groups_wait_then_gather_and_are_told_of_again() {
    let grouping =
        Grouping { by: vec!["a".to_owned()], wait: 10 * SECOND, interval: 60 * SECOND, repeat: 3_600 * SECOND };
    let by_a = Some(&grouping);
    let mut scene = Scene::default();
    scene.fire(&["a=1,b=1", "a=2,b=1"]);
    assert!(scene.tell(by_a, 0).is_empty());
    assert_eq!(scene.desk.next(by_a), Some(10 * SECOND));
    scene.fire(&["a=1,b=1", "a=1,b=2", "a=2,b=1"]);
    assert!(scene.tell(by_a, 9).is_empty());
    assert_eq!(scene.tell(by_a, 10), ["1: +a=1,b=1 +a=1,b=2", "2: +a=2,b=1"]);
    // One that resolves and fires again before the next time has not resolved for receivers.
    scene.fire(&["a=1,b=1", "a=2,b=1"]);
    assert!(scene.tell(by_a, 20).is_empty());
    scene.fire(&["a=1,b=1", "a=1,b=2", "a=2,b=1"]);
    assert!(scene.tell(by_a, 30).is_empty());
    assert_eq!(scene.desk.next(by_a), Some(70 * SECOND));
    assert_eq!(scene.tell(by_a, 70), ["1: +a=1,b=1 +a=1,b=2"]);
    // Nothing new: again after `repeat`, each group by its own time.
    assert_eq!(scene.desk.next(by_a), Some(3_610 * SECOND));
    assert_eq!(scene.tell(by_a, 3_610), ["2: +a=2,b=1"]);
    assert_eq!(scene.tell(by_a, 3_670), ["1: +a=1,b=1 +a=1,b=2"]);
    // Long after the last message, a change still waits for others.
    scene.fire(&["a=1,b=2"]);
    assert!(scene.tell(by_a, 7_000).is_empty());
    assert_eq!(scene.tell(by_a, 7_010), ["1: -a=1,b=1 +a=1,b=2", "2: -a=2,b=1"]);
    scene.fire(&[]);
    assert!(scene.tell(by_a, 7_011).is_empty());
    assert_eq!(scene.tell(by_a, 7_070), ["1: -a=1,b=2"]);
    scene.tell(by_a, 7_071);
    assert!(scene.desk.is_blank());
    // Over before anybody was told.
    scene.fire(&["a=1,b=1"]);
    assert!(scene.tell(by_a, 8_000).is_empty());
    scene.fire(&[]);
    assert!(scene.tell(by_a, 8_020).is_empty());
    assert!(scene.desk.is_blank());
}

#[test]
fn what_was_told_of_is_gathered_when_a_grouping_comes() {
    let grouping = Grouping { by: Vec::new(), wait: 0, interval: 60 * SECOND, repeat: 600 * SECOND };
    let mut scene = Scene::default();
    scene.fire(&["a=1", "a=2"]);
    assert_eq!(scene.tell(None, 0), ["+a=1", "+a=2"]);
    assert!(scene.tell(Some(&grouping), 10).is_empty());
    assert_eq!(scene.tell(Some(&grouping), 610), ["+a=1 +a=2"]);
    // A clock that is set back puts nothing off for longer than it should.
    scene.fire(&["a=1"]);
    assert!(scene.tell(Some(&grouping), -1_000).is_empty());
    assert_eq!(scene.tell(Some(&grouping), -940), ["-a=2 +a=1"]);
    scene.fire(&[]);
    assert_eq!(words(scene.desk.flush(Some(&[]))), ["-a=1"]);
}
