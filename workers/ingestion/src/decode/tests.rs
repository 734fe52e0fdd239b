#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};
use taffrail_logstore::{LogEntry, Records};

use super::canonical::{Key, Reader, Scalar};
use super::*;

/// 2024-08-16T12:00:00Z.
const NOON: i64 = 1_723_809_600_000;

/// The time of a record that is stored as it is.
fn read(record: &str) -> Option<i64> {
    Reader::default().read(record, &mut Records::default())
}

fn mapped(value: &Value) -> Value {
    let Mapped { entry, .. } = json(&value.to_string(), NOON).unwrap();
    serde_json::to_value(entry).unwrap()
}

/// An entry with what differs from an empty one at noon.
fn entry(parts: Value) -> Value {
    let mut entry = json!({
        "timestamp": "2024-08-16T12:00:00Z", "level": "", "message": "", "service": "", "host": "", "tags": {}, "fields": {},
    });
    for (key, value) in parts.as_object().unwrap() {
        entry[key] = value.clone();
    }
    entry
}

#[rstest]
#[case::spellings(
    json!({"@timestamp": "2024-08-16T10:00:00Z", "severity": "error", "msg": "m", "app": "a", "hostname": "h"}),
    json!({"timestamp": "2024-08-16T10:00:00Z", "level": "error", "message": "m", "service": "a", "host": "h"})
)]
#[case::dotted(
    json!({"log.level": "warn", "service.name": "s", "host.name": "h"}),
    json!({"level": "warn", "service": "s", "host": "h"})
)]
#[case::nested(
    json!({"log": {"level": "warn", "logger": "x"}, "service": {"name": "s"}, "host": {"name": "h", "ip": ["1.2.3.4"]}}),
    json!({"level": "warn", "service": "s", "host": "h", "fields": {"log": {"logger": "x"}, "host": {"ip": ["1.2.3.4"]}}})
)]
#[case::the_first_spelling_wins(
    json!({"msg": "second", "message": "first", "ts": 1, "timestamp": 1_723_809_600}),
    json!({"message": "first", "fields": {"msg": "second", "ts": 1}})
)]
#[case::level_in_other_words(json!({"level": "WARNING"}), json!({"level": "warn", "fields": {"original_level": "WARNING"}}))]
#[case::level_as_number(json!({"level": 50}), json!({"level": "error", "fields": {"original_level": 50}}))]
#[case::level_that_is_none(json!({"level": "loud"}), json!({"fields": {"original_level": "loud"}}))]
#[case::time_that_is_none(json!({"time": "noon"}), json!({"fields": {"original_timestamp": "noon"}}))]
#[case::others_are_fields(
    json!({"message": "m", "status": 200, "fields": {"status": 404, "path": "/"}, "nothing": null}),
    json!({"message": "m", "fields": {"status": 404, "status_": 200, "path": "/", "nothing": null}})
)]
#[case::tags(
    json!({"tags": {"env": "prod", "shard": 7, "odd": [1]}}),
    json!({"tags": {"env": "prod", "shard": "7"}, "fields": {"tags": {"odd": [1]}}})
)]
#[case::tags_as_a_list(json!({"tags": ["a", "b"]}), json!({"fields": {"tags": ["a", "b"]}}))]
#[case::nulls_are_nothing(json!({"timestamp": null, "level": null, "tags": null, "fields": null}), json!({}))]
#[case::message_of_another_kind(json!({"message": {"a": 1}}), json!({"message": "{\"a\":1}"}))]
#[case::fields_of_another_kind(json!({"fields": 5}), json!({"fields": {"fields": 5}}))]
#[case::docker(
    json!({"log": "hello\n", "stream": "stderr", "time": "2024-08-16T10:00:00.123456789Z"}),
    json!({"timestamp": "2024-08-16T10:00:00.123456789Z", "message": "hello", "fields": {"stream": "stderr"}})
)]
#[case::docker_with_json_inside(
    json!({"log": "{\"level\":\"info\",\"msg\":\"inside\"}\n", "stream": "stdout", "time": "2024-08-16T10:00:00Z"}),
    json!({"timestamp": "2024-08-16T10:00:00Z", "level": "info", "message": "inside", "fields": {"stream": "stdout"}})
)]
#[case::docker_with_something_like_json(
    json!({"log": "{not json}\n", "stream": "stdout", "time": "2024-08-16T10:00:00Z"}),
    json!({"timestamp": "2024-08-16T10:00:00Z", "message": "{not json}", "fields": {"stream": "stdout"}})
)]
#[case::journald(
    json!({
        "MESSAGE": "Started.", "PRIORITY": "3", "_HOSTNAME": "box", "SYSLOG_IDENTIFIER": "sshd", "_PID": "1",
        "__REALTIME_TIMESTAMP": "1723809600000001",
    }),
    json!({
        "timestamp": "2024-08-16T12:00:00.000001Z", "level": "error", "message": "Started.", "service": "sshd",
        "host": "box",
        "fields": {"PRIORITY": "3", "SYSLOG_IDENTIFIER": "sshd", "_PID": "1", "original_level": "3"},
    })
)]
#[case::journald_with_bytes(
    json!({"MESSAGE": [104, 105, 255], "_BOOT_ID": "b", "_SYSTEMD_UNIT": "web.service"}),
    json!({"message": "hi\u{fffd}", "service": "web", "fields": {"_BOOT_ID": "b", "_SYSTEMD_UNIT": "web.service"}})
)]
fn objects_are_mapped(#[case] object: Value, #[case] expected: Value) {
    assert_eq!(mapped(&object), entry(expected));
}

