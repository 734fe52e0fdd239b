//! What every store promises to take and to give, so that a log is found in one if it is found in the other.
//!
//! Nothing here makes a log lose anything: what is beyond a limit is kept and shown, it just can't be searched for.
//! Lengths of text are in UTF-16 code units, which is how Elasticsearch counts.

/// Of a longer word, this much is searchable.
pub const MAX_WORD: usize = 256;

/// A longer value (of a tag, a field, the service, …) is found by `key:*` only.
pub const MAX_VALUE: usize = 1024;

/// A longer path of a field, or key of a tag, is not searchable.
pub const MAX_PATH: usize = 512;

/// Of a log with more fields (paths of leaves), or with more tags, this many are searchable for sure.
pub const MAX_FIELDS: usize = 256;

/// The longest id of a record, in bytes (Elasticsearch's limit for `_id`).
pub const MAX_ID_BYTES: usize = 512;

/// The most logs on one page.
pub const MAX_PAGE: usize = 10_000;

/// The most buckets of a histogram.
pub const MAX_BUCKETS: usize = 10_000;

/// The most dead letters on one page.
pub const MAX_LETTERS: usize = 1_000;

/// The most kinds of dead letters that are told apart.
pub const MAX_LETTER_GROUPS: usize = 100;

/// How many of the newest matching logs a summary of the fields looks at.
pub const FIELDS_SAMPLE: usize = 1_000;

/// How many of a field's values a summary names.
pub const FIELDS_VALUES: usize = 10;

/// Whether a text has at most `limit` UTF-16 code units.
#[must_use]
pub fn within(text: &str, limit: usize) -> bool {
    // A character takes at least as many bytes in UTF-8 as code units in UTF-16.
    text.len() <= limit || text.encode_utf16().count() <= limit
}
