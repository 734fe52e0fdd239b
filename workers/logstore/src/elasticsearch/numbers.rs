//! Seeing to it that numbers can be found by range even where a text came first.
//!
//! A field's mapping is decided by its first value of the day, and a text's has no place for numbers: giving every text
//! one would nearly double the server's work, since it makes an exception of each text that is no number. So the
//! writer looks which fields have numbers, and asks for that place before it sends the first one of a day.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use elasticsearch::http::Method;
use parking_lot::Mutex;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use super::nodes::{Answer, Body, Nodes};
use super::{index, outcome, template};
use crate::day::day_of;
use crate::limits::{MAX_PATH, within};
use crate::{Record, WriteError};

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
        records: &[Record],
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

    /// The fields with numbers that have not been seen to, by day.
    fn unseen(&self, records: &[Record]) -> BTreeMap<i64, HashSet<String>> {
        let mut unseen: BTreeMap<i64, HashSet<String>> = BTreeMap::new();
        let seen = self.seen.lock();
        let nothing = HashSet::new();
        for record in records {
            let Some(day) = day_of(record.timestamp) else { continue };
            let seen = seen.get(&day).unwrap_or(&nothing);
            visit_numbers(&record.source, &mut |path| {
                if seen.contains(path) || seen.len() >= MOST_PATHS || !is_mappable(path) {
                    return;
                }
                let unseen = unseen.entry(day).or_default();
                if unseen.len() < MOST_PATHS && !unseen.contains(path) {
                    unseen.insert(path.to_owned());
                }
            });
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
    let answer = answer.map_err(|error| WriteError::Unavailable(error.to_string()))?;
    match answer.status {
        401 | 408 | 429 | 500.. => Err(outcome::request_error(&answer)),
        _ => Ok(answer),
    }
}

/// Calls `visit` with the path of every number in the fields of a log. What is no log has none.
fn visit_numbers(source: &[u8], visit: &mut impl FnMut(&str)) {
    let mut path = String::new();
    let mut source = serde_json::Deserializer::from_slice(source);
    // An error is for the server to find, which says it better.
    let _ = source.deserialize_map(Log { path: &mut path, visit });
}

/// A log, of which only the fields count.
struct Log<'a, F> {
    path: &'a mut String,
    visit: &'a mut F,
}

impl<'de, F: FnMut(&str)> Visitor<'de> for Log<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a log")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            if key == "fields" {
                members.next_value_seed(Node { path: &mut *self.path, visit: &mut *self.visit })?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// A value in the fields, at this path.
struct Node<'a, F> {
    path: &'a mut String,
    visit: &'a mut F,
}

impl<'de, F: FnMut(&str)> DeserializeSeed<'de> for Node<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&str)> Visitor<'de> for Node<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let length = self.path.len();
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(&key);
            members.next_value_seed(Node { path: &mut *self.path, visit: &mut *self.visit })?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(Node { path: &mut *self.path, visit: &mut *self.visit })?.is_some() {}
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        (self.visit)(self.path);
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        (self.visit)(self.path);
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        (self.visit)(self.path);
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        let mut paths = Vec::new();
        visit_numbers(source.as_bytes(), &mut |path| paths.push(path.to_owned()));
        paths
    }

    #[test]
    fn numbers_are_found_wherever_they_are() {
        let source = r#"{"n":1,"fields":{"a":1,"b":{"c":-2.5,"d":"3"},"e":[4,["x",{"f":5e0}]],"g":null,"h":true,"i.j":6},"tags":{"t":1}}"#;
        assert_eq!(paths(source), ["a", "b.c", "e", "e.f", "i.j"]);
    }

    #[test]
    fn what_is_no_log_has_none() {
        for source in ["", "[1]", "{\"fields\":", "{\"fields\":7}", "{}", "nonsense"] {
            assert!(paths(source).iter().all(String::is_empty), "{source}");
        }
    }

    #[test]
    fn every_field_is_seen_to_once_a_day() {
        let record = |time, source: &str| Record {
            id: "x".into(),
            timestamp: time,
            source: bytes::Bytes::copy_from_slice(source.as_bytes()),
        };
        let numbers = Numbers::default();
        let records = [
            record(0, r#"{"fields":{"a":1,"":2," ":3}}"#),
            record(1, r#"{"fields":{"a":2}}"#),
            record(crate::day::DAY, r#"{"fields":{"a":3}}"#),
        ];
        let a: HashSet<String> = ["a".to_owned()].into();
        assert_eq!(numbers.unseen(&records), BTreeMap::from([(0, a.clone()), (1, a.clone())]));
        numbers.seen.lock().insert(0, a.clone());
        assert_eq!(numbers.unseen(&records), BTreeMap::from([(1, a)]));
    }
}
