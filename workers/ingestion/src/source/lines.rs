//! Cutting a stream of bytes into lines.

use bytes::{Bytes, BytesMut};

use crate::decode::MAX_RECORD;

/// A longer line is cut into pieces of this size, each a record: more than a record may have, so that every piece is a
/// dead letter and nothing of it is lost.
const LONGEST: usize = MAX_RECORD + 1;

/// Cuts a stream of bytes into lines. Empty lines are left out.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: BytesMut,
    /// Bytes of the buffer that have no line feed.
    looked_at: usize,
    /// Where the buffer starts in the stream.
    start: i64,
}

/// A line without its end, and where it starts and the next one starts in the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) start: i64,
    pub(super) next: i64,
    pub(super) bytes: Bytes,
}

impl Lines {
    /// Starts at a place of the stream.
    pub(super) fn at(start: i64) -> Self {
        Self { start, ..Self::default() }
    }

    /// Where the next line starts in the stream.
    pub(super) fn place(&self) -> i64 {
        self.start
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line.
    pub(super) fn next(&mut self) -> Option<Line> {
        loop {
            let feed = self.buffer[self.looked_at..].iter().position(|byte| *byte == b'\n');
            let (length, end) = match feed {
                Some(at) if self.looked_at + at <= LONGEST => (self.looked_at + at, 1),
                _ if self.buffer.len() > LONGEST => (LONGEST, 0),
                _ => {
                    self.looked_at = self.buffer.len();
                    return None;
                }
            };
            if let Some(line) = self.take(length, end) {
                return Some(line);
            }
        }
    }

    /// What is there of a line that will not be ended any more.
    pub(super) fn rest(&mut self) -> Option<Line> {
        self.take(self.buffer.len(), 0)
    }

    fn take(&mut self, length: usize, end: usize) -> Option<Line> {
        let start = self.start;
        let mut bytes = self.buffer.split_to(length + end).freeze();
        self.start += i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        self.looked_at = 0;
        bytes.truncate(length);
        if bytes.last() == Some(&b'\r') {
            bytes.truncate(length - 1);
        }
        let is_blank = bytes.iter().all(u8::is_ascii_whitespace);
        (!is_blank).then_some(Line { start, next: self.start, bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(lines: &mut Lines) -> Vec<Line> {
        std::iter::from_fn(|| lines.next()).collect()
    }

    #[test]
    fn lines_know_where_they_are() {
        let mut lines = Lines::at(100);
        lines.push(b"one\r\n\n  \ntw");
        let first = all(&mut lines);
        assert_eq!(first, [Line { start: 100, next: 105, bytes: Bytes::from_static(b"one") }]);
        lines.push(b"o\nthree");
        assert_eq!(all(&mut lines), [Line { start: 109, next: 113, bytes: Bytes::from_static(b"two") }]);
        assert_eq!(lines.rest(), Some(Line { start: 113, next: 118, bytes: Bytes::from_static(b"three") }));
        assert_eq!(lines.rest(), None);
    }

    #[test]
    fn an_endless_line_comes_in_pieces_and_whole() {
        let mut lines = Lines::default();
        let endless = vec![b'x'; 2 * LONGEST + 5];
        lines.push(&endless);
        lines.push(b"\nshort\n");
        let pieces: Vec<usize> = all(&mut lines).iter().map(|line| line.bytes.len()).collect();
        assert_eq!(pieces, [LONGEST, LONGEST, 5, 5]);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_stream_arrives(text in "[a-c\n\r ]{0,60}", cuts in prop::collection::vec(0_usize..60, 0..6)) {
            let mut whole = Lines::default();
            whole.push(text.as_bytes());
            let expected = all(&mut whole);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            cuts.push(text.len());
            let mut pieces = Lines::default();
            let (mut got, mut from) = (Vec::new(), 0);
            for cut in cuts {
                pieces.push(&text.as_bytes()[from..cut]);
                from = cut;
                got.extend(all(&mut pieces));
            }
            prop_assert_eq!(got, expected);
        }
    }
}
