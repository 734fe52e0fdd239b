//! What logs a body holds.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use taffrail_crds::Format;

use super::Refusal;
use crate::source::lines::Lines;

/// Decompresses a body, which may become `limit` bytes large.
pub(super) fn decompress(body: &[u8], limit: usize) -> Result<Bytes, Refusal> {
    let mut plain = Vec::new();
    let limit = limit as u64;
    MultiGzDecoder::new(body)
        .take(limit + 1)
        .read_to_end(&mut plain)
        .map_err(|error| Refusal::Broken(format!("not gzip: {error}")))?;
    if plain.len() as u64 > limit { Err(Refusal::TooLarge) } else { Ok(Bytes::from(plain)) }
}

/// The logs of a body: the elements of an array, one object over several lines, or else a log per line. What is no
/// JSON is left to the pipeline, which keeps it as dead letters.
pub(super) fn logs(body: &Bytes, format: Format) -> Vec<Bytes> {
    if format == Format::Json {
        let text = std::str::from_utf8(body).unwrap_or_default().trim();
        if text.starts_with('[')
            && let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text)
        {
            return elements.into_iter().map(|element| body.slice_ref(element.get().as_bytes())).collect();
        }
        let (first_line, more) = text.split_once('\n').unwrap_or((text, ""));
        let is_one = |text| serde_json::from_str::<IgnoredAny>(text).is_ok();
        if !more.is_empty() && first_line.starts_with('{') && !is_one(first_line) && is_one(text) {
            return vec![body.slice_ref(text.as_bytes())];
        }
    }
    let mut lines = Lines::default();
    lines.push(body);
    let mut logs: Vec<Bytes> = std::iter::from_fn(|| lines.next()).map(|line| line.bytes).collect();
    logs.extend(lines.rest().map(|line| line.bytes));
    logs
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("{\"a\":1}\n{\"a\":2}\r\n\n", &["{\"a\":1}", "{\"a\":2}"])]
    #[case("[{\"a\":1}, {\"a\":2}]", &["{\"a\":1}", "{\"a\":2}"])]
    #[case("[\n {\"a\":1},\n 5\n]\n", &["{\"a\":1}", "5"])]
    #[case("{\n \"a\": 1\n}\n", &["{\n \"a\": 1\n}"])]
    #[case("{\"a\":1}\n{\"a\":", &["{\"a\":1}", "{\"a\":"])]
    #[case("{\n\"a\":1\nrubbish", &["{", "\"a\":1", "rubbish"])]
    #[case("[1,", &["[1,"])]
    #[case("", &[])]
    fn bodies_of_json(#[case] body: &'static str, #[case] expected: &[&str]) {
        assert_eq!(logs(&Bytes::from_static(body.as_bytes()), Format::Json), expected);
    }

    #[test]
    fn text_is_always_a_log_per_line() {
        assert_eq!(logs(&Bytes::from_static(b"[1]\n{\n"), Format::Text), ["[1]", "{"]);
    }

    #[test]
    fn a_small_body_can_not_become_an_endless_one() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; 1 << 20]).expect("compress");
        let body = encoder.finish().expect("compress");
        assert_eq!(decompress(&body, 1 << 20).expect("fits").len(), 1 << 20);
        assert!(matches!(decompress(&body, (1 << 20) - 1), Err(Refusal::TooLarge)));
        assert!(matches!(decompress(b"no gzip", 10), Err(Refusal::Broken(_))));
    }
}
