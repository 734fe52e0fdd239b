//! Protocol Buffers, as far as the protocols here need them: the fields of a message in the order in which they stand,
//! borrowed, so that no message takes more memory than its bytes.
//!
//! See <https://protobuf.dev/programming-guides/encoding/>. Texts that are not UTF-8 are taken all the same: senders in
//! Go do not check them.

use std::borrow::Cow;

use super::refusal::Refusal;

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    /// A text, bytes or a message; empty where it is something else.
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    pub(super) fn text(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.bytes())
    }

    /// A number; 0 where it is something else.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Varint(number) | Self::Fixed64(number) => number,
            Self::Fixed32(number) => number.into(),
            Self::Bytes(_) => 0,
        }
    }
}

/// The fields of a message.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The next field, and its number.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Refusal> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| malformed())?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(malformed()),
        };
        Ok(Some((key >> 3, field)))
    }

    fn varint(&mut self) -> Result<u64, Refusal> {
        let mut number = 0_u64;
        for (index, byte) in self.0.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = &self.0[index + 1..];
                return Ok(number);
            }
        }
        Err(malformed())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        self.take(N)?.try_into().map_err(|_| malformed())
    }
}

fn malformed() -> Refusal {
    Refusal::Broken("malformed Protocol Buffers".to_owned())
}

/// Writes a field that is a number, where it is not 0.
pub(super) fn put_number(message: &mut Vec<u8>, field: u64, number: u64) {
    if number != 0 {
        put_varint(message, field << 3);
        put_varint(message, number);
    }
}

/// Writes a field that is a text, bytes or a message.
pub(super) fn put_bytes(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(message, field << 3 | 2);
    put_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn put_varint(message: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        message.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes a field that is 64 bits long.
    pub(crate) fn put_fixed64(message: &mut Vec<u8>, field: u64, number: u64) {
        put_varint(message, field << 3 | 1);
        message.extend_from_slice(&number.to_le_bytes());
    }

    fn all(message: &[u8]) -> Result<Vec<(u64, Field<'_>)>, Refusal> {
        let mut fields = Fields::new(message);
        std::iter::from_fn(|| fields.next().transpose()).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let mut message = Vec::new();
        put_number(&mut message, 1, u64::MAX);
        put_number(&mut message, 2, 0);
        put_bytes(&mut message, 17, b"text");
        put_fixed64(&mut message, 3, 7);
        message.extend([0x25, 1, 0, 0, 0]);
        let expected =
            [(1, Field::Varint(u64::MAX)), (17, Field::Bytes(b"text")), (3, Field::Fixed64(7)), (4, Field::Fixed32(1))];
        assert_eq!(all(&message).expect("fields"), expected);
    }

    #[test]
    fn what_is_cut_off_or_unknown_is_refused() {
        for message in [
            &[0x80][..],
            &[0x0a, 5, 1],
            &[0x09, 1, 2],
            &[0x0b],
            &[0x0c],
            &[0x08],
            &[0xff; 11],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ] {
            assert!(all(message).is_err(), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // It ends, and gives nothing that is not there.
            if let Ok(fields) = all(&bytes) {
                prop_assert!(fields.len() <= bytes.len());
            }
        }
    }
}
