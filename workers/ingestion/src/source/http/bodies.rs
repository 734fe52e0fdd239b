//! What logs a body holds.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;
use taffrail_crds::Format;

use super::MAX_RECORDS;
use super::refusal::Refusal;
use crate::source::lines::Lines;

/// The logs of a body: the elements of an array, one object over several lines, or else a log per line. What is no
/// JSON is left to the pipeline, which keeps it as dead letters.
pub(super) fn logs(body: &Bytes, format: Format) -> Result<Vec<Bytes>, Refusal> {
    if format == Format::Json {
        let text = std::str::from_utf8(body).unwrap_or_default().trim();
        if text.starts_with('[') {
            let mut logs = Vec::new();
            let array = each(text, |element: &RawValue| add(&mut logs, body.slice_ref(element.get().as_bytes())));
            match array {
                Ok(()) => return Ok(logs),
                Err(Refusal::Broken(_)) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        let (first_line, more) = text.split_once('\n').unwrap_or((text, ""));
        let is_one = |text| serde_json::from_str::<IgnoredAny>(text).is_ok();
        if !more.is_empty() && first_line.starts_with('{') && !is_one(first_line) && is_one(text) {
            return Ok(vec![body.slice_ref(text.as_bytes())]);
        }
    }
    let mut lines = Lines::default();
    lines.push(body);
    let mut logs = Vec::new();
    while let Some(line) = lines.next().or_else(|| lines.rest()) {
        add(&mut logs, line.bytes)?;
    }
    Ok(logs)
}

fn add(logs: &mut Vec<Bytes>, log: Bytes) -> Result<(), Refusal> {
    if logs.len() >= MAX_RECORDS {
        return Err(Refusal::TooMany);
    }
    logs.push(log);
    Ok(())
}

/// Reads an array element by element, without keeping them: an array of very many small ones takes no more memory.
pub(super) fn each<'a, T: Deserialize<'a>>(
    array: &'a str,
    take: impl FnMut(T) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut refusal = None;
    let mut deserializer = serde_json::Deserializer::from_str(array);
    let read = deserializer
        .deserialize_seq(Elements { take, refusal: &mut refusal, of: PhantomData })
        .and_then(|()| deserializer.end());
    match refusal {
        Some(refusal) => Err(refusal),
        None => Ok(read?),
    }
}

struct Elements<'r, F, T> {
    take: F,
    refusal: &'r mut Option<Refusal>,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), Refusal>> Visitor<'de> for Elements<'_, F, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element()? {
            if let Err(refusal) = (self.take)(element) {
                *self.refusal = Some(refusal);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
    #[case("[1] 2", &["[1] 2"])]
    #[case("", &[])]
    fn bodies_of_json(#[case] body: &'static str, #[case] expected: &[&str]) {
        assert_eq!(logs(&Bytes::from_static(body.as_bytes()), Format::Json).expect("logs"), expected);
    }

    #[test]
    fn text_is_always_a_log_per_line() {
        assert_eq!(logs(&Bytes::from_static(b"[1]\n{\n"), Format::Text).expect("logs"), ["[1]", "{"]);
    }

    #[test]
    fn more_logs_than_a_body_may_have_are_refused() {
        let lines = Bytes::from("a\n".repeat(MAX_RECORDS));
        assert_eq!(logs(&lines, Format::Text).expect("logs").len(), MAX_RECORDS);
        for body in ["a\n".repeat(MAX_RECORDS + 1), format!("[1{}]", ",1".repeat(MAX_RECORDS))] {
            assert!(matches!(logs(&Bytes::from(body), Format::Json), Err(Refusal::TooMany)));
        }
    }
}
