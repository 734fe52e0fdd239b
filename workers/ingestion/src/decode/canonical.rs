//! Telling in one pass whether a record is a log entry in exactly the shape in which it is stored, and picking from it
//! what derived metrics ask for, without building it.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Number;
use taffrail_logstore::Records;
use taffrail_logstore::scan::{Leaf, Member, Path, Scanner, Text, Visit};

use super::timestamp;

/// A value that was picked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(&'a str),
    Bool(bool),
}

impl<'a> Scalar<'a> {
    /// As it is compared and as a label shows it.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            // However it is spelled in the record.
            Self::Number(number) => match number.parse::<Number>() {
                Ok(parsed) => Cow::Owned(parsed.to_string()),
                Err(_) => Cow::Borrowed(number),
            },
            Self::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
        }
    }

    /// A number, or a text that is one.
    pub(crate) fn number(&self) -> Option<f64> {
        let number = match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Number(number) => number.parse().ok(),
            Self::Bool(_) => None,
        };
        number.filter(|number: &f64| number.is_finite())
    }
}

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Level,
    Service,
    Host,
    Message,
    Tag(String),
    Field(String),
}

impl Key {
    /// Reads `level`, `service`, `host`, `message`, `tags.<k>` or `fields.<k>`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Some(match text {
            "level" => Self::Level,
            "service" => Self::Service,
            "host" => Self::Host,
            "message" => Self::Message,
            other => match other.split_once('.')? {
                ("tags", key) if !key.is_empty() => Self::Tag(key.to_owned()),
                ("fields", key) if !key.is_empty() => Self::Field(key.to_owned()),
                _ => return None,
            },
        })
    }
}

/// The parts to pick. What was picked has the same order.
pub(crate) type Wanted = Vec<Key>;

/// Where in the record a part is.
#[derive(Debug, Clone, PartialEq)]
enum Pick {
    Text(Text),
    Number(Range<usize>),
    Bool(bool),
}

/// Looks through records, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    wanted: Wanted,
    scanner: Scanner,
    picks: Vec<Option<Pick>>,
}

/// What was picked from a record, by index of what was wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picked<'a> {
    record: &'a str,
    picks: &'a [Option<Pick>],
}

impl<'a> Picked<'a> {
    /// A part; none where the record does not have it, or it is empty.
    pub(crate) fn get(&self, index: usize) -> Option<Scalar<'a>> {
        Some(match self.picks[index].as_ref()? {
            Pick::Text(text) => Scalar::Text(text.of(self.record)),
            Pick::Number(range) => Scalar::Number(self.record.get(range.clone()).unwrap_or_default()),
            Pick::Bool(truth) => Scalar::Bool(*truth),
        })
    }
}

impl Reader {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// The milliseconds since 1970 of a record that is a log entry in exactly the shape in which it is stored: an object
    /// with no other keys than a log entry's, each at most once, with an RFC 3339 timestamp and a normalised level.
    /// Paths of numbers are noted.
    pub(crate) fn read(&mut self, record: &str, numbers: &mut Records) -> Option<i64> {
        self.picks.clear();
        self.picks.resize(self.wanted.len(), None);
        let Self { wanted, scanner, picks } = self;
        let mut look = Look { record, wanted, picks, numbers, millis: None, has_other_level: false };
        let is_entry = scanner.scan(record, &mut look);
        look.millis.filter(|_| is_entry && !look.has_other_level)
    }

    /// What was picked from the record that was read last, which must be given again.
    pub(crate) fn picked<'a>(&'a self, record: &'a str) -> Picked<'a> {
        Picked { record, picks: &self.picks }
    }
}

struct Look<'a> {
    record: &'a str,
    wanted: &'a [Key],
    picks: &'a mut [Option<Pick>],
    numbers: &'a mut Records,
    millis: Option<i64>,
    has_other_level: bool,
}

impl Look<'_> {
    fn give(&mut self, is: impl Fn(&Key) -> bool, text: &Text) {
        if !text.range.is_empty()
            && let Some(index) = self.wanted.iter().position(is)
        {
            self.picks[index] = Some(Pick::Text(text.clone()));
        }
    }
}

impl Visit for Look<'_> {
    fn member(&mut self, member: Member, text: &Text) {
        let key = match member {
            Member::Timestamp => {
                self.millis = timestamp::canonical_millis(&text.of(self.record));
                return;
            }
            Member::Level => {
                let level = text.of(self.record);
                self.has_other_level = !matches!(&*level, "debug" | "info" | "warn" | "error" | "");
                Key::Level
            }
            Member::Message => Key::Message,
            Member::Service => Key::Service,
            Member::Host => Key::Host,
        };
        self.give(|wanted| *wanted == key, text);
    }

    fn tag(&mut self, key: &Text, value: &Text) {
        if !self.wanted.is_empty() {
            let key = key.of(self.record);
            self.give(|wanted| matches!(wanted, Key::Tag(tag) if *tag == key), value);
        }
    }

    fn leaf(&mut self, path: &Path<'_, '_>, leaf: Leaf) {
        if !path.in_array
            && let Some(index) = self.wanted.iter().position(|key| matches!(key, Key::Field(field) if path.is(field)))
        {
            self.picks[index] = match &leaf {
                Leaf::Text(text) if text.range.is_empty() => None,
                Leaf::Text(text) => Some(Pick::Text(text.clone())),
                Leaf::Number(range) => Some(Pick::Number(range.clone())),
                Leaf::Bool(truth) => Some(Pick::Bool(*truth)),
                Leaf::Null => None,
            };
        }
        if matches!(leaf, Leaf::Number(_)) {
            self.numbers.note_number(path);
        }
    }
}
