//! Seconds in which one series has many samples.
//!
//! The first [`KEPT_PER_SECOND`] samples of a series in a second are stored one by one. The rest of that second is
//! summed up in one sketch: its number, sum, least, greatest and latest value stay exact, quantiles are within
//! [`crate::SKETCH_RELATIVE_ERROR`], and it counts in a window when the second's first millisecond does. So memory per
//! series and second is bounded, at any rate, and windows between whole seconds stay exact.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::{Malformed, Reader, put_bytes, put_i64, put_len, put_u64};
use crate::sketch::Sketch;

/// Samples of one series and second that are stored one by one.
pub(crate) const KEPT_PER_SECOND: u8 = 32;

/// Sketches that are ready to take samples; others are packed.
const OPEN: usize = 4;

/// Seconds before the current one whose samples are counted.
const REMEMBERED: usize = 15;

/// The number of the second that a time is in. Seconds begin after a whole second and end with the next one, as windows
/// do.
const fn second(time: i64) -> i64 {
    time.saturating_add(999).div_euclid(1000)
}

/// The first millisecond of a second.
const fn first_millisecond(second: i64) -> i64 {
    second.saturating_sub(1).saturating_mul(1000).saturating_add(1)
}

#[derive(Debug, Clone)]
enum Second {
    Open(Box<Sketch>),
    Packed(Arc<[u8]>),
}

impl Second {
    fn sketch(&self) -> Option<Sketch> {
        match self {
            Self::Open(sketch) => Some((**sketch).clone()),
            // Packed by `pack`, or checked when it was loaded.
            Self::Packed(bytes) => Sketch::load(&mut Reader::new(bytes)).ok(),
        }
    }

    fn pack(&mut self) {
        if let Self::Open(sketch) = self {
            let mut out = Vec::new();
            sketch.save(&mut out);
            *self = Self::Packed(Arc::from(out));
        }
    }
}

/// Counts the samples of each second, and keeps those that are too many.
#[derive(Debug, Default)]
pub(crate) struct DenseSeconds {
    /// The latest second so far, and its samples.
    current: i64,
    count: u8,
    rest: Option<Box<Rest>>,
}

/// What only series need that have dense seconds, or samples out of order.
#[derive(Debug, Default)]
struct Rest {
    /// Seconds before the current one, with their samples, in no order.
    earlier: Vec<(i64, u8)>,
    seconds: BTreeMap<i64, Second>,
    open: Vec<i64>,
}

impl DenseSeconds {
    /// Takes a sample if its second is dense; otherwise it is to be stored by itself.
    pub(crate) fn take(&mut self, time: i64, value: f64) -> bool {
        let second = second(time);
        if self.rest.as_ref().is_some_and(|rest| rest.seconds.contains_key(&second)) {
            self.add(second, time, value);
            return true;
        }
        let count = self.counter(second);
        if *count < KEPT_PER_SECOND {
            *count += 1;
            return false;
        }
        self.add(second, time, value);
        true
    }

    fn counter(&mut self, second: i64) -> &mut u8 {
        if second == self.current {
            return &mut self.count;
        }
        if second > self.current {
            let before = (std::mem::replace(&mut self.current, second), std::mem::take(&mut self.count));
            if let Some(rest) = self.rest.as_deref_mut() {
                rest.remember(before);
            }
            return &mut self.count;
        }
        let rest = self.rest.get_or_insert_default();
        let index = match rest.earlier.iter().position(|(earlier, _)| *earlier == second) {
            Some(index) => index,
            None => rest.remember((second, 0)),
        };
        &mut rest.earlier[index].1
    }

    fn add(&mut self, second: i64, time: i64, value: f64) {
        let rest = self.rest.get_or_insert_default();
        match rest.seconds.get_mut(&second) {
            Some(Second::Open(sketch)) => return sketch.add(time, value),
            Some(packed) => {
                if let Some(mut sketch) = packed.sketch() {
                    sketch.add(time, value);
                    *packed = Second::Open(Box::new(sketch));
                }
            }
            None => {
                rest.seconds.insert(second, Second::Open(Box::new(Sketch::new(time, value))));
            }
        }
        rest.open.push(second);
        if rest.open.len() > OPEN {
            let oldest = rest.open.remove(0);
            if let Some(second) = rest.seconds.get_mut(&oldest) {
                second.pack();
            }
        }
    }

