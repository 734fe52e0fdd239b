//! What must hold whatever bytes come: each of these panics where it does not. `cargo fuzz` looks for such bytes, and
//! tests go through the seeds that it starts from (`fuzz/`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;
use serde_json::{Map, Number, Value, json};
use taffrail_crds::{Format, LogPipelineSpec};
use taffrail_logstore::scan::{Leaf, Member, Path, Scanner, Text, Visit};
use taffrail_logstore::{LogEntry, Records};

use crate::batch::{Batch, Batcher, Room, Sender};
use crate::decode::canonical::{Key, Reader};
use crate::decode::{self, Mapped, timestamp};
use crate::lane::{Book, Identity, Lane, Ledger, Mark};
use crate::record::Filling;

/// 2024-08-16T12:00:00Z.
const NOON: i64 = 1_723_809_600_000;

/// How deep values in `fields` may be inside each other: so that nobody's parser gives up.
const MAX_DEPTH: usize = 125;

/// Where the library ends that checks times here, nearly a day before the year 9999 does. No store takes such logs.
const LAST: i64 = 253_402_207_200_000;

/// A record, in a pipeline of each format.
///
/// # Panics
/// When something does not hold.
pub fn decode(data: &[u8]) {
    for format in [Format::Json, Format::Text] {
        through_the_pipeline(data, format);
    }
    let Ok(text) = decode::text(data) else { return };
    as_it_is(text);
    if let Ok(mapped) = decode::json(text, NOON) {
        read_again(&mapped);
    }
    let line = decode::line(text, NOON);
    assert!(text.starts_with(&line.entry.message), "{text:?}");
    read_again(&line);
    time(text);
}

/// A body of the http source: its first byte says as what it comes, and how it is compressed.
///
/// # Panics
/// When something does not hold.
pub fn bodies(data: &[u8]) {
    crate::source::check_body(data);
}

/// An entry passes as the bytes it came in exactly if it is one to a JSON parser, too; and to that it is the same.
fn as_it_is(text: &str) {
    let wanted = ["level", "service", "host", "message", "tags.a", "fields.a", "fields.a.b"].map(Key::read);
    let wanted: Vec<Key> = wanted.into_iter().flatten().collect();
    let (mut reader, mut numbers) = (Reader::new(wanted.clone()), Records::default());
    let read = reader.read(text, &mut numbers);
    let (read, entry) = match (read, by_parser(text)) {
        (None, None) => return,
        (None, Some(_)) => panic!("a log entry is not taken as one: {text:?}"),
        (Some(_), None) => panic!("taken for a log entry: {text:?}"),
        (Some(read), Some(entry)) => (read, entry),
    };
    assert!(entry.milliseconds() == Some(read) || read >= LAST, "{text:?}");
    let mapped = decode::json(text, 0).expect("an entry is an object");
    assert_eq!(mapped, Mapped { entry: entry.clone(), millis: read }, "mapping an entry changes nothing: {text:?}");

    let mut found = Found { record: text, leaves: Vec::new() };
    assert!(Scanner::default().scan(text, &mut found));
    let mut expected = leaves(&entry);
    found.leaves.sort();
    expected.sort();
    // Of keys that come twice the last one counts to a parser.
    if found.leaves.len() != expected.len() {
        return;
    }
    assert_eq!(found.leaves, expected, "{text:?}");
    let is_number = |leaf: &&FoundLeaf| leaf.kind == "number";
    let paths: BTreeSet<&str> = expected.iter().filter(is_number).map(|leaf| leaf.path.as_str()).collect();
    assert_eq!(numbers.numbers().collect::<BTreeSet<_>>(), paths, "{text:?}");
    for (index, key) in wanted.iter().enumerate() {
        let path = match key {
            Key::Level => "level".to_owned(),
            Key::Service => "service".to_owned(),
            Key::Host => "host".to_owned(),
            Key::Message => "message".to_owned(),
            Key::Tag(tag) => format!("tags.{tag}"),
            Key::Field(path) => path.clone(),
        };
        let is_field = matches!(key, Key::Field(_));
        let mut there = expected.iter().filter(|leaf| leaf.path == path && leaf.is_field == is_field && !leaf.in_array);
        // A key with a dot beside an object of the same path: which of both is meant is left open.
        let (Some(leaf), None) = (there.next(), there.next()) else { continue };
        let picked = reader.picked(text).get(index).map(|scalar| scalar.text().into_owned());
        let is_there = leaf.kind != "null" && !leaf.text.is_empty();
        assert_eq!(picked, is_there.then(|| leaf.text.clone()), "{key:?} of {text:?}");
    }
}

