//! What must hold whatever bytes come: this panics where it does not. `cargo fuzz` looks for such bytes, and a test goes
//! through the seeds that it starts from (`fuzz/`).

use taffrail_runtime::deltas::{Changes, Message};

use crate::chunk::{Chunk, Encoder, Samples};
use crate::codec::Reader;
use crate::frame::FrameReader;
use crate::http::{check_pushed, read_deltas};
use crate::model::Origin;
use crate::record::{Record, put_batch, put_description, read_series};
use crate::series::Series;

/// What ingestion workers and applications send, and what is in the files of the store: the first byte says which.
///
/// # Panics
/// When something does not hold.
pub fn deltas(data: &[u8]) {
    let [choice, content @ ..] = data else { return };
    match choice & 7 {
        0 => message(content),
        1 => check_pushed(content),
        2 => record(content),
        3 => frames(content),
        4 => series(content),
        _ => chunks(content),
    }
}

/// Deltas come out as they went in.
fn message(content: &[u8]) {
    let Ok(message) = serde_json::from_slice::<Message>(content) else { return };
    let changes: usize = message.series.iter().map(|changes| changes.times.len()).sum();
    for given in &message.series {
        let Some(samples) = given.samples() else { continue };
        let samples: Vec<(i64, f64)> = samples.collect();
        let (mut again, mut last) = (Changes::new(given.series.clone()), 0);
        samples.iter().for_each(|(time, value)| again.push(&mut last, *time, *value));
        let bits = |(time, value): (i64, f64)| (time, value.to_bits());
        let read: Vec<_> = again.samples().expect("they fit").map(bits).collect();
        assert_eq!(read, samples.into_iter().map(bits).collect::<Vec<_>>());
    }
    if let Some(samples) = read_deltas(message) {
        assert_eq!(samples, changes);
    }
}

/// A record of the log that is read is written as one that is read as the same.
fn record(content: &[u8]) {
    let Ok(record) = Record::read(content) else { return };
    let written = write(&record);
    let again = Record::read(&written).expect("what was written is read");
    assert_eq!(write(&again), written);
}

fn write(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match record {
        Record::Batch { position, new, samples } => {
            let origin = position.map(|(source, next)| Origin { source: source.to_owned(), first: 0, next });
            put_batch(&mut out, origin.as_ref(), new, samples);
        }
        Record::Describe { metric, description } => put_description(&mut out, metric, description),
    }
    out
}

fn frames(content: &[u8]) {
    let mut reader = FrameReader::new(content);
    while let Ok(Some(content)) = reader.next() {
        record(content);
    }
    assert!(reader.good() <= content.len() as u64);
}

/// A series of a checkpoint that is read is written as one that is read as the same, and can be read from. Its counts may
/// be near to all that there is, which only a fault can write: so nothing is added to them.
fn series(content: &[u8]) {
    let mut reader = Reader::new(content);
    let Ok(new) = read_series(&mut reader) else { return };
    let Ok(mut series) = Series::load(7, new.kind, &mut reader) else { return };
    let mut written = Vec::new();
    series.save(&mut written);
    let mut reader = Reader::new(&written);
    let again = Series::load(7, new.kind, &mut reader).expect("what was written is read");
    assert!(reader.is_empty());
    let mut twice = Vec::new();
    again.save(&mut twice);
    assert_eq!(twice, written);
    let view = series.view(i64::MIN, i64::MAX);
    let most = view.len();
    assert!(view.samples(i64::MIN, i64::MAX).count() <= most);
    series.prune(0);
}

fn chunks(content: &[u8]) {
    let count = content.len() as u16;
    assert!(Samples::new(content, count).count() <= usize::from(count));
    if let Ok(chunk) = Chunk::load(&mut Reader::new(content)) {
        assert!(chunk.samples().count() <= usize::from(chunk.count()));
    }
    if let Ok(mut encoder) = Encoder::load(&mut Reader::new(content)) {
        encoder.append(i64::MAX, f64::NAN);
        assert!(encoder.chunk().is_some_and(|chunk| chunk.samples().count() <= usize::from(chunk.count())));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_must_hold_of_deltas_and_files_holds_for_seeds_and_their_kin() {
        taffrail_fuzz::replay("deltas", super::deltas);
    }
}
