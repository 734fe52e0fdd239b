//! What must hold of bodies, whatever bytes they have: see [`crate::fuzzing`].

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use taffrail_crds::Format;
use tokio::sync::Semaphore;

use super::body::{self, Encoding, Room};
use super::refusal::Refusal;
use super::{bodies, bulk, entries, loki, otlp};
use crate::decode;

/// Room for bodies: less than there is in truth, so that many can be tried.
const ROOM: usize = 4 << 20;

/// Checks a body. The lowest three bits of its first byte say what it is, the others how it is compressed: `P` to `W` is
/// as it is, `X` to `_` by gzip, from the backtick on by deflate, from `h` on by zstd, from `p` on by snappy.
pub(crate) fn check(data: &[u8]) {
    let [choice, body @ ..] = data else { return };
    let encodings = [Encoding::Plain, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Snappy];
    let encoding = encodings[usize::from(choice >> 3) % encodings.len()];
    let room = || Room::new(&Arc::new(Semaphore::new(ROOM)), 0).expect("room");
    let Ok(body) = body::plain(encoding, body, &mut room()) else { return };
    assert!(body.len() <= ROOM, "no more than there is room for");
    let read = match choice & 7 {
        0 => return json(&body),
        1 => return text(&body),
        2 => return bulk::check(&body),
        3 => otlp::protobuf::read,
        4 => otlp::json::read,
        5 => loki::protobuf::read,
        6 => loki::json::read,
        _ => {
            let _ = loki::labels::read(&String::from_utf8_lossy(&body));
            return;
        }
    };
    if let Ok(logs) = entries::read_all(&body, room(), read) {
        logs.iter().for_each(check_entry);
    }
}

/// What is translated from other protocols is read by the pipeline.
fn check_entry(log: &Bytes) {
    let text = decode::text(log);
    // A log may become larger than a record may be: then it is a dead letter.
    let Ok(text) = text else { return assert!(log.len() > decode::MAX_RECORD) };
    assert!(decode::json(text, 0).is_ok(), "{text:?}");
}

/// Whatever a JSON parser takes for one array or object is the same here.
fn json(body: &Bytes) {
    let logs = bodies::logs(body, Format::Json);
    let read = |log: &Bytes| serde_json::from_slice::<Value>(log).ok();
    match (serde_json::from_slice(body), logs) {
        (Ok(Value::Array(items)), Ok(logs)) => {
            assert_eq!(logs.iter().map(read).collect::<Option<Vec<_>>>(), Some(items), "{body:?}");
        }
        (Ok(object @ Value::Object(_)), Ok(logs)) => {
            assert_eq!(logs.iter().map(read).collect::<Vec<_>>(), [Some(object)], "{body:?}");
        }
        (_, logs) => assert!(matches!(logs, Ok(_) | Err(Refusal::TooMany)), "{body:?}"),
    }
}

/// Each line is a log, but for blank ones.
fn text(body: &Bytes) {
    let Ok(logs) = bodies::logs(body, Format::Text) else { return };
    let lines = body.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let lines: Vec<&[u8]> = lines.filter(|line| !line.iter().all(u8::is_ascii_whitespace)).collect();
    if lines.iter().all(|line| line.len() <= decode::MAX_RECORD) {
        assert_eq!(logs, lines);
    }
}
