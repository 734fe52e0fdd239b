//! Which logs a query finds: the definition that all stores follow.

use super::{Bound, Key, Leaf, Pattern, Query, term_number, values, words};
use crate::LogEntry;
use crate::limits::{MAX_VALUE, within};

impl Query {
    /// Whether a log is one of those that are asked for. An entry whose timestamp can't be read is in no range of time.
    #[must_use]
    pub fn matches(&self, entry: &LogEntry) -> bool {
        match self {
            Self::All => true,
            Self::Term(Key::Message, word) => words(&entry.message).any(|found| found == *word),
            Self::Term(key, text) => {
                let number = term_number(text);
                // Texts that are too long are not found even by the very same text.
                any_value(entry, key, &|leaf| {
                    is_searchable(&leaf.text) && leaf.text == text.as_str()
                        || matches!((leaf.number, number), (Some(have), Some(want)) if have == want)
                })
            }
            Self::Phrase(wanted) => {
                let words: Vec<String> = words(&entry.message).collect();
                words.windows(wanted.len().max(1)).any(|window| window == wanted.as_slice())
            }
            Self::Wildcard(Key::Message, pattern) => {
                let pattern = Pattern::new(pattern);
                words(&entry.message).any(|word| pattern.fits(&word))
            }
            Self::Wildcard(key, pattern) => {
                let pattern = Pattern::new(pattern);
                any_value(entry, key, &|leaf| is_searchable(&leaf.text) && pattern.fits(&leaf.text))
            }
            Self::Exists(key) => match key {
                Key::Message => words(&entry.message).next().is_some(),
                Key::Timestamp => true,
                Key::Field(path) => values::any_leaf_from(&entry.fields, path),
                Key::Level | Key::Service | Key::Host | Key::Tag(_) => any_value(entry, key, &|_| true),
            },
            Self::Range(Key::Timestamp, low, high) => {
                entry.milliseconds().is_some_and(|time| is_within(milliseconds(time), *low, *high))
            }
            Self::Range(key, low, high) => {
                any_value(entry, key, &|leaf| leaf.number.is_some_and(|number| is_within(number, *low, *high)))
            }
            Self::And(queries) => queries.iter().all(|query| query.matches(entry)),
            Self::Or(queries) => queries.iter().any(|query| query.matches(entry)),
            Self::Not(query) => !query.matches(entry),
        }
    }
}

/// Whether any value of a key (all but the message and the timestamp) passes a test.
fn any_value(entry: &LogEntry, key: &Key, test: &impl Fn(&Leaf<'_>) -> bool) -> bool {
    let text = match key {
        Key::Message | Key::Timestamp => return false,
        Key::Field(path) => return values::any_leaf_at(&entry.fields, path, test),
        Key::Tag(name) => entry.tags.get(name),
        Key::Level => Some(&entry.level).filter(|text| !text.is_empty()),
        Key::Service => Some(&entry.service).filter(|text| !text.is_empty()),
        Key::Host => Some(&entry.host).filter(|text| !text.is_empty()),
    };
    text.is_some_and(|text| test(&Leaf { text: text.into(), number: None }))
}

fn is_searchable(text: &str) -> bool {
    within(text, MAX_VALUE)
}

fn is_within(value: f64, low: Option<Bound>, high: Option<Bound>) -> bool {
    low.is_none_or(|bound| value > bound.value || bound.inclusive && value == bound.value)
        && high.is_none_or(|bound| value < bound.value || bound.inclusive && value == bound.value)
}

/// Milliseconds since 1970 as ranges have them.
#[allow(clippy::cast_precision_loss)]
fn milliseconds(time: i64) -> f64 {
    time as f64
}
