//! A stream of bits, most significant first.

/// Appends bits to bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not yet used.
    free: u8,
}

impl BitWriter {
    pub(crate) fn resume(bytes: Vec<u8>, free: u8) -> Option<Self> {
        (free < 8 && (free == 0 || !bytes.is_empty())).then_some(Self { bytes, free })
    }

    /// The lowest `count` (at most 64) bits of `value`.
    pub(crate) fn write(&mut self, value: u64, count: u8) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let take = left.min(self.free);
            let part = (value >> (left - take)) as u8 & (0xff >> (8 - take));
            if let Some(last) = self.bytes.last_mut() {
                *last |= part << (self.free - take);
            }
            self.free -= take;
            left -= take;
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) const fn free(&self) -> u8 {
        self.free
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Reads bits from bytes.
#[derive(Debug, Clone)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits read so far.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` (at most 64) bits; none where fewer are left.
    pub(crate) fn read(&mut self, count: u8) -> Option<u64> {
        if count > 32 {
            let high = self.read_few(count - 32)?;
            return Some(high << 32 | self.read_few(32)?);
        }
        self.read_few(count)
    }

    /// At most 32 bits, which lie in 5 bytes at most.
    #[inline]
    fn read_few(&mut self, count: u8) -> Option<u64> {
        if count == 0 {
            return Some(0);
        }
        let end = self.at + usize::from(count);
        if end > self.bytes.len() * 8 {
            return None;
        }
        let first = self.at / 8;
        let word = match self.bytes.get(first..first + 8) {
            Some(eight) => u64::from_be_bytes(eight.try_into().ok()?),
            None => {
                let rest = &self.bytes[first..];
                rest.iter().enumerate().fold(0, |word, (index, byte)| word | u64::from(*byte) << (56 - 8 * index))
            }
        };
        let value = word << (self.at % 8) >> (64 - count);
        self.at = end;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_come_back(parts in proptest::collection::vec((any::<u64>(), 0u8..=64), 0..50)) {
            let mut writer = BitWriter::default();
            for (value, count) in &parts {
                writer.write(*value, *count);
            }
            let mut reader = BitReader::new(writer.bytes());
            for (value, count) in &parts {
                let mask = if *count == 0 { 0 } else { u64::MAX >> (64 - count) };
                prop_assert_eq!(reader.read(*count), Some(value & mask));
            }
            prop_assert_eq!(reader.read(8), None);
        }
    }
}
