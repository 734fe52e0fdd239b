use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::source::http::entries::tests::entries;
use crate::source::http::wire::tests::put_fixed64;
use crate::source::http::wire::{put_bytes, put_number};

const NANOS: u64 = 1_795_420_800_123_456_789;

fn message(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = Vec::new();
    write(&mut message);
    message
}

fn text(value: &str) -> Vec<u8> {
    message(|m| put_bytes(m, 1, value.as_bytes()))
}

fn pair(key: &str, value: &[u8]) -> Vec<u8> {
    message(|m| {
        put_bytes(m, 1, key.as_bytes());
        put_bytes(m, 2, value);
    })
}

/// A request with one record; the resource stands behind its logs, which is allowed.
pub(crate) fn request(record: &[u8]) -> Vec<u8> {
    let scope = message(|m| {
        put_bytes(m, 1, b"shop.cart");
        put_bytes(m, 2, b"1.2");
        put_bytes(m, 3, &pair("team", &text("web")));
    });
    let scope_logs = message(|m| {
        put_bytes(m, 2, record);
        put_bytes(m, 1, &scope);
    });
    let resource = message(|m| {
        put_bytes(m, 1, &pair("service.name", &text("cart")));
        put_bytes(m, 1, &pair("host.name", &text("box")));
        put_bytes(m, 1, &pair("k8s.namespace.name", &text("prod")));
        put_bytes(m, 1, &pair("process.pid", &message(|m| put_number(m, 3, 811))));
    });
    let resource_logs = message(|m| {
        put_bytes(m, 2, &scope_logs);
        put_bytes(m, 1, &resource);
    });
    message(|m| put_bytes(m, 1, &resource_logs))
}

/// A record with a value of every kind.
pub(crate) fn record() -> Vec<u8> {
    let number = |field, number| message(|m| put_number(m, field, number));
    let double = |number: f64| message(|m| put_fixed64(m, 4, number.to_bits()));
    let list = message(|m| {
        put_bytes(m, 1, &text("a"));
        put_bytes(m, 1, &number(3, u64::MAX));
        put_bytes(m, 1, &[]);
    });
    let map = message(|m| put_bytes(m, 1, &pair("b", &number(2, 1))));
    message(|m| {
        put_fixed64(m, 1, NANOS);
        put_fixed64(m, 11, NANOS + 5);
        put_number(m, 2, 17);
        put_bytes(m, 3, b"Error");
        put_bytes(m, 5, &text("cart \u{e9} is empty"));
        put_bytes(m, 6, &pair("http.response.status_code", &number(3, 500)));
        put_bytes(m, 6, &pair("seconds", &double(0.25)));
        put_bytes(m, 6, &pair("nothing", &double(f64::NAN)));
        put_bytes(m, 6, &pair("list", &message(|m| put_bytes(m, 5, &list))));
        put_bytes(m, 6, &pair("map", &message(|m| put_bytes(m, 6, &map))));
        put_bytes(m, 6, &pair("raw", &message(|m| put_bytes(m, 7, b"\xff\x00"))));
        put_number(m, 7, 2);
        m.extend([0x45, 1, 0, 0, 0]);
        put_bytes(m, 9, &[0xab; 16]);
        put_bytes(m, 10, &[0xcd; 8]);
        put_bytes(m, 12, b"cart.empty");
    })
}

fn expected() -> Value {
    json!({
        "timestamp": "2026-11-23T08:00:00.123456789Z", "level": "error", "message": "cart \u{e9} is empty",
        "service": "cart", "host": "box", "tags": {"k8s.namespace.name": "prod"},
        "fields": {
            "original_level": "Error", "process.pid": 811, "http.response.status_code": 500, "seconds": 0.25,
            "nothing": "NaN", "list": ["a", -1, null], "map": {"b": true}, "raw": BASE64_STANDARD.encode(b"\xff\x00"),
            "trace_id": "ab".repeat(16), "span_id": "cd".repeat(8), "trace_flags": "01", "event_name": "cart.empty",
            "otel.scope.name": "shop.cart", "otel.scope.version": "1.2", "otel.scope.team": "web",
            "otel.dropped_attributes_count": 2,
        },
    })
}

#[test]
fn a_record_becomes_an_entry() {
    assert_eq!(entries(&request(&record()), protobuf::read).expect("entries"), [expected()]);
}