#[rstest]
#[case("", "the record is empty")]
#[case("plain text", "expected value at line 1 column 1")]
#[case("[1]", "not a JSON object but an array")]
#[case("\"text\"", "not a JSON object but a text")]
#[case("{\"a\":1", "EOF while parsing an object at line 1 column 6")]
#[case("{\"a\":1} x", "trailing characters at line 1 column 9")]
fn what_is_no_object_is_refused_with_a_reason(#[case] record: &str, #[case] reason: &str) {
    let error = json(record, NOON).unwrap_err();
    assert!(error.contains(reason), "{error}");
}

#[test]
fn bytes_that_are_no_text_or_too_many_are_refused() {
    assert_eq!(text(b"ab\xff").unwrap_err(), "not UTF-8 from byte 3 on");
    assert!(text(&vec![b'x'; MAX_RECORD + 1]).unwrap_err().contains("1048577 bytes"));
    assert!(text(&vec![b'x'; MAX_RECORD]).is_ok());
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    assert!(json(&deep, NOON).unwrap_err().contains("recursion limit"));
}

#[test]
fn a_line_is_the_message() {
    let Mapped { entry, millis } = line("GET / 200\r\n", NOON);
    assert_eq!((entry.message.as_str(), entry.timestamp.as_str(), millis), ("GET / 200", "2024-08-16T12:00:00Z", NOON));
}

#[rstest]
#[case(r#"{"timestamp":"2024-08-16T12:00:00Z"}"#, true)]
#[case(r#"{"message":"m","timestamp":"2024-08-16T14:00:00.000+02:00","level":"info","tags":{"a":"b"},"fields":{"x":[1,{"y":null}]}}"#, true)]
#[case(r#" {"timestamp":"2024-08-16T12:00:00Z","level":""} "#, true)]
#[case(r#"{"timestamp":"2024-08-16T12:00:00Z","level":"INFO"}"#, false)]
#[case(r#"{"timestamp":"2024-08-16 12:00:00Z"}"#, false)]
#[case(r#"{"timestamp":1723809600}"#, false)]
#[case(r#"{"message":"m"}"#, false)]
#[case(r#"{"timestamp":"2024-08-16T12:00:00Z","tags":{"a":1}}"#, false)]
#[case(r#"{"timestamp":"2024-08-16T12:00:00Z","fields":[]}"#, false)]
#[case(r#"{"timestamp":"2024-08-16T12:00:00Z","fields":null}"#, false)]
#[case(r#"{"timestamp":"2024-08-16T12:00:00Z","other":1}"#, false)]
#[case(r#"{"timestamp":"2024-08-16T12:00:00Z","timestamp":"2024-08-16T12:00:00Z"}"#, false)]
#[case(r#"{"timestamp":"2024-08-16T12:00:00Z","fields":{"x":"\ud800"}}"#, false)]
#[case(r#"{"timestamp":"2024-08-16T12:00:00Z","fields":{"x":1e999}}"#, false)]
#[case(r#"{"timestamp":"2024-08-16T12:00:00Z"} x"#, false)]
#[case(r#"{"timestamp":"2024-08-16T12:00:00Z","fields":{"x":01}}"#, false)]
fn canonical_entries_are_told(#[case] record: &str, #[case] expected: bool) {
    assert_eq!(read(record), expected.then_some(NOON), "{record}");
}

/// Any JSON value that an entry's fields may hold.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        "\\PC{0,12}".prop_map(Value::from),
        "[\\x00-\\x7f]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c.]{1,4}", inner, 0..4)
                .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
        ]
    })
}

