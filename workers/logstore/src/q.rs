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
//! | `a b`, `a AND b`, `+a`, `a OR b`, `NOT a`, `-a`, `(…)` | both; both; either; not; grouping |
//!
//! Words side by side must all be there. Keys: `level`, `service`, `host`, `message`, `timestamp`, `tags.<k>`,
//! `fields.<k>` (nested objects by `fields.a.b`); any other name is short for `fields.<name>`.

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
    /// The key has this value: for the message, this word; for a field that is a number or a boolean, an equal one.
    Term(Key, String),
    /// The message has these words, side by side and in this order (at least two).
    Phrase(Vec<String>),
    /// The whole value (for the message: one word) fits a pattern of `*` and `?`; a backslash takes their meaning away.
    Wildcard(Key, String),
    /// The key is there, and not empty.
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
