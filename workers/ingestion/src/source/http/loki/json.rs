//! A push in JSON: `{"streams": [{"stream": {…labels…}, "values": [["<nanoseconds>", "<line>", {…metadata…}]]}]}`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{entry, origin};
use crate::source::http::bodies::each;
use crate::source::http::entries::Entries;
use crate::source::http::refusal::Refusal;

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    streams: &'a RawValue,
}

#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(default)]
    stream: BTreeMap<String, String>,
    #[serde(borrow)]
    values: Option<&'a RawValue>,
}

/// A line, with metadata or without.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line<'a> {
    Plain(#[serde(borrow)] Cow<'a, str>, Cow<'a, str>),
    Full(#[serde(borrow)] Cow<'a, str>, Cow<'a, str>, BTreeMap<String, String>),
}

pub(in crate::source::http) fn read(body: &[u8], entries: &mut Entries) -> Result<(), Refusal> {
    let push: Push<'_> = serde_json::from_slice(body)?;
    each(push.streams.get(), |stream: Stream<'_>| {
        let origin = origin(stream.stream.into_iter().collect());
        let Some(values) = stream.values else { return Ok(()) };
        each(values.get(), |value: Line<'_>| {
            let (nanos, line, metadata) = match value {
                Line::Plain(nanos, line) => (nanos, line, BTreeMap::new()),
                Line::Full(nanos, line, metadata) => (nanos, line, metadata),
            };
            let nanos = nanos.parse().map_err(|_| Refusal::Broken(format!("`{nanos}` are no nanoseconds")))?;
            entries.push(&entry(line.into_owned(), nanos, metadata.into_iter().collect(), &origin))
        })
    })
}