    /// The dense seconds that count in the window `(from, to]`, each with the time at which it counts.
    pub(crate) fn window(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, Sketch)> + '_ {
        let last = second(to);
        let first = second(from).saturating_add(1).min(last);
        let seconds = self.rest.iter().flat_map(move |rest| rest.seconds.range(first..=last));
        seconds
            .map(|(second, content)| (first_millisecond(*second), content))
            .filter(move |(time, _)| *time > from && *time <= to)
            .filter_map(|(time, content)| Some((time, content.sketch()?)))
    }

    /// Forgets seconds that began before a time.
    pub(crate) fn prune(&mut self, oldest: i64) {
        let Some(rest) = &mut self.rest else { return };
        rest.seconds.retain(|second, _| first_millisecond(*second) >= oldest);
        rest.open.retain(|second| rest.seconds.contains_key(second));
        rest.earlier.retain(|(second, _)| first_millisecond(*second) >= oldest);
        if rest.seconds.is_empty() && rest.earlier.is_empty() {
            self.rest = None;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.as_ref().is_none_or(|rest| rest.seconds.is_empty())
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let Some(rest) = &self.rest else { return 0 };
        let content = |second: &Second| match second {
            Second::Open(sketch) => sketch.heap_bytes(),
            Second::Packed(bytes) => bytes.len() + 2 * size_of::<usize>(),
        };
        size_of::<Rest>() + rest.seconds.values().map(|second| content(second) + 2 * size_of::<usize>()).sum::<usize>()
    }

    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        put_i64(out, self.current);
        out.push(self.count);
        let Some(rest) = &self.rest else { return put_u64(out, 0) };
        put_len(out, rest.seconds.len());
        for (second, content) in &rest.seconds {
            put_i64(out, *second);
            match content {
                Second::Packed(bytes) => put_bytes(out, bytes),
                Second::Open(sketch) => {
                    let mut bytes = Vec::new();
                    sketch.save(&mut bytes);
                    put_bytes(out, &bytes);
                }
            }
        }
    }

    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (current, count) = (reader.i64()?, reader.u8()?);
        let mut seconds = BTreeMap::new();
        for _ in 0..reader.len()? {
            let second = reader.i64()?;
            let bytes = reader.bytes()?;
            Sketch::load(&mut Reader::new(bytes))?;
            seconds.insert(second, Second::Packed(Arc::from(bytes)));
        }
        let rest = (!seconds.is_empty()).then(|| Box::new(Rest { seconds, ..Rest::default() }));
        Ok(Self { current, count, rest })
    }
}

impl Rest {
    /// Counts the samples of one more second, at the cost of the one that has been there longest.
    fn remember(&mut self, second: (i64, u8)) -> usize {
        if self.earlier.len() == REMEMBERED {
            self.earlier.remove(0);
        }
        self.earlier.push(second);
        self.earlier.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_end_with_the_whole_second() {
        for (time, expected) in [(-1000, -1), (-999, 0), (0, 0), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(second(time), expected, "{time}");
            assert!(first_millisecond(expected) <= time && time < first_millisecond(expected) + 1000);
        }
    }

    #[test]
    fn only_what_is_too_much_is_summed_up() {
        let mut dense = DenseSeconds::default();
        let kept = (0..100).filter(|index| !dense.take(5_000 + index % 10 + 1, 2.0)).count();
        assert_eq!(kept, usize::from(KEPT_PER_SECOND));
        let window: Vec<_> = dense.window(5_000, 5_001).collect();
        assert_eq!(window.len(), 1);
        assert_eq!((window[0].0, window[0].1.count, window[0].1.last), (5_001, 68, (5_010, 2.0)));
        assert_eq!(dense.window(5_001, 6_000).count(), 0);
        assert_eq!(dense.window(i64::MIN, 5_000).count(), 0);
        assert_eq!(dense.window(i64::MIN, i64::MAX).count(), 1);
    }

    #[test]
    fn interleaved_late_seconds_are_counted_too() {
        let mut dense = DenseSeconds::default();
        let mut kept = 0;
        for _ in 0..100 {
            for second in 0..10 {
                kept += usize::from(!dense.take(second * 1000 + 500, 1.0));
            }
        }
        // The counts of the first round are lost, as nothing was out of order before.
        assert!((320..=330).contains(&kept), "{kept}");
        let summed: u64 = dense.window(0, 20_000).map(|(_, sketch)| sketch.count).sum();
        assert_eq!(summed as usize + kept, 1000);
        let mut out = Vec::new();
        dense.save(&mut out);
        let mut loaded = DenseSeconds::load(&mut Reader::new(&out)).expect("valid");
        assert_eq!(loaded.window(0, 20_000).collect::<Vec<_>>(), dense.window(0, 20_000).collect::<Vec<_>>());
        loaded.prune(5_000);
        assert_eq!(loaded.window(0, 20_000).count(), 5);
        loaded.prune(50_000);
        assert!(loaded.is_empty());
    }
}