#[test]
fn json_says_the_same() {
    let value = |kind: &str, value: Value| json!({kind: value});
    let pair = |key: &str, value: Value| json!({"key": key, "value": value});
    let body = json!({"resourceLogs": [{
        "scopeLogs": [{
            "logRecords": [{
                "timeUnixNano": NANOS.to_string(), "observedTimeUnixNano": NANOS + 5, "severityNumber": 17,
                "severityText": "Error", "body": {"stringValue": "cart \u{e9} is empty"},
                "attributes": [
                    pair("http.response.status_code", value("intValue", json!("500"))),
                    pair("seconds", value("doubleValue", json!(0.25))),
                    pair("nothing", value("doubleValue", json!("NaN"))),
                    pair("list", value("arrayValue", json!({"values": [{"stringValue": "a"}, {"intValue": -1}, {}]}))),
                    pair("map", value("kvlistValue", json!({"values": [pair("b", json!({"boolValue": true}))]}))),
                    pair("raw", value("bytesValue", json!(BASE64_STANDARD.encode(b"\xff\x00")))),
                ],
                "droppedAttributesCount": 2, "flags": 1, "traceId": "ab".repeat(16), "spanId": "cd".repeat(8),
                "eventName": "cart.empty", "unknown": {"later": []},
            }],
            "scope": {"name": "shop.cart", "version": "1.2", "attributes": [pair("team", json!({"stringValue": "web"}))]},
        }],
        "resource": {"attributes": [
            pair("service.name", json!({"stringValue": "cart"})), pair("host.name", json!({"stringValue": "box"})),
            pair("k8s.namespace.name", json!({"stringValue": "prod"})), pair("process.pid", json!({"intValue": "811"})),
        ]},
        "schemaUrl": "",
    }]});
    assert_eq!(entries(body.to_string().as_bytes(), json::read).expect("entries"), [expected()]);
    for nothing in ["{}", r#"{"resourceLogs":[]}"#, r#"{"resourceLogs":[{"scopeLogs":[{}]}]}"#] {
        assert!(entries(nothing.as_bytes(), json::read).expect("nothing").is_empty(), "{nothing}");
    }
    for wrong in [
        "",
        "[]",
        r#"{"resourceLogs":1}"#,
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"soon"}]}]}]}"#,
    ] {
        assert!(matches!(entries(wrong.as_bytes(), json::read), Err(Refusal::Broken(_))), "{wrong}");
    }
}

#[test]
fn records_may_say_little() {
    let log = |record: &[u8]| entries(&request(record), protobuf::read).expect("entries").remove(0);
    // As the collector's receiver for files makes them: only when it was observed, and a text.
    let observed = log(&message(|m| {
        put_fixed64(m, 11, NANOS);
        put_bytes(m, 5, &text(r#"{"level":"warn","msg":"slow","ms":12}"#));
    }));
    assert_eq!(observed["timestamp"], "2026-11-23T08:00:00.123456789Z");
    assert_eq!((&observed["level"], &observed["message"]), (&json!("warn"), &json!("slow")));
    assert_eq!(observed["fields"]["ms"], 12);
    // As Fluent Bit makes them: the record is a map.
    let map = message(|m| put_bytes(m, 1, &pair("log", &text("from a container"))));
    let map = log(&message(|m| put_bytes(m, 5, &message(|m| put_bytes(m, 6, &map)))));
    assert_eq!(map["message"], "from a container");
    // Only a number for how grave it is, and a name.
    let fatal = log(&message(|m| {
        put_number(m, 2, 21);
        put_bytes(m, 9, &[0; 16]);
        put_bytes(m, 12, b"crash");
    }));
    assert_eq!((&fatal["level"], &fatal["fields"]["original_level"]), (&json!("error"), &json!("FATAL")));
    assert_eq!((&fatal["message"], &fatal["fields"].get("trace_id")), (&json!("crash"), &None));
}

#[test]
fn what_is_too_deep_or_cut_off_is_refused() {
    let deep = |depth: usize| {
        (0..depth).fold(text("end"), |value, _| message(|m| put_bytes(m, 5, &message(|m| put_bytes(m, 1, &value)))))
    };
    let of = |depth| request(&message(|m| put_bytes(m, 6, &pair("deep", &deep(depth)))));
    assert_eq!(entries(&of(60), protobuf::read).expect("entries").len(), 1);
    assert!(matches!(entries(&of(100_000), protobuf::read), Err(Refusal::Broken(_))));
    let whole = request(&record());
    let cut = (1..whole.len()).filter(|length| entries(&whole[..*length], protobuf::read).is_ok()).count();
    assert_eq!(cut, 0, "the one message needs all its bytes");
}

#[test]
fn what_became_a_dead_letter_is_told() {
    let dead = |reason: &str| (String::new(), Fate::DeadLetter { status: 400, reason: reason.to_owned() });
    let fates = [dead("no such day"), (String::new(), Fate::Indexed), dead("other")];
    let (count, message) = rejected(&fates);
    assert_eq!((count, &*message), (2, "2 of 3 went to the dead letters; the first because: no such day"));
    assert_eq!(success(0, ""), Vec::<u8>::new());
    let mut fields = wire::Fields::new(&[]);
    assert!(fields.next().expect("empty").is_none());
    let answer = success(count, &message);
    let partial = wire::Fields::new(&answer).next().expect("field").expect("one").1;
    let mut partial = wire::Fields::new(partial.bytes());
    assert_eq!(partial.next().expect("field"), Some((1, wire::Field::Varint(2))));
    assert_eq!(partial.next().expect("field").map(|field| field.1.text().into_owned()), Some(message));
}

proptest! {
    #[test]
    fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = entries(&bytes, protobuf::read);
        let _ = entries(&bytes, json::read);
    }

    /// What is nearly right gets further.
    #[test]
    fn no_change_is_too_much(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut body = request(&record());
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let _ = entries(&body, protobuf::read);
    }
}
