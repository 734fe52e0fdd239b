//! Seeing to it that numbers can be found by range even where a text came first.
//!
//! A field's mapping is decided by its first value of the day, and a text's has no place for numbers: giving every text
//! one would nearly double the server's work, since it makes an exception of each text that is no number. So the
//! writer looks which fields have numbers, and asks for that place before it sends the first one of a day.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use elasticsearch::http::Method;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::nodes::{Answer, Body, Nodes};
use super::{index, outcome, template};
use crate::day::days_of_records;
use crate::limits::{MAX_PATH, within};
use crate::{Records, WriteError};

/// So many fields of a day are seen to; a mapping has no room for more.
const MOST_PATHS: usize = 2_000;
/// So many days are remembered.
const MOST_DAYS: usize = 100;

/// The fields of each day that have been seen to.
#[derive(Default)]
pub(super) struct Numbers {
    seen: Mutex<HashMap<i64, HashSet<String>>>,
}

impl Numbers {
    /// Sees to the fields of records that are about to be written. Gives the days that could not be seen to, since there
    /// is no index for them yet.
    pub(super) async fn see_to(
        &self,
        nodes: &Nodes,
        base: &str,
        records: &Records,
    ) -> Result<BTreeSet<i64>, WriteError> {
        let mut absent = BTreeSet::new();
        for (day, paths) in self.unseen(records) {
            let mapped: Map<_, _> = paths.iter().map(|path| (path.clone(), template::keyword_and_number())).collect();
            let mapping = json!({"properties": {"fields": {"subobjects": false, "properties": mapped}}});
            if put(nodes, &format!("{}/_mapping", index::name_of(base, day)), &mapping).await?.status == 404 {
                absent.insert(day);
                continue;
            }
            let mut seen = self.seen.lock();
            if seen.len() > MOST_DAYS {
                seen.clear();
            }
            seen.entry(day).or_default().extend(paths);
        }
        Ok(absent)
    }

    /// Forgets days whose indices are gone.
    pub(super) fn forget(&self, days: &[i64]) {
        let mut seen = self.seen.lock();
        for day in days {
            seen.remove(day);
        }
    }

    /// The fields with numbers that have not been seen to, by day. Days of one write are not told apart: it has one day,
    /// or few.
    fn unseen(&self, records: &Records) -> BTreeMap<i64, HashSet<String>> {
        let mut unseen: BTreeMap<i64, HashSet<String>> = BTreeMap::new();
        let seen = self.seen.lock();
        let nothing = HashSet::new();
        for day in days_of_records(records) {
            let seen = seen.get(&day).unwrap_or(&nothing);
            if seen.len() >= MOST_PATHS || unseen.contains_key(&day) {
                continue;
            }
            let new = records.numbers().filter(|path| is_mappable(path) && !seen.contains(*path));
            let new: HashSet<String> = new.take(MOST_PATHS).map(str::to_owned).collect();
            if !new.is_empty() {
                unseen.insert(day, new);
            }
        }
        unseen
    }
}

fn is_mappable(path: &str) -> bool {
    !path.trim().is_empty() && within(path, MAX_PATH)
}

/// Sends a request that may be refused (the mapping is full, it is not for us to change it): then numbers come to be
/// found as the order of the logs has it, which is no reason to keep them waiting.
async fn put(nodes: &Nodes, path: &str, body: &Value) -> Result<Answer, WriteError> {
    let answer = nodes.send(Method::Put, path, &[], &Body::Json(body.to_string().into())).await;
    let answer = answer?;
    match answer.status {
        401 | 408 | 429 | 500.. => Err(outcome::request_error(&answer)),
        _ => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_seen_to_once_a_day() {
        let record = |time, source: &'static str| crate::Record {
            id: "x".into(),
            timestamp: time,
            source: bytes::Bytes::from_static(source.as_bytes()),
        };
        let numbers = Numbers::default();
        let records: Records = [
            record(0, r#"{"fields":{"a":1,"":2," ":3}}"#),
            record(1, r#"{"fields":{"a":2}}"#),
            record(crate::day::DAY, r#"{"fields":{"a":3}}"#),
        ]
        .into_iter()
        .collect();
        let a: HashSet<String> = ["a".to_owned()].into();
        assert_eq!(numbers.unseen(&records), BTreeMap::from([(0, a.clone()), (1, a.clone())]));
        numbers.seen.lock().insert(0, a.clone());
        assert_eq!(numbers.unseen(&records), BTreeMap::from([(1, a)]));
    }
}
