use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::source::http::entries::tests::entries;
use crate::source::http::wire::{put_bytes, put_number};

fn message(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = Vec::new();
    write(&mut message);
    message
}

/// When, what, and metadata.
type Line<'a> = (u64, &'a [u8], &'a [(&'a str, &'a str)]);

/// A push of one stream, as Promtail encodes it.
pub(crate) fn push_request(labels: &str, lines: &[Line<'_>]) -> Vec<u8> {
    let stream = message(|m| {
        put_bytes(m, 1, labels.as_bytes());
        for (nanos, line, metadata) in lines {
            let time = message(|m| {
                put_number(m, 1, nanos / 1_000_000_000);
                put_number(m, 2, nanos % 1_000_000_000);
            });
            let entry = message(|m| {
                put_bytes(m, 1, &time);
                put_bytes(m, 2, line);
                for (name, value) in *metadata {
                    let pair = message(|m| {
                        put_bytes(m, 1, name.as_bytes());
                        put_bytes(m, 2, value.as_bytes());
                    });
                    put_bytes(m, 3, &pair);
                }
            });
            put_bytes(m, 2, &entry);
        }
        put_number(m, 3, 0xdead_beef);
    });
    message(|m| put_bytes(m, 1, &stream))
}

fn expected() -> Value {
    json!([
        {
            "timestamp": "2026-11-23T08:00:00.123456789Z", "level": "warn", "message": "GET /cart 500", "service": "shop",
            "host": "node-7", "tags": {"namespace": "prod", "filename": "/var/log/a.log"},
            "fields": {"original_level": "WARNING", "trace_id": "abc"},
        },
        {
            "timestamp": "2026-11-23T09:00:00Z", "level": "error", "message": "no", "service": "shop", "host": "node-7",
            "tags": {"namespace": "prod", "filename": "/var/log/a.log"}, "fields": {"ms": 7},
        },
    ])
}

#[test]
fn lines_become_entries() {
    let labels = r#"{app="shop", filename="/var/log/a.log", hostname="node-7", namespace="prod"}"#;
    let lines: [Line<'_>; 2] = [
        (1_795_420_800_123_456_789, b"GET /cart 500", &[("detected_level", "WARNING"), ("trace_id", "abc")]),
        (1_795_420_800_000_000_000, br#"{"time":"2026-11-23T09:00:00Z","level":"error","msg":"no","ms":7}"#, &[]),
    ];
    let body = push_request(labels, &lines);
    assert_eq!(Value::Array(entries(&body, protobuf::read).expect("entries")), expected());
    let body = json!({"streams": [{
        "stream": {"app": "shop", "filename": "/var/log/a.log", "hostname": "node-7", "namespace": "prod"},
        "values": [
            ["1795420800123456789", "GET /cart 500", {"detected_level": "WARNING", "trace_id": "abc"}],
            ["1795420800000000000", "{\"time\":\"2026-11-23T09:00:00Z\",\"level\":\"error\",\"msg\":\"no\",\"ms\":7}"],
        ],
    }]});
    assert_eq!(Value::Array(entries(body.to_string().as_bytes(), json::read).expect("entries")), expected());
}

#[test]
fn a_line_that_is_no_text_is_taken_all_the_same() {
    let body = push_request("{job=\"x\"}", &[(1, b"\xff line", &[])]);
    let log = &entries(&body, protobuf::read).expect("entries")[0];
    assert_eq!((&log["message"], &log["service"]), (&json!("\u{fffd} line"), &json!("x")));
}

#[test]
fn what_is_no_push_is_refused() {
    let refused = |body: &[u8], is_json| {
        let read = if is_json { json::read } else { protobuf::read };
        matches!(entries(body, read), Err(Refusal::Broken(_)))
    };
    let good = push_request("{a=\"b\"}", &[(1, b"line", &[])]);
    assert!(!refused(&good, false));
    assert!(refused(&good[..good.len() - 1], false));
    assert!(refused(&push_request("no labels", &[]), false));
    for body in [
        "{}",
        r#"{"streams":{}}"#,
        r#"{"streams":[{"stream":{},"values":[["soon","line"]]}]}"#,
        r#"{"streams":[{"stream":{},"values":[[1,"line"]]}]}"#,
        r#"{"streams":[{"stream":{},"values":[["1"]]}]}"#,
    ] {
        assert!(refused(body.as_bytes(), true), "{body}");
    }
    assert!(entries(br#"{"streams":[]}"#, json::read).expect("nothing").is_empty());
}

proptest! {
    #[test]
    fn no_change_is_too_much(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut body = push_request("{app=\"shop\"}", &[(7, b"line", &[("a", "b")]), (u64::MAX, b"{}", &[])]);
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let _ = entries(&body, protobuf::read);
        let _ = entries(&body, json::read);
    }
}
