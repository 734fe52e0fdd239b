//! The query language for logs, in Lucene's manner, as a tree that every store translates into its own terms.
//!
//! | written | means |
//! | --- | --- |
//! | `timeout` | the message has this word (in any case) |
//! | `"connection reset"` | the message has these words in this order |
//! | `service:api`, `tags.env:"eu west"`, `fields.status:503` | the key has exactly this value (numbers by value) |
//! | `message:time*`, `host:web-??` | the word or the value fits the pattern |
//! | `fields.duration_ms:>=500`, `fields.n:[1 TO 5]`, `{1 TO 5}`, `[* TO 5]` | a number (or `timestamp`) in the range |
//! | `fields.user:*` | the key is there |
//! | `service:(api OR web)` | the key has either value |
//! | `a b`, `a AND b`, `+a`, `a OR b`, `NOT a`, `-a`, `(…)` | both; both; either; not; grouping |
//!
//! Words side by side must all be there. `NOT` binds closest, then `AND` (written or not), then `OR`: `a b OR c` is
//! `(a AND b) OR c`. Keys: `level`, `service`, `host`, `message`, `timestamp`, `tags.<k>`, `fields.<k>` (nested objects
//! by `fields.a.b`); any other name is short for `fields.<name>`. A backslash makes the character after it an ordinary
//! one. No text at all, and `*`, is every log.
//!
//! # What exactly is found
//!
//! [`Query::matches`] is the definition; each store does the same. These are its rules.
//!
//! **Words.** A word of a message is a run, as long as possible, of characters that are alphabetic or numeric (Unicode's
//! property Alphabetic and the categories Nd, Nl, No: [`char::is_alphanumeric`]) or `_`. Everything else separates.
//! The ideographs and kana U+3040–30FF, U+3400–4DBF, U+4E00–9FFF, U+F900–FAFF and U+20000–3FFFF never join a run: each
//! is a word. Words are in lower case, character by character with Unicode's simple mapping (U+0130 becomes `i`, Σ
//! becomes σ everywhere). Of a word longer than [`limits::MAX_WORD`](crate::limits::MAX_WORD) UTF-16 code units, its
//! first that many count. Words are numbered without gaps. As a pattern in Java, each match being a word:
//! `[\u3040-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\x{20000}-\x{3FFFF}]|[\p{IsAlphabetic}\p{N}_&&[^\u3040-\u30FF\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\x{20000}-\x{3FFFF}]]+`,
//! then lower case, then truncation to 256. [`words`] does it. What a query asks of the message is cut into words in
//! the same way: `10.0.0.1` asks for the four words side by side. A pattern is compared with single words.
//!
//! **Values.** `level`, `service` and `host` have one value, if it is not empty. `tags.<k>` has one, which may be empty.
//! `fields.<path>` has those of all leaves at the path: members of objects are at the object's path, a dot and their
//! key (a key with dots is the same as a nested object); elements of arrays are at the path of the array; null, `{}` and
//! `[]` are no leaves. The *text* of a leaf is the string, or the number or boolean as JSON has it; a number also has
//! its *number*, a 64-bit float.
//!
//! - [`Query::Term`]: a text is the same, character for character; or (fields only) both are numbers, and equal. Text
//!   that is an integer beyond ±2⁵³ is compared as text only ([`term_number`]), since floats can't tell such integers apart. So
//!   `fields.status:503` finds 503, 503.0 and `"503"`, and `fields.status:5.03e2` finds 503, 503.0 and `"5.03e2"`.
//! - [`Query::Wildcard`]: a whole text fits; `*` is any characters or none, `?` is exactly one, a backslash makes the next
//!   one ordinary. Capitals matter, except in the message, whose words are in lower case (the parser makes the pattern so).
//! - [`Query::Range`]: a number is within; strings are never numbers here. Of all keys only fields and the timestamp
//!   (milliseconds) can be in a range; for others it finds nothing (the parser refuses it).
//! - [`Query::Exists`]: there is a value; for fields: a leaf at the path, or at a longer path that begins with it and a
//!   dot. `message:*`: the message has at least one word. `timestamp:*`: always.
//! - Values longer than [`limits::MAX_VALUE`](crate::limits::MAX_VALUE) are there, but neither terms nor patterns find them.
//!   Paths longer than [`limits::MAX_PATH`](crate::limits::MAX_PATH), and what is beyond the first
//!   [`limits::MAX_FIELDS`](crate::limits::MAX_FIELDS) of a log's tags or leaves' paths, need not be found.
//! - [`Query::And`] of nothing is every log, [`Query::Or`] of nothing is none. `Term` and `Wildcard` of the timestamp
//!   find nothing; the parser makes ranges of such.
//!
//! Times in queries are RFC 3339 (without an offset: UTC), a date (in a range: from its first to its last millisecond),
//! or numbers: Unix seconds below 10¹¹, milliseconds from there.

