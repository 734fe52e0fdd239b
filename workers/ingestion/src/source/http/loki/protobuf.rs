//! `logproto.PushRequest` in Protocol Buffers.

use super::{entry, labels, origin};
use crate::source::http::entries::Entries;
use crate::source::http::refusal::Refusal;
use crate::source::http::wire::Fields;

pub(in crate::source::http) fn read(body: &[u8], entries: &mut Entries) -> Result<(), Refusal> {
    let mut request = Fields::new(body);
    while let Some((number, field)) = request.next()? {
        if number == 1 {
            stream(field.bytes(), entries)?;
        }
    }
    Ok(())
}

fn stream(message: &[u8], entries: &mut Entries) -> Result<(), Refusal> {
    // Fields come in any order, but the labels are needed first.
    let mut stream = origin(Vec::new());
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            stream = origin(labels::read(&field.text())?);
        }
    }
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        if number != 2 {
            continue;
        }
        let (mut nanos, mut line, mut metadata) = (0, String::new(), Vec::new());
        let mut fields = Fields::new(field.bytes());
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => nanos = timestamp(field.bytes())?,
                2 => line = field.text().into_owned(),
                3 => metadata.push(label(field.bytes())?),
                _ => {}
            }
        }
        entries.push(&entry(line, nanos, metadata, &stream))?;
    }
    Ok(())
}

/// A `google.protobuf.Timestamp`. What is before 1970 counts as its beginning.
fn timestamp(message: &[u8]) -> Result<u64, Refusal> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => seconds = field.number().cast_signed(),
            2 => nanos = field.number(),
            _ => {}
        }
    }
    let seconds = u64::try_from(seconds).unwrap_or(0);
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos.min(999_999_999)))
}

fn label(message: &[u8]) -> Result<(String, String), Refusal> {
    let (mut name, mut value) = (String::new(), String::new());
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.text().into_owned(),
            2 => value = field.text().into_owned(),
            _ => {}
        }
    }
    Ok((name, value))
}
