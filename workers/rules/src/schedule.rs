//! When rules are evaluated. Pure; time is an argument.
//!
//! A rule is evaluated at fixed times: every `interval`, shifted by a number that its key decides, so that rules of the
//! same interval don't all ask at once and each asks at the same times after a restart.

use std::collections::{BTreeMap, BTreeSet};

use taffrail_crds::ObjectKey;

use crate::clock::Millis;

/// The first time after `after` at which a rule is evaluated.
pub(crate) fn next(key: &ObjectKey, interval: Millis, after: Millis) -> Millis {
    after.saturating_add(interval - (after - shift(key, interval)).rem_euclid(interval))
}

/// The last time up to and including `now` at which a rule is evaluated.
pub(crate) fn last(key: &ObjectKey, interval: Millis, now: Millis) -> Millis {
    now - (now - shift(key, interval)).rem_euclid(interval)
}

fn shift(key: &ObjectKey, interval: Millis) -> Millis {
    let spread = crc32fast::hash(format!("{}/{}", key.namespace, key.name).as_bytes());
    // The fraction of the interval, so that short and long ones are spread alike.
    let shift = i128::from(spread) * i128::from(interval) / (1_i128 << 32);
    Millis::try_from(shift).unwrap_or(0)
}

/// What is due when; each key once.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    times: BTreeMap<ObjectKey, Millis>,
    order: BTreeSet<(Millis, ObjectKey)>,
}

impl Queue {
    /// Makes a key due at a time, and at no other.
    pub(crate) fn set(&mut self, key: &ObjectKey, at: Option<Millis>) {
        let before = match at {
            Some(at) => self.times.insert(key.clone(), at),
            None => self.times.remove(key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.order.insert((at, key.clone()));
        }
    }

    /// The next key that is due by `now`, and when it was due.
    pub(crate) fn take(&mut self, now: Millis) -> Option<(Millis, ObjectKey)> {
        let (at, _) = self.order.first()?;
        if *at > now {
            return None;
        }
        let (at, key) = self.order.pop_first()?;
        self.times.remove(&key);
        Some((at, key))
    }

    /// When the next key is due.
    pub(crate) fn next(&self) -> Option<Millis> {
        self.order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use taffrail_crds::Kind;

    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { kind: Kind::AlertRule, namespace: "shop".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn times_are_one_interval_apart_and_spread() {
        let mut buckets = [0; 10];
        for number in 0..1_000 {
            let key = key(&format!("rule-{number}"));
            for interval in [1, 7, 30_000, 86_400_000] {
                let now = 1_700_000_000_123;
                let next_time = next(&key, interval, now);
                assert!(next_time > now && next_time <= now + interval);
                assert_eq!(next(&key, interval, next_time), next_time + interval);
                assert_eq!(next(&key, interval, next_time - 1), next_time);
                assert_eq!(last(&key, interval, next_time), next_time);
                assert_eq!(last(&key, interval, next_time - 1), next_time - interval);
            }
            let bucket = next(&key, 30_000, 0) % 30_000 / 3_000;
            buckets[usize::try_from(bucket).expect("positive")] += 1;
        }
        assert!(buckets.iter().all(|count| (60..140).contains(count)), "{buckets:?}");
    }

    #[test]
    fn a_queue_gives_each_key_once_in_order_of_time() {
        let mut queue = Queue::default();
        for (name, at) in [("a", 30), ("b", 20), ("c", 10), ("a", 15), ("b", 40)] {
            queue.set(&key(name), Some(at));
        }
        queue.set(&key("c"), None);
        assert_eq!(queue.next(), Some(15));
        assert_eq!(queue.take(14), None);
        assert_eq!(queue.take(100), Some((15, key("a"))));
        assert_eq!(queue.take(100), Some((40, key("b"))));
        assert_eq!((queue.take(100), queue.next()), (None, None));
    }
}