fn any_entry() -> impl Strategy<Value = LogEntry> {
    (
        -62_135_596_800_000_i64..253_402_300_799_999,
        prop::sample::select(vec!["", "debug", "info", "warn", "error"]),
        ("\\PC{0,20}", "[a-z]{0,4}", "[a-z]{0,4}"),
        prop::collection::btree_map("[a-c.]{1,4}", "\\PC{0,8}", 0..4),
        prop::collection::btree_map("[a-c.]{1,4}", any_json(), 0..5),
    )
        .prop_map(|(millis, level, (message, service, host), tags, fields)| LogEntry {
            timestamp: timestamp::format_millis(millis),
            level: level.to_owned(),
            message,
            service,
            host,
            tags,
            fields: fields.into_iter().collect(),
        })
}

/// Any object, with a liking for keys that mean something.
fn any_object() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        prop::sample::select(vec![
            "timestamp",
            "@timestamp",
            "ts",
            "time",
            "level",
            "severity",
            "log.level",
            "log",
            "message",
            "msg",
            "service",
            "service.name",
            "app",
            "host",
            "host.name",
            "tags",
            "fields",
            "stream",
            "MESSAGE",
            "PRIORITY",
            "_BOOT_ID",
            "__REALTIME_TIMESTAMP",
        ])
        .prop_map(str::to_owned),
        "[a-c_]{1,3}",
    ];
    let value = prop_oneof![
        any_json(),
        Just(json!("WARN")),
        Just(json!("2024-08-16 12:00:00")),
        Just(json!(1_723_809_600)),
        Just(json!("stdout")),
        Just(json!("{\"msg\":\"inner\",\"time\":5}\n")),
    ];
    prop::collection::btree_map(key, value, 0..8)
        .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>()))
}

/// A part of an entry as a text; none where it is empty, or has parts itself.
fn value_of(entry: &LogEntry, key: &Key) -> Option<String> {
    let text = match key {
        Key::Level => entry.level.clone(),
        Key::Service => entry.service.clone(),
        Key::Host => entry.host.clone(),
        Key::Message => entry.message.clone(),
        Key::Tag(tag) => entry.tags.get(tag)?.clone(),
        Key::Field(path) => {
            let mut keys = path.split('.');
            let first = entry.fields.get(keys.next()?)?;
            match keys.try_fold(first, |value, key| value.get(key))? {
                Value::String(text) => text.clone(),
                value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
                _ => return None,
            }
        }
    };
    (!text.is_empty()).then_some(text)
}

proptest! {
    #[test]
    fn an_entry_is_canonical_and_mapping_it_changes_nothing(entry in any_entry()) {
        let text = serde_json::to_string(&entry).unwrap();
        let mapped = json(&text, 0).unwrap();
        prop_assert_eq!(Some(mapped.millis), read(&text), "{}", text);
        prop_assert_eq!(mapped.entry, entry);
    }

    #[test]
    fn whatever_is_mapped_is_canonical_and_stays_as_it_is(object in any_object()) {
        let Mapped { entry, millis } = json(&object.to_string(), NOON).unwrap();
        let text = serde_json::to_string(&entry).unwrap();
        prop_assert_eq!(read(&text), Some(millis), "{}", text);
        prop_assert_eq!(json(&text, 0).unwrap(), Mapped { entry, millis });
    }

    #[test]
    fn what_is_canonical_reads_as_an_entry(text in "\\{(\"(timestamp|level|message|tags|fields|x)\":(\"2024-08-16T12:00:00Z\"|\"info\"|\\{\\}|\\{\"a\":[0-9]\\}|[0-9]),?){0,4}\\}") {
        if read(&text).is_some() {
            prop_assert!(serde_json::from_str::<LogEntry>(&text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn what_is_picked_is_what_the_entry_has(entry in any_entry()) {
        let wanted: Vec<Key> = ["level", "service", "host", "message", "tags.a", "tags.a.b", "fields.a", "fields.a.b", "fields.b.c.a"]
            .into_iter()
            .map(|key| Key::read(key).unwrap())
            .collect();
        // A key with a dot beside an object of the same path: which of both is meant is left open.
        prop_assume!(!entry.fields.keys().any(|key| key.contains('.')));
        prop_assume!(!entry.fields.values().any(|value| value.as_object().is_some_and(|map| map.keys().any(|key| key.contains('.')))));
        let text = serde_json::to_string(&entry).unwrap();
        let mut reader = Reader::new(wanted.clone());
        prop_assert!(reader.read(&text, &mut Records::default()).is_some(), "{}", text);
        for (index, key) in wanted.iter().enumerate() {
            let picked = reader.picked(&text).get(index).map(|scalar: Scalar<'_>| scalar.text().into_owned());
            prop_assert_eq!(picked, value_of(&entry, key), "{:?} of {}", key, text);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(text) = text(&bytes) {
            let _ = read(text);
            let _ = json(text, NOON);
            let _ = line(text, NOON);
        }
    }
}
