//! Compressed samples: the time of a sample as the change of the distance between samples, its value as the bits in
//! which it differs from the one before.
//!
//! The algorithm is that of T. Pelkonen and others, "Gorilla: A Fast, Scalable, In-Memory Time Series Database", VLDB
//! 2015, section 4.1, on milliseconds. The classes of time differences (none, 6, 10, 14, 20 and 64 bits) are our own:
//! they suit both scrapes at a fixed interval and events that come a few milliseconds to seconds apart.

use std::sync::Arc;

use crate::bits::{BitReader, BitWriter};
use crate::codec::{Malformed, Reader, put_bytes, put_i64, put_len, put_u64};

/// Samples in a full chunk. More of them share the chunk's own 80 bytes, fewer are decoded in vain by a short window.
pub(crate) const CHUNK_SAMPLES: u16 = 240;

/// Prefix and number of bits for each class of a time difference, from the smallest.
const CLASSES: [(u64, u8, u8); 4] = [(0b10, 2, 6), (0b110, 3, 10), (0b1110, 4, 14), (0b1_1110, 5, 20)];

/// Encodes samples whose times do not decrease.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    bits: BitWriter,
    count: u16,
    first: i64,
    time: i64,
    delta: i64,
    value: u64,
    leading: u8,
    significant: u8,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            bits: BitWriter::default(),
            count: 0,
            first: i64::MAX,
            time: i64::MIN,
            delta: 0,
            value: 0,
            leading: 0,
            significant: 0,
        }
    }
}

impl Encoder {
    pub(crate) const fn count(&self) -> u16 {
        self.count
    }

    /// Time of the first sample; the greatest there is without samples.
    pub(crate) const fn first(&self) -> i64 {
        self.first
    }

    /// Time of the last sample; the least there is without samples.
    pub(crate) const fn last(&self) -> i64 {
        self.time
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bits.capacity()
    }

    /// Appends a sample. Its time must not be before the last one's.
    pub(crate) fn append(&mut self, time: i64, value: f64) {
        let value = value.to_bits();
        if self.count == 0 {
            self.first = time;
            self.bits.write(time as u64, 64);
            self.bits.write(value, 64);
            // No window of significant bits yet: the first difference states its own.
            (self.leading, self.significant) = (u8::MAX, 0);
        } else {
            let delta = time.wrapping_sub(self.time);
            self.write_time(delta.wrapping_sub(self.delta));
            self.delta = delta;
            self.write_value(value ^ self.value);
        }
        self.time = time;
        self.value = value;
        self.count += 1;
    }

    fn write_time(&mut self, change: i64) {
        if change == 0 {
            return self.bits.write(0, 1);
        }
        for (prefix, prefix_bits, bits) in CLASSES {
            let half = 1_i64 << (bits - 1);
            if (-half..half).contains(&change) {
                self.bits.write(prefix, prefix_bits);
                return self.bits.write(change as u64, bits);
            }
        }
        self.bits.write(0b1_1111, 5);
        self.bits.write(change as u64, 64);
    }

    fn write_value(&mut self, xor: u64) {
        if xor == 0 {
            return self.bits.write(0, 1);
        }
        // 5 bits hold the number of leading zeros.
        let leading = (xor.leading_zeros() as u8).min(31);
        let trailing = xor.trailing_zeros() as u8;
        let window_fits =
            self.leading != u8::MAX && leading >= self.leading && trailing >= 64 - self.leading - self.significant;
        if window_fits {
            self.bits.write(0b10, 2);
        } else {
            self.leading = leading;
            self.significant = 64 - leading - trailing;
            self.bits.write(0b11, 2);
            self.bits.write(u64::from(leading), 5);
            self.bits.write(u64::from(self.significant - 1), 6);
        }
        self.bits.write(xor >> (64 - self.leading - self.significant), self.significant);
    }

    /// The chunk of what was appended so far; none without samples.
    pub(crate) fn chunk(&self) -> Option<Chunk> {
        let chunk =
            || Chunk { data: Arc::from(self.bits.bytes()), first: self.first, last: self.time, count: self.count };
        (self.count > 0).then(chunk)
    }

    /// The chunk of what was appended, and an empty encoder in its place; none without samples.
    pub(crate) fn seal(&mut self) -> Option<Chunk> {
        let chunk = self.chunk();
        *self = Self::default();
        chunk
    }

    /// Writes the state, so that appending can go on after a restart.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        put_u64(out, u64::from(self.count));
        if self.count == 0 {
            return;
        }
        put_bytes(out, self.bits.bytes());
        out.push(self.bits.free());
        for time in [self.first, self.time, self.delta] {
            put_i64(out, time);
        }
        put_u64(out, self.value);
        out.extend([self.leading, self.significant]);
    }

    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = u16::try_from(reader.u64()?).map_err(|_| Malformed)?;
        if count == 0 {
            return Ok(Self::default());
        }
        if count == u16::MAX {
            // There must be room for another one.
            return Err(Malformed);
        }
        let bytes = reader.bytes()?.to_vec();
        let bits = BitWriter::resume(bytes, reader.u8()?).ok_or(Malformed)?;
        let (first, time, delta) = (reader.i64()?, reader.i64()?, reader.i64()?);
        let value = reader.u64()?;
        let (leading, significant) = (reader.u8()?, reader.u8()?);
        let window_is_valid = leading == u8::MAX || (leading < 64 && significant <= 64 - leading && significant > 0);
        if !window_is_valid {
            return Err(Malformed);
        }
        Ok(Self { bits, count, first, time, delta, value, leading, significant })
    }
}

/// Samples that no longer change, sorted by time.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    data: Arc<[u8]>,
    first: i64,
    last: i64,
    count: u16,
}

