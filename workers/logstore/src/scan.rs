//! Looking through a record in one pass: whether it is a log entry in exactly the shape in which it is stored, and what
//! its parts are, without building any of it.
//!
//! Texts are searched eight bytes at a time for what may end them (a quote, a backslash, a control character), by the
//! bit tricks `haszero` and `hasless` of Sean Anderson's "Bit Twiddling Hacks". What passes here is JSON to everybody:
//! escapes are whole, surrogates come in pairs, numbers are finite, and nothing is nested without end.

use std::borrow::Cow;
use std::ops::Range;

/// What is nested deeper nobody reads: it is as deep as `serde_json` goes, with the entry and `fields` around it.
const MAX_DEPTH: usize = 126;

/// A member of a log entry that is a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// `timestamp`
    Timestamp,
    /// `level`
    Level,
    /// `message`
    Message,
    /// `service`
    Service,
    /// `host`
    Host,
}

/// A text in a record, between its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Where it is.
    pub range: Range<usize>,
    /// Whether it must be unescaped.
    pub is_escaped: bool,
}

impl Text {
    /// The text, out of the record that it was found in.
    #[must_use]
    pub fn of<'a>(&self, record: &'a str) -> Cow<'a, str> {
        if !self.is_escaped {
            return Cow::Borrowed(record.get(self.range.clone()).unwrap_or_default());
        }
        // The quotes are part of it.
        let quoted = record.get(self.range.start - 1..self.range.end + 1).unwrap_or_default();
        Cow::Owned(serde_json::from_str(quoted).unwrap_or_default())
    }
}

/// A value in `fields` that has no parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// A text.
    Text(Text),
    /// A number, and where it is.
    Number(Range<usize>),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

/// Where a value is in `fields`: the keys above it.
#[derive(Debug)]
pub struct Path<'s, 'a> {
    record: &'a str,
    keys: &'s [Text],
    /// Whether it is one of the elements of an array (or in one of them).
    pub in_array: bool,
}

impl Path<'_, '_> {
    /// Whether the keys, with dots between them, are this.
    #[must_use]
    pub fn is(&self, mut path: &str) -> bool {
        let mut keys = self.keys.iter();
        let Some(first) = keys.next() else { return false };
        let Some(rest) = path.strip_prefix(&*first.of(self.record)) else { return false };
        path = rest;
        for key in keys {
            let Some(rest) = path.strip_prefix('.').and_then(|rest| rest.strip_prefix(&*key.of(self.record))) else {
                return false;
            };
            path = rest;
        }
        path.is_empty()
    }

    /// The keys, with dots between them.
    pub fn write(&self, path: &mut String) {
        path.clear();
        for key in self.keys {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&key.of(self.record));
        }
    }
}

/// Is told what is found.
pub trait Visit {
    /// A text of the entry itself.
    fn member(&mut self, member: Member, text: &Text);
    /// A tag.
    fn tag(&mut self, key: &Text, value: &Text);
    /// A value in `fields` that has no parts.
    fn leaf(&mut self, path: &Path<'_, '_>, leaf: Leaf);
}

/// Looks through records.
#[derive(Debug, Default)]
pub struct Scanner {
    keys: Vec<Text>,
}

impl Scanner {
    /// Whether a record is an object with no other keys than a log entry's, each at most once and with a value of the
    /// entry's type. What was told to `visit` of one that is not means nothing.
    pub fn scan(&mut self, record: &str, visit: &mut impl Visit) -> bool {
        self.keys.clear();
        let cursor = Cursor { record, bytes: record.as_bytes(), at: 0 };
        Scan { cursor, keys: &mut self.keys, arrays: 0, visit }.entry().is_some()
    }
}

struct Scan<'s, 'a, V> {
    cursor: Cursor<'a>,
    keys: &'s mut Vec<Text>,
    /// Arrays that are open.
    arrays: usize,
    visit: &'s mut V,
}

impl<V: Visit> Scan<'_, '_, V> {
    fn entry(&mut self) -> Option<()> {
        let mut seen = 0_u8;
        self.cursor.expect(b'{')?;
        let mut is_over = self.cursor.skips(b'}');
        while !is_over {
            let key = self.cursor.key()?;
            let bit = match &self.cursor.bytes[key.range] {
                b"timestamp" => self.member(Member::Timestamp)?,
                b"level" => self.member(Member::Level)?,
                b"message" => self.member(Member::Message)?,
                b"service" => self.member(Member::Service)?,
                b"host" => self.member(Member::Host)?,
                b"tags" => self.tags()?,
                b"fields" => self.fields()?,
                _ => return None,
            };
            if seen & bit != 0 {
                return None;
            }
            seen |= bit;
            is_over = self.cursor.ends(b'}')?;
        }
        self.cursor.skip_blanks();
        (self.cursor.at == self.cursor.bytes.len()).then_some(())
    }