/// The entry that a record is to a JSON parser, where it is one that may stay as it is.
fn by_parser(text: &str) -> Option<LogEntry> {
    // Escaped keys can't be borrowed: they are left to the mapping.
    let members: BTreeMap<&str, &RawValue> = serde_json::from_str(text).ok()?;
    let known = ["timestamp", "level", "message", "service", "host", "tags", "fields"];
    if !members.keys().all(|key| known.contains(key)) {
        return None;
    }
    let entry: LogEntry = serde_json::from_str(text).ok()?;
    let is_level = ["", "debug", "info", "warn", "error"].contains(&entry.level.as_str());
    (is_level && timestamp::canonical_millis(&entry.timestamp).is_some()).then_some(entry)
}

/// Whatever entry is made is stored as one, is read as the same, and would be made again.
fn read_again(Mapped { entry, millis }: &Mapped) {
    let text = serde_json::to_string(entry).expect("JSON");
    if entry.fields.values().all(|value| depth(value) <= MAX_DEPTH) {
        let read = Reader::default().read(&text, &mut Records::default());
        assert_eq!(read, Some(*millis), "{text:?}");
    }
    let Ok(again) = decode::json(&text, 0) else {
        // One level more than the parser takes: `fields` is around what was at the top.
        assert!(entry.fields.values().any(|value| depth(value) > MAX_DEPTH), "{text:?}");
        return;
    };
    assert_eq!(again.millis, *millis, "{text:?}");
    let fields = |entry: &LogEntry| Value::Object(entry.fields.clone());
    assert!(is_alike(&fields(&again.entry), &fields(entry)), "{text:?}");
    assert_eq!(LogEntry { fields: Map::new(), ..again.entry }, LogEntry { fields: Map::new(), ..entry.clone() });
}

/// Whether values are the same, up to how exactly the parser reads numbers of more than fifteen digits.
fn is_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| is_alike(value, other)))
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap_or_default(), other.as_f64().unwrap_or_default());
            (one - other).abs() <= one.abs() * 1e-14
        }
        (one, other) => one == other,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A text, tag or leaf: the entry's own, or in `fields`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FoundLeaf {
    is_field: bool,
    path: String,
    in_array: bool,
    kind: &'static str,
    text: String,
}

impl FoundLeaf {
    fn own(path: String, text: String) -> Self {
        Self { is_field: false, path, in_array: false, kind: "text", text }
    }
}

/// All that the scanner tells.
struct Found<'a> {
    record: &'a str,
    leaves: Vec<FoundLeaf>,
}

impl Visit for Found<'_> {
    fn member(&mut self, member: Member, text: &Text) {
        if member != Member::Timestamp && !text.range.is_empty() {
            let name = format!("{member:?}").to_lowercase();
            self.leaves.push(FoundLeaf::own(name, text.of(self.record).into_owned()));
        }
    }

    fn tag(&mut self, key: &Text, value: &Text) {
        let (key, value) = (key.of(self.record), value.of(self.record).into_owned());
        self.leaves.push(FoundLeaf::own(format!("tags.{key}"), value));
    }

    fn leaf(&mut self, path: &Path<'_, '_>, leaf: Leaf) {
        let mut keys = String::new();
        path.write(&mut keys);
        let (kind, text) = match leaf {
            Leaf::Text(text) => ("text", text.of(self.record).into_owned()),
            Leaf::Number(range) => {
                let number: Number = self.record[range].parse().expect("a number");
                ("number", number.to_string())
            }
            Leaf::Bool(truth) => ("bool", truth.to_string()),
            Leaf::Null => ("null", String::new()),
        };
        self.leaves.push(FoundLeaf { is_field: true, path: keys, in_array: path.in_array, kind, text });
    }
}