impl Chunk {
    pub(crate) const fn first(&self) -> i64 {
        self.first
    }

    pub(crate) const fn last(&self) -> i64 {
        self.last
    }

    pub(crate) const fn count(&self) -> u16 {
        self.count
    }

    pub(crate) fn samples(&self) -> Samples<'_> {
        Samples::new(&self.data, self.count)
    }

    /// Bytes that the chunk takes in all, with the counters of the shared allocation.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.data.len() + size_of::<Self>() + 2 * size_of::<usize>()
    }

    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        put_len(out, usize::from(self.count));
        put_i64(out, self.first);
        put_i64(out, self.last);
        put_bytes(out, &self.data);
    }

    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = u16::try_from(reader.u64()?).map_err(|_| Malformed)?;
        let (first, last) = (reader.i64()?, reader.i64()?);
        Ok(Self { data: Arc::from(reader.bytes()?), first, last, count })
    }
}

/// Decodes samples. Ends early where the bytes do, as they can only after damage that the checksum of a checkpoint
/// did not show.
#[derive(Debug, Clone)]
pub(crate) struct Samples<'a> {
    bits: BitReader<'a>,
    left: u16,
    started: bool,
    time: i64,
    delta: i64,
    value: u64,
    leading: u8,
    significant: u8,
}

impl<'a> Samples<'a> {
    pub(crate) const fn new(bytes: &'a [u8], count: u16) -> Self {
        let bits = BitReader::new(bytes);
        Self { bits, left: count, started: false, time: 0, delta: 0, value: 0, leading: 0, significant: 0 }
    }

    fn read_time(&mut self) -> Option<i64> {
        if self.bits.read(1)? == 0 {
            return Some(0);
        }
        for (_, _, bits) in CLASSES {
            if self.bits.read(1)? == 0 {
                let value = self.bits.read(bits)?;
                // Spread the sign bit.
                return Some((value << (64 - bits)) as i64 >> (64 - bits));
            }
        }
        Some(self.bits.read(64)? as i64)
    }

    fn read_value(&mut self) -> Option<u64> {
        if self.bits.read(1)? == 0 {
            return Some(0);
        }
        if self.bits.read(1)? == 1 {
            self.leading = self.bits.read(5)? as u8;
            self.significant = self.bits.read(6)? as u8 + 1;
        }
        if self.significant == 0 {
            return None;
        }
        let trailing = 64_u8.checked_sub(self.leading + self.significant)?;
        Some(self.bits.read(self.significant)? << trailing)
    }

    fn decode(&mut self) -> Option<(i64, f64)> {
        if self.started {
            self.delta = self.delta.wrapping_add(self.read_time()?);
            self.time = self.time.wrapping_add(self.delta);
            self.value ^= self.read_value()?;
        } else {
            self.started = true;
            self.time = self.bits.read(64)? as i64;
            self.value = self.bits.read(64)?;
        }
        Some((self.time, f64::from_bits(self.value)))
    }
}

impl Iterator for Samples<'_> {
    type Item = (i64, f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let sample = self.decode();
        if sample.is_none() {
            self.left = 0;
        }
        sample
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(samples: impl IntoIterator<Item = (i64, f64)>) -> Vec<(i64, u64)> {
        samples.into_iter().map(|(time, value)| (time, value.to_bits())).collect()
    }

    fn values() -> impl Strategy<Value = f64> {
        prop_oneof![Just(1.0), Just(0.0), (0..100_i32).prop_map(f64::from), -1e6..1e6, any::<f64>()]
    }

    proptest! {
        #[test]
        fn samples_come_back(
            start in -1_i64 << 50..1 << 50,
            steps in proptest::collection::vec(
                (prop_oneof![Just(0_i64), Just(15_000), 0..50_i64, 0..10_000_i64, 0..1_i64 << 40], values()),
                1..300,
            ),
            split in 0_usize..300,
        ) {
            let mut time = start;
            let mut samples = Vec::new();
            let mut encoder = Encoder::default();
            for (index, (step, value)) in steps.into_iter().enumerate() {
                time += step;
                samples.push((time, value));
                encoder.append(time, value);
                if index == split {
                    // Saved and loaded in between, as by a restart.
                    let mut out = Vec::new();
                    encoder.save(&mut out);
                    let mut reader = Reader::new(&out);
                    encoder = Encoder::load(&mut reader).expect("valid");
                    prop_assert!(reader.is_empty());
                }
            }
            let chunk = encoder.seal().expect("samples");
            prop_assert_eq!(bits(chunk.samples()), bits(samples.iter().copied()));
            prop_assert_eq!(chunk.first(), start.max(samples[0].0));
            prop_assert_eq!(chunk.last(), time);
            let mut out = Vec::new();
            chunk.save(&mut out);
            let loaded = Chunk::load(&mut Reader::new(&out)).expect("valid");
            prop_assert_eq!(bits(loaded.samples()), bits(samples));
            prop_assert!(encoder.seal().is_none());
        }

        #[test]
        fn rubbish_ends_early_and_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            count: u16,
        ) {
            prop_assert!(Samples::new(&bytes, count).count() <= usize::from(count));
            let _ = Encoder::load(&mut Reader::new(&bytes));
            let _ = Chunk::load(&mut Reader::new(&bytes));
        }
    }

    #[test]
    fn regular_samples_take_about_a_byte() {
        let mut encoder = Encoder::default();
        for index in 0..i64::from(CHUNK_SAMPLES) {
            encoder.append(1_700_000_000_000 + index * 15_000, (index / 10) as f64);
        }
        let chunk = encoder.seal().expect("samples");
        let bytes = chunk.heap_bytes() as f64 / f64::from(CHUNK_SAMPLES);
        assert!(bytes < 1.0, "{bytes} bytes per sample");
    }
}
