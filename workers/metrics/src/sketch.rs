//! Many values in little space: counts in buckets whose width grows with the value.
//!
//! After C. Masson, J. Rim, H. Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error
//! Guarantees", VLDB 2019, without a limit on the number of buckets: each sketch covers one second of one series, and
//! its buckets span what occurred in it.

use crate::codec::{Malformed, Reader, put_f64, put_i64, put_len, put_u64};
use crate::sum::Sum;

/// How far a quantile may be from the exact one, as a part of it.
pub const SKETCH_RELATIVE_ERROR: f64 = 0.01;

const GAMMA: f64 = (1.0 + SKETCH_RELATIVE_ERROR) / (1.0 - SKETCH_RELATIVE_ERROR);

/// Added to the number of a bucket, which is between -37,300 and 35,500 for all numbers there are, so that a key is
/// positive for positive values, and its opposite stands for the opposite value.
const OFFSET: i32 = 40_000;

/// A distribution of values: exact number, sum, least, greatest and latest value, and counts by bucket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sketch {
    pub(crate) count: u64,
    pub(crate) sum: Sum,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Time and value of the latest; among those of one time the one that came last.
    pub(crate) last: (i64, f64),
    /// Key and count, sorted; keys are in the order of the values.
    buckets: Vec<(i32, u32)>,
}

impl Sketch {
    pub(crate) fn new(time: i64, value: f64) -> Self {
        let mut sketch = Self {
            count: 0,
            sum: Sum::default(),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            last: (i64::MIN, 0.0),
            buckets: Vec::new(),
        };
        sketch.add(time, value);
        sketch
    }

    /// Adds a finite value.
    pub(crate) fn add(&mut self, time: i64, value: f64) {
        self.count += 1;
        self.sum.add(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if time >= self.last.0 {
            self.last = (time, value);
        }
        let key = key(value);
        match self.buckets.binary_search_by_key(&key, |bucket| bucket.0) {
            Ok(index) => self.buckets[index].1 = self.buckets[index].1.saturating_add(1),
            Err(index) => self.buckets.insert(index, (key, 1)),
        }
    }

    /// A value for each bucket, at most [`SKETCH_RELATIVE_ERROR`] from those in it, and how many they are; ascending.
    pub(crate) fn values(&self) -> impl Iterator<Item = (f64, u32)> + '_ {
        self.buckets.iter().map(|(key, count)| (representative(*key).clamp(self.min, self.max), *count))
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.buckets.capacity() * size_of::<(i32, u32)>()
    }

    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        put_u64(out, self.count);
        let (total, error) = self.sum.parts();
        for value in [total, error, self.min, self.max, self.last.1] {
            put_f64(out, value);
        }
        put_i64(out, self.last.0);
        put_len(out, self.buckets.len());
        let mut previous = 0;
        for (key, count) in &self.buckets {
            put_i64(out, i64::from(*key) - previous);
            put_u64(out, u64::from(*count));
            previous = i64::from(*key);
        }
    }

    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = reader.u64()?;
        let sum = Sum::from_parts(reader.f64()?, reader.f64()?);
        let (min, max, last) = (reader.f64()?, reader.f64()?, reader.f64()?);
        let last = (reader.i64()?, last);
        if min.is_nan() || max.is_nan() || min > max {
            return Err(Malformed);
        }
        let length = reader.len()?;
        let mut buckets = Vec::with_capacity(length);
        let mut previous = 0_i64;
        for _ in 0..length {
            previous = previous.checked_add(reader.i64()?).ok_or(Malformed)?;
            buckets.push((i32::try_from(previous).map_err(|_| Malformed)?, reader.u32()?));
        }
        Ok(Self { count, sum, min, max, last, buckets })
    }
}

fn key(value: f64) -> i32 {
    if value == 0.0 {
        return 0;
    }
    let key = (value.abs().ln() / GAMMA.ln()).ceil() as i32 + OFFSET;
    if value < 0.0 { -key } else { key }
}

fn representative(key: i32) -> f64 {
    if key == 0 {
        return 0.0;
    }
    // In two steps, as the power alone may be beyond the greatest number.
    let magnitude = 2.0 / (GAMMA + 1.0) * (f64::from(key.abs() - OFFSET) * GAMMA.ln()).exp();
    magnitude.min(f64::MAX).copysign(f64::from(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_value_is_within_the_error(value in prop_oneof![-1e9..1e9_f64, any::<f64>()]) {
            prop_assume!(value.is_finite() && (value == 0.0 || value.abs() > 1e-300) && value.abs() < 1e308);
            let error = (representative(key(value)) - value).abs();
            prop_assert!(error <= value.abs() * (SKETCH_RELATIVE_ERROR + 1e-9), "{} for {value}", representative(key(value)));
        }

        #[test]
        fn keys_are_in_the_order_of_values(a: f64, b: f64) {
            prop_assume!(a.is_finite() && b.is_finite() && a <= b);
            prop_assert!(key(a) <= key(b));
        }

        #[test]
        fn a_sketch_survives_being_saved(values in proptest::collection::vec((any::<i64>(), -1e6..1e6_f64), 1..100)) {
            let mut sketch = Sketch::new(values[0].0, values[0].1);
            for (time, value) in &values[1..] {
                sketch.add(*time, *value);
            }
            let mut out = Vec::new();
            sketch.save(&mut out);
            prop_assert_eq!(Sketch::load(&mut Reader::new(&out)), Ok(sketch.clone()));
            prop_assert_eq!(sketch.values().map(|(_, count)| u64::from(count)).sum::<u64>(), values.len() as u64);
            for length in 0..out.len() {
                prop_assert!(Sketch::load(&mut Reader::new(&out[..length])).is_err());
            }
        }
    }

    #[test]
    fn the_extremes_have_their_own_buckets() {
        for value in [f64::MIN_POSITIVE, f64::from_bits(1), f64::MAX, f64::MIN, -0.0] {
            let sketch = Sketch::new(0, value);
            assert_eq!(sketch.values().collect::<Vec<_>>(), [(value, 1)]);
        }
    }
}