/// What the scanner should tell of an entry, as far as the entry has it.
fn leaves(entry: &LogEntry) -> Vec<FoundLeaf> {
    fn walk(path: &str, in_array: bool, value: &Value, found: &mut Vec<FoundLeaf>) {
        let (kind, text) = match value {
            Value::Array(items) => return items.iter().for_each(|item| walk(path, true, item, found)),
            Value::Object(members) => {
                let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                return members.iter().for_each(|(key, value)| walk(&below(key), in_array, value, found));
            }
            Value::String(text) => ("text", text.clone()),
            Value::Number(number) => ("number", number.to_string()),
            Value::Bool(truth) => ("bool", truth.to_string()),
            Value::Null => ("null", String::new()),
        };
        found.push(FoundLeaf { is_field: true, path: path.to_owned(), in_array, kind, text });
    }
    let mut found = Vec::new();
    let own =
        [("level", &entry.level), ("message", &entry.message), ("service", &entry.service), ("host", &entry.host)];
    let own = own.into_iter().filter(|(_, text)| !text.is_empty());
    found.extend(own.map(|(name, text)| FoundLeaf::own(name.to_owned(), text.clone())));
    found.extend(entry.tags.iter().map(|(key, value)| FoundLeaf::own(format!("tags.{key}"), value.clone())));
    entry.fields.iter().for_each(|(key, value)| walk(key, false, value, &mut found));
    found
}

/// A timestamp that is read is rewritten as one that may be stored, and means the same to others.
fn time(text: &str) {
    if let Some(timestamp::Timestamp { millis, text: Some(rewritten) }) = timestamp::from_text(text) {
        assert_eq!(timestamp::canonical_millis(&rewritten), Some(millis), "{text:?} became {rewritten:?}");
    }
    if let Some(millis) = timestamp::canonical_millis(text).filter(|millis| *millis < LAST) {
        let civil: jiff::Timestamp = text.parse().expect("others read it too");
        assert_eq!(civil.as_nanosecond().div_euclid(1_000_000), i128::from(millis), "{text:?}");
    }
}

/// A record becomes one log or one dead letter, whatever it is.
fn through_the_pipeline(data: &[u8], format: Format) {
    let spec: LogPipelineSpec = serde_json::from_value(json!({
        "source": {"stdin": {}},
        "sink": {"embedded": {}},
        "format": format,
        "metrics": [
            {"name": "logs", "type": "counter", "labels": {"service": "service", "a": "fields.a"}},
            {"name": "a", "type": "histogram", "value": "fields.a", "match": {"level": "error"}},
        ],
    }))
    .expect("a spec");
    let sender = Sender { pipeline: "default/fuzz".to_owned(), generation: 1 };
    let mut batcher = Batcher::new(&spec, sender).expect("a batcher");
    let book = Book::new("fuzz", 0, Ledger::default(), None);
    let lane = Lane::new(book, Identity::Record("fuzz-0".to_owned()), Some("fuzz".to_owned()), 0, None);
    let mut filling = Filling::default();
    lane.hand_over(1);
    filling.push(&lane, Mark { offset: 0, timestamp: NOON, crc: 9 }, 1, data);
    let chunk = Arc::new(filling.take().expect("a record"));
    let mut batch = Batch::new(Instant::now());
    let room = Room { records: 10, bytes: 1 << 20 };
    assert_eq!(batcher.add(&mut batch, &chunk, 0, 0, room), 1);
    assert_eq!(batch.records.len() + batch.letters.len(), 1);
    if let Some((_, letter)) = batch.letters.first() {
        assert_eq!(letter.original, data, "a dead letter has its bytes");
        return;
    }
    let record = batch.records.get(0);
    let entry: LogEntry = serde_json::from_slice(record.source).expect("what is stored is an entry");
    assert!(entry.milliseconds() == Some(record.timestamp) || record.timestamp >= LAST, "{entry:?}");
    let deriver = batcher.deriver.clone().expect("metrics are derived");
    let deltas = batch.cut(Some(&mut deriver.lock()));
    assert!(deltas.iter().all(|(_, batch)| batch.origin.is_some()), "what is derived is counted once");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_hold_of_records_holds_for_seeds_and_their_kin() {
        taffrail_fuzz::replay("decode", decode);
    }

    #[test]
    fn what_must_hold_of_bodies_holds_for_seeds_and_their_kin() {
        taffrail_fuzz::replay("bodies", bodies);
    }
}