mod display;
mod matches;
mod parse;
mod pattern;
#[cfg(test)]
mod tests;
mod time;
mod values;
mod words;

use std::str::FromStr;

pub use pattern::Pattern;
use values::EXACT;
pub use values::{Leaf, leaves, number, term_number};
pub use words::{Words, is_word_character, lower, words};

use crate::Level;

/// The key of a log that a condition speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The text, by words.
    Message,
    /// The normalised level.
    Level,
    /// The service.
    Service,
    /// The host.
    Host,
    /// When it happened.
    Timestamp,
    /// A tag.
    Tag(String),
    /// A field; the path of a nested one is joined by dots.
    Field(String),
}

/// One end of a range, and whether it belongs to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// The value: a number, or milliseconds since 1970 for a timestamp.
    pub value: f64,
    /// Whether the value itself is in the range.
    pub inclusive: bool,
}

/// Which logs.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Query {
    /// Every log.
    #[default]
    All,
    /// The key has this value: for the message, this word (as [`words`] gives it); for a field that is a number or a
    /// boolean, an equal one.
    Term(Key, String),
    /// The message has these words (as [`words`] gives them), side by side and in this order (at least two).
    Phrase(Vec<String>),
    /// The whole value (for the message: one word) fits a pattern of `*` and `?`; a backslash takes their meaning away.
    Wildcard(Key, String),
    /// The key is there; `level`, `service`, `host` and the message: and not empty.
    Exists(Key),
    /// The value is a number, or a time, within these bounds.
    Range(Key, Option<Bound>, Option<Bound>),
    /// All of these.
    And(Vec<Query>),
    /// At least one of these.
    Or(Vec<Query>),
    /// Not this.
    Not(Box<Query>),
}

/// Where a query is wrong, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct ParseError {
    /// Character, counted from 1.
    pub column: usize,
    /// What was expected, and what was found.
    pub message: String,
}

impl Key {
    /// The key with this name: `level`, `tags.<k>`, `fields.<k>`, …; any other name is a field's. None if nothing is
    /// left of it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let named = |rest: &str| (!rest.is_empty()).then(|| rest.to_owned());
        match name {
            "message" => Some(Self::Message),
            "level" => Some(Self::Level),
            "service" => Some(Self::Service),
            "host" => Some(Self::Host),
            "timestamp" => Some(Self::Timestamp),
            _ => match (name.strip_prefix("tags."), name.strip_prefix("fields.")) {
                (Some(rest), _) => named(rest).map(Self::Tag),
                (None, Some(rest)) => named(rest).map(Self::Field),
                (None, None) => named(name).map(Self::Field),
            },
        }
    }
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// When it can't be read, or is too long (4 KiB), too deep (64) or has too many conditions (256).
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::parse(text)
    }

    /// All of the queries. Those that find every log, and nesting, are left out.
    #[must_use]
    pub fn and(queries: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Vec::new();
        for query in queries {
            match query {
                Self::All => {}
                Self::And(queries) => all.extend(queries),
                other => all.push(other),
            }
        }
        match all.len() {
            0 => Self::All,
            1 => all.swap_remove(0),
            _ => Self::And(all),
        }
    }

    /// Logs whose message has all words of a text, side by side. None if it has no word.
    #[must_use]
    pub fn text(text: &str) -> Option<Self> {
        text_condition(text)
    }

    /// Logs in which a key has exactly this value; of the level, any spelling of it will do. For a message and a
    /// timestamp there are better questions: [`Self::text`], and a range.
    #[must_use]
    pub fn term(key: Key, value: &str) -> Self {
        let level = (key == Key::Level).then(|| Level::normalise(value)).flatten();
        let value = level.map_or_else(|| value.to_owned(), |level| level.as_str().to_owned());
        Self::Term(key, value)
    }
}

impl FromStr for Query {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

fn text_condition(text: &str) -> Option<Query> {
    let mut words: Vec<String> = words(text).collect();
    match words.len() {
        0 => None,
        1 => Some(Query::Term(Key::Message, words.swap_remove(0))),
        _ => Some(Query::Phrase(words)),
    }
}