    fn member(&mut self, member: Member) -> Option<u8> {
        let text = self.cursor.text()?;
        self.visit.member(member, &text);
        Some(1 << member as u8)
    }

    fn tags(&mut self) -> Option<u8> {
        self.cursor.expect(b'{')?;
        let mut is_over = self.cursor.skips(b'}');
        while !is_over {
            let key = self.cursor.key()?;
            let value = self.cursor.text()?;
            self.visit.tag(&key, &value);
            is_over = self.cursor.ends(b'}')?;
        }
        Some(1 << 5)
    }

    fn fields(&mut self) -> Option<u8> {
        self.cursor.expect(b'{')?;
        self.members(0)?;
        Some(1 << 6)
    }

    /// The members of an object whose brace is open.
    fn members(&mut self, depth: usize) -> Option<()> {
        let mut is_over = self.cursor.skips(b'}');
        while !is_over {
            let key = self.cursor.key()?;
            self.keys.push(key);
            self.value(depth + 1)?;
            self.keys.pop();
            is_over = self.cursor.ends(b'}')?;
        }
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        let leaf = match self.cursor.next()? {
            b'"' => Leaf::Text(self.cursor.text()?),
            b'{' if depth < MAX_DEPTH => {
                self.cursor.at += 1;
                return self.members(depth);
            }
            b'[' if depth < MAX_DEPTH => {
                self.cursor.at += 1;
                self.arrays += 1;
                let mut is_over = self.cursor.skips(b']');
                while !is_over {
                    self.value(depth + 1)?;
                    is_over = self.cursor.ends(b']')?;
                }
                self.arrays -= 1;
                return Some(());
            }
            b't' => self.cursor.word(b"true", Leaf::Bool(true))?,
            b'f' => self.cursor.word(b"false", Leaf::Bool(false))?,
            b'n' => self.cursor.word(b"null", Leaf::Null)?,
            _ => Leaf::Number(self.cursor.number()?),
        };
        let path = Path { record: self.cursor.record, keys: self.keys, in_array: self.arrays > 0 };
        self.visit.leaf(&path, leaf);
        Some(())
    }
}

/// A place in a record.
struct Cursor<'a> {
    record: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn skip_blanks(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The byte behind blanks, which stays the next one.
    fn next(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// Whether a byte comes next, which is then left behind.
    fn skips(&mut self, byte: u8) -> bool {
        let is_next = self.next() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Behind a member or an element: whether the object or array ends here. None where neither that nor a comma comes.
    fn ends(&mut self, end: u8) -> Option<bool> {
        let byte = self.next()?;
        self.at += 1;
        match byte {
            b',' => Some(false),
            byte => (byte == end).then_some(true),
        }
    }

    fn key(&mut self) -> Option<Text> {
        let key = self.text()?;
        self.expect(b':')?;
        Some(key)
    }

    fn word(&mut self, word: &[u8], leaf: Leaf) -> Option<Leaf> {
        self.bytes[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            leaf
        })
    }

    fn text(&mut self) -> Option<Text> {
        self.expect(b'"')?;
        let start = self.at;
        let mut is_escaped = false;
        loop {
            self.at = special(self.bytes, self.at)?;
            match self.bytes.get(self.at)? {
                b'"' => {
                    let range = start..self.at;
                    self.at += 1;
                    return Some(Text { range, is_escaped });
                }
                b'\\' => {
                    is_escaped = true;
                    self.escape()?;
                }
                // A control character.
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let code = *self.bytes.get(self.at + 1)?;
        self.at += 2;
        match code {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => match self.unit()? {
                0xD800..0xDC00 => {
                    let is_pair = self.bytes.get(self.at..self.at + 2)? == b"\\u";
                    self.at += 2;
                    (is_pair && (0xDC00..0xE000).contains(&self.unit()?)).then_some(())
                }
                0xDC00..0xE000 => None,
                _ => Some(()),
            },
            _ => None,
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    }

    fn number(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        self.at += usize::from(self.bytes.get(self.at) == Some(&b'-'));
        let whole = self.at;
        if self.digits()? > 1 && self.bytes[whole] == b'0' {
            return None;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        let has_exponent = matches!(self.bytes.get(self.at), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        // Only such numbers can be too large for a double.
        if has_exponent || self.at - start > 300 {
            let is_finite = self.record.get(start..self.at)?.parse::<f64>().is_ok_and(f64::is_finite);
            is_finite.then_some(())?;
        }
        Some(start..self.at)
    }

    /// How many digits come; at least one must.
    fn digits(&mut self) -> Option<usize> {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(count)
    }
}

/// The place of the first quote, backslash or control character, from a place on.
#[inline]
fn special(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let quote = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        let control = word.wrapping_sub(ONES * 0x20);
        let found = (quote | backslash | control) & !word & HIGHS;
        if found != 0 {
            // The lowest bit that is set is right; those above it may be of a borrow.
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let is_special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    Some(at + bytes.get(at..)?.iter().position(is_special)?)
}

#[cfg(test)]
mod tests;
