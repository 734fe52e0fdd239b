//! What the write-ahead log says.

use crate::codec::{Malformed, Reader, put_f64, put_i64, put_len, put_str, put_u64};
use crate::index::SeriesId;
use crate::model::{Description, Kind, Origin};

const BATCH: u8 = 1;
const DESCRIBE: u8 = 2;

/// A series that a batch is the first to name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewSeries<'a> {
    pub(crate) id: SeriesId,
    pub(crate) kind: Kind,
    pub(crate) metric: &'a str,
    /// Sorted by name, none with an empty value.
    pub(crate) labels: Vec<(&'a str, &'a str)>,
}

/// Series, time and value.
pub(crate) type Sample = (SeriesId, i64, f64);

/// One entry of the log: it holds as a whole or not at all.
#[derive(Debug, PartialEq)]
pub(crate) enum Record<'a> {
    Batch { position: Option<(&'a str, u64)>, new: Vec<NewSeries<'a>>, samples: Vec<Sample> },
    Describe { metric: &'a str, description: Description },
}

pub(crate) fn put_batch(out: &mut Vec<u8>, origin: Option<&Origin>, new: &[NewSeries<'_>], samples: &[Sample]) {
    out.push(BATCH);
    match origin {
        None => out.push(0),
        Some(origin) => {
            out.push(1);
            put_str(out, &origin.source);
            put_u64(out, origin.next);
        }
    }
    put_len(out, new.len());
    for series in new {
        put_series(out, series);
    }
    put_len(out, samples.len());
    // A batch mostly holds samples of a few series from a short time.
    let (mut last_id, mut last_time) = (0, 0);
    for (id, time, value) in samples {
        put_i64(out, i64::from(*id) - last_id);
        put_i64(out, time.wrapping_sub(last_time));
        put_f64(out, *value);
        (last_id, last_time) = (i64::from(*id), *time);
    }
}

pub(crate) fn put_series(out: &mut Vec<u8>, series: &NewSeries<'_>) {
    put_u64(out, u64::from(series.id));
    out.push(series.kind.to_byte());
    put_str(out, series.metric);
    put_len(out, series.labels.len());
    for (name, value) in &series.labels {
        put_str(out, name);
        put_str(out, value);
    }
}

pub(crate) fn put_description(out: &mut Vec<u8>, metric: &str, description: &Description) {
    out.push(DESCRIBE);
    put_str(out, metric);
    put_str(out, &description.help);
    put_len(out, description.bounds.len());
    for bound in &description.bounds {
        put_f64(out, *bound);
    }
}

pub(crate) fn read_series<'a>(reader: &mut Reader<'a>) -> Result<NewSeries<'a>, Malformed> {
    let id = reader.u32()?;
    let kind = Kind::from_byte(reader.u8()?).ok_or(Malformed)?;
    let metric = reader.str()?;
    let labels = (0..reader.len()?).map(|_| Ok((reader.str()?, reader.str()?))).collect::<Result<_, _>>()?;
    Ok(NewSeries { id, kind, metric, labels })
}

impl<'a> Record<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let record = match reader.u8()? {
            BATCH => Self::read_batch(&mut reader)?,
            DESCRIBE => {
                let metric = reader.str()?;
                let help = reader.str()?.to_owned();
                let bounds = (0..reader.len()?).map(|_| reader.f64()).collect::<Result<_, _>>()?;
                Self::Describe { metric, description: Description { help, bounds } }
            }
            _ => return Err(Malformed),
        };
        if reader.is_empty() { Ok(record) } else { Err(Malformed) }
    }

    fn read_batch(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let position = match reader.u8()? {
            0 => None,
            1 => Some((reader.str()?, reader.u64()?)),
            _ => return Err(Malformed),
        };
        let new = (0..reader.len()?).map(|_| read_series(reader)).collect::<Result<_, _>>()?;
        let count = reader.len()?;
        let mut samples = Vec::with_capacity(count);
        let (mut id, mut time) = (0_i64, 0_i64);
        for _ in 0..count {
            id = id.checked_add(reader.i64()?).ok_or(Malformed)?;
            time = time.wrapping_add(reader.i64()?);
            samples.push((SeriesId::try_from(id).map_err(|_| Malformed)?, time, reader.f64()?));
        }
        Ok(Self::Batch { position, new, samples })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn batches_come_back(
            source in proptest::option::of("[a-z/]{0,12}"),
            next: u64,
            metrics in proptest::collection::vec(("[a-z]{1,5}", any::<u32>(), "[a-z]{0,3}", "\\PC{0,5}"), 0..4),
            samples in proptest::collection::vec((any::<u32>(), any::<i64>(), -1e9..1e9_f64), 0..20),
        ) {
            let origin = source.map(|source| Origin { source, first: 0, next });
            let new: Vec<_> = metrics
                .iter()
                .map(|(metric, id, name, value)| NewSeries {
                    id: *id,
                    kind: Kind::Gauge,
                    metric,
                    labels: vec![(name.as_str(), value.as_str())],
                })
                .collect();
            let mut out = Vec::new();
            put_batch(&mut out, origin.as_ref(), &new, &samples);
            let position = origin.as_ref().map(|origin| (origin.source.as_str(), next));
            prop_assert_eq!(Record::read(&out), Ok(Record::Batch { position, new, samples }));
            for length in 0..out.len() {
                prop_assert!(Record::read(&out[..length]).is_err());
            }
        }

        #[test]
        fn rubbish_is_refused_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Record::read(&bytes);
        }
    }

    #[test]
    fn descriptions_come_back() {
        let description = Description { help: "How long it took".to_owned(), bounds: vec![0.1, 1.0] };
        let mut out = Vec::new();
        put_description(&mut out, "m", &description);
        assert_eq!(Record::read(&out), Ok(Record::Describe { metric: "m", description }));
    }
}
