//! Records in files: length, checksum, content.
//!
//! `u32` length and `u32` CRC-32 (IEEE) of the content, both little-endian, then the content.

use std::io::{self, Read};

/// Bytes of a record's content, at most.
pub(crate) const MAX_RECORD: usize = 256 << 20;

const HEADER: usize = 8;

/// Begins a record: content is appended to the buffer.
pub(crate) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(HEADER, 0);
}

/// Ends the record that the buffer holds.
pub(crate) fn end(buffer: &mut [u8]) {
    let (header, content) = buffer.split_at_mut(HEADER);
    header[..4].copy_from_slice(&(content.len() as u32).to_le_bytes());
    header[4..].copy_from_slice(&crc32fast::hash(content).to_le_bytes());
}

/// Why no record could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The file ends within the record, or its content is not what was written.
    #[error("{0}")]
    Bad(&'static str),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads records one after the other.
pub(crate) struct FrameReader<R> {
    input: R,
    content: Vec<u8>,
    /// Bytes of all good records so far.
    good: u64,
}

impl<R: Read> FrameReader<R> {
    pub(crate) const fn new(input: R) -> Self {
        Self { input, content: Vec::new(), good: 0 }
    }

    pub(crate) const fn good(&self) -> u64 {
        self.good
    }

    /// The next record's content; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let mut header = [0; HEADER];
        match self.fill(&mut header)? {
            0 => return Ok(None),
            HEADER => {}
            _ => return Err(FrameError::Bad("it ends within a record's header")),
        }
        let [a, b, c, d, rest @ ..] = header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        // No record is empty: a length of none is what a file of zeros looks like, which some file systems leave behind.
        if length == 0 || length > MAX_RECORD {
            return Err(FrameError::Bad("a record's length is impossible"));
        }
        self.content.clear();
        let read = (&mut self.input).take(length as u64).read_to_end(&mut self.content)?;
        if read < length {
            return Err(FrameError::Bad("it ends within a record"));
        }
        if crc32fast::hash(&self.content) != u32::from_le_bytes(rest) {
            return Err(FrameError::Bad("a record's checksum is wrong"));
        }
        self.good += (HEADER + length) as u64;
        Ok(Some(&self.content))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8]) -> (Vec<Vec<u8>>, u64, bool) {
        let mut reader = FrameReader::new(bytes);
        let mut records = Vec::new();
        loop {
            match reader.next() {
                Ok(Some(content)) => records.push(content.to_vec()),
                Ok(None) => return (records, reader.good(), true),
                Err(_) => return (records, reader.good(), false),
            }
        }
    }

    proptest! {
        #[test]
        fn damage_costs_nothing_before_it(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..30), 1..8),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..,
            cut: bool,
        ) {
            let mut file = Vec::new();
            let mut ends = Vec::new();
            for record in &records {
                let mut buffer = Vec::new();
                begin(&mut buffer);
                buffer.extend(record);
                end(&mut buffer);
                file.extend(&buffer);
                ends.push(file.len());
            }
            prop_assert_eq!(read_all(&file), (records.clone(), file.len() as u64, true));
            let at = at.index(file.len());
            if cut {
                file.truncate(at);
            } else {
                file[at] ^= flip;
            }
            let whole = ends.iter().filter(|end| **end <= at).count();
            let (found, good, _) = read_all(&file);
            prop_assert_eq!(&found[..], &records[..whole]);
            prop_assert_eq!(good as usize, if whole == 0 { 0 } else { ends[whole - 1] });
        }

        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            read_all(&bytes);
        }
    }

    #[test]
    fn a_tail_of_zeros_is_no_record() {
        assert_eq!(read_all(&[0; 64]), (Vec::new(), 0, false));
    }
}
