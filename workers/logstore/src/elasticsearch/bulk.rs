//! The bodies of bulk requests.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::GzEncoder;

use super::index;
use super::nodes::Body;
use super::options::Compression;
use crate::day;
use crate::{Outcome, Records};

/// Bodies from this size on are compressed: less is hardly worth a network packet.
const COMPRESSED_FROM: usize = 16 << 10;
/// Bodies from this size on are compressed on a thread for such work: it takes more than a millisecond.
const BLOCKING_FROM: usize = 128 << 10;

/// Records as lines for the bulk interface.
pub(super) struct Lines {
    pub bytes: Vec<u8>,
    /// How many records are among the lines.
    pub count: usize,
    /// The others, by index, with why the store can't take them; in order.
    refused: Vec<(usize, Outcome)>,
}

impl Lines {
    /// Puts the outcomes of the records that were sent in their places.
    pub fn outcomes(self, mut sent: Vec<Outcome>) -> Vec<Outcome> {
        for (index, outcome) in self.refused {
            sent.insert(index.min(sent.len()), outcome);
        }
        sent
    }
}

/// Writes each record as an action (create, with its id, in the index of its day) and its source, as it is.
pub(super) fn lines(base: &str, records: &Records) -> Lines {
    // `{"create":{"_index":"logs-2024.08.16","_id":"…"}}` and two line ends, for ids of the usual length.
    let size = records.bytes() + records.len() * (base.len() + 52 + 48);
    let mut lines = Lines { bytes: Vec::with_capacity(size), count: 0, refused: Vec::new() };
    // Records come in runs of the same day.
    let mut action: (Option<i64>, String) = (None, String::new());
    for (index, record) in records.iter().enumerate() {
        // What is checked here would make Elasticsearch refuse the whole request.
        let day = match day::checked(record) {
            Ok(day) => day,
            Err(reason) => {
                lines.refused.push((index, Outcome::Refused { status: 400, reason }));
                continue;
            }
        };
        if action.0 != Some(day) {
            action = (Some(day), format!(r#"{{"create":{{"_index":"{}","_id":"#, index::name_of(base, day)));
        }
        push_document(&mut lines.bytes, &action.1, record.id, record.source);
        lines.count += 1;
    }
    lines
}

/// Writes an action, of which everything up to the id is given, and the document.
pub(super) fn push_document(lines: &mut Vec<u8>, action: &str, id: &str, source: &[u8]) {
    lines.extend_from_slice(action.as_bytes());
    push_json_string(lines, id);
    lines.extend_from_slice(b"}}\n");
    let start = lines.len();
    lines.extend_from_slice(source);
    // Line ends in JSON can only be white space between its parts, but here they would end the document.
    if memchr::memchr2(b'\n', b'\r', source).is_some() {
        for byte in &mut lines[start..] {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
    lines.push(b'\n');
}

fn push_json_string(lines: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\') {
        lines.push(b'"');
        lines.extend_from_slice(text.as_bytes());
        lines.push(b'"');
    } else {
        lines.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

/// The lines as a request's body, compressed if that is wanted, and worth it.
pub(super) async fn body(lines: Vec<u8>, compression: Compression) -> Body {
    if compression == Compression::None || lines.len() < COMPRESSED_FROM {
        return Body::Lines { bytes: lines.into(), gzip: false };
    }
    let lines = Bytes::from(lines);
    let compressed = if lines.len() < BLOCKING_FROM {
        gzip(&lines)
    } else {
        let lines = lines.clone();
        tokio::task::spawn_blocking(move || gzip(&lines)).await.unwrap_or(None)
    };
    match compressed {
        Some(bytes) => Body::Lines { bytes, gzip: true },
        None => Body::Lines { bytes: lines, gzip: false },
    }
}

/// The fastest level, which takes most of what there is to gain from logs.
fn gzip(lines: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 4), flate2::Compression::fast());
    encoder.write_all(lines).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read as _;

    use super::*;

    fn record(id: &str, timestamp: i64, source: &str) -> crate::Record {
        crate::Record { id: id.into(), timestamp, source: Bytes::copy_from_slice(source.as_bytes()) }
    }

    const NOON: i64 = 1_723_809_600_000;

    #[test]
    fn sources_are_sent_as_they_are_to_the_index_of_their_day() {
        let records = [record("a-0-1", NOON, r#"{"a": 1 }"#), record("q\"é", NOON + day::DAY, "{\n\"a\":\r\n1}")];
        let lines = lines("logs", &records.into_iter().collect());
        assert_eq!(
            String::from_utf8(lines.bytes).unwrap(),
            "{\"create\":{\"_index\":\"logs-2024.08.16\",\"_id\":\"a-0-1\"}}\n{\"a\": 1 }\n\
             {\"create\":{\"_index\":\"logs-2024.08.17\",\"_id\":\"q\\\"é\"}}\n{ \"a\":  1}\n",
        );
    }

    #[test]
    fn what_would_spoil_the_request_is_left_out_and_refused() {
        let long = "x".repeat(513);
        let records = [
            record("", NOON, "{}"),
            record("a", NOON, "{}"),
            record(&long, NOON, "{}"),
            record("b", i64::MAX, "{}"),
            record("c", NOON, ""),
            record("d", NOON, "{}"),
        ];
        let lines = lines("logs", &records.into_iter().collect());
        assert_eq!(lines.count, 2);
        assert_eq!(lines.bytes.iter().filter(|byte| **byte == b'\n').count(), 4);
        let outcomes = lines.outcomes(vec![Outcome::Indexed, Outcome::Duplicate]);
        let names: Vec<_> = outcomes.iter().map(|outcome| matches!(outcome, Outcome::Refused { .. })).collect();
        assert_eq!(names, [true, false, true, true, true, false]);
        assert_eq!((&outcomes[1], &outcomes[5]), (&Outcome::Indexed, &Outcome::Duplicate));
    }

    #[tokio::test]
    async fn large_bodies_are_compressed_where_that_is_wanted() {
        for size in [COMPRESSED_FROM - 1, COMPRESSED_FROM, BLOCKING_FROM] {
            let given: Vec<u8> = b"{\"message\":\"timeout\"}\n".iter().copied().cycle().take(size).collect();
            let Body::Lines { bytes, gzip } = body(given.clone(), Compression::Gzip).await else { panic!("not lines") };
            assert_eq!(gzip, size >= COMPRESSED_FROM);
            let mut sent = Vec::new();
            match gzip {
                true => flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut sent).map(drop).unwrap(),
                false => sent.extend_from_slice(&bytes),
            }
            assert_eq!(sent, given);
            let Body::Lines { bytes, gzip } = body(given.clone(), Compression::None).await else { panic!("not lines") };
            assert!(!gzip && bytes == given);
        }
    }
}
