//! Running totals of a series since it was first seen: what `/metrics` shows.

use std::sync::Arc;

use crate::codec::{Malformed, Reader, put_f64, put_len, put_u64};
use crate::model::Kind;
use crate::sum::Sum;

/// Running totals.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Totals {
    /// The sum of all increments.
    Counter(Sum),
    /// The latest sample tells all.
    None,
    /// All observations.
    Histogram(Box<Buckets>),
}

/// All observations of a histogram.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Buckets {
    /// Upper bounds, ascending.
    pub(crate) bounds: Arc<[f64]>,
    /// Observations in each bucket and not in one before; the last is for those beyond all bounds.
    pub(crate) counts: Box<[u64]>,
    /// The sum of all observed values.
    pub(crate) sum: Sum,
}

impl Totals {
    pub(crate) fn new(kind: Kind, bounds: &Arc<[f64]>) -> Self {
        match kind {
            Kind::Counter => Self::Counter(Sum::default()),
            Kind::CumulativeCounter | Kind::Gauge => Self::None,
            Kind::Histogram => Self::Histogram(Box::new(Buckets {
                bounds: Arc::clone(bounds),
                counts: vec![0; bounds.len() + 1].into(),
                sum: Sum::default(),
            })),
        }
    }

    pub(crate) fn add(&mut self, value: f64) {
        match self {
            Self::Counter(sum) => sum.add(value),
            Self::None => {}
            Self::Histogram(buckets) => {
                let bucket = buckets.bounds.partition_point(|bound| *bound < value);
                buckets.counts[bucket] += 1;
                buckets.sum.add(value);
            }
        }
    }

    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        let put_sum = |out: &mut Vec<u8>, sum: &Sum| {
            let (total, error) = sum.parts();
            put_f64(out, total);
            put_f64(out, error);
        };
        match self {
            Self::Counter(sum) => put_sum(out, sum),
            Self::None => {}
            Self::Histogram(buckets) => {
                put_sum(out, &buckets.sum);
                put_len(out, buckets.bounds.len());
                buckets.bounds.iter().for_each(|bound| put_f64(out, *bound));
                buckets.counts.iter().for_each(|count| put_u64(out, *count));
            }
        }
    }

    pub(crate) fn load(kind: Kind, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let sum = |reader: &mut Reader<'_>| Ok(Sum::from_parts(reader.f64()?, reader.f64()?));
        Ok(match kind {
            Kind::Counter => Self::Counter(sum(reader)?),
            Kind::CumulativeCounter | Kind::Gauge => Self::None,
            Kind::Histogram => {
                let sum = sum(reader)?;
                let length = reader.len()?;
                let bounds: Arc<[f64]> = (0..length).map(|_| reader.f64()).collect::<Result<_, _>>()?;
                let counts = (0..=length).map(|_| reader.u64()).collect::<Result<_, _>>()?;
                Self::Histogram(Box::new(Buckets { bounds, counts, sum }))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut totals = Totals::new(Kind::Histogram, &Arc::from([1.0, 10.0]));
        for value in [-1.0, 1.0, 1.5, 10.0, 11.0, 12.0] {
            totals.add(value);
        }
        let Totals::Histogram(buckets) = &totals else { panic!("a histogram") };
        assert_eq!((&*buckets.counts, buckets.sum.value()), (&[2, 2, 2][..], 34.5));
        let mut out = Vec::new();
        totals.save(&mut out);
        assert_eq!(Totals::load(Kind::Histogram, &mut Reader::new(&out)), Ok(totals));
    }
}
