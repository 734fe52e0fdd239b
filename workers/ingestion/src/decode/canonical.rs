//! Telling in one pass whether a record is a log entry in exactly the shape in which it is stored, and picking from it
//! what derived metrics ask for, without building it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use taffrail_logstore::LogEntry;

use super::timestamp;

/// A value that was picked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(Number),
    Bool(bool),
}

impl Scalar<'_> {
    /// As it is compared and as a label shows it.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
        }
    }

    /// A number, or a text that is one.
    pub(crate) fn number(&self) -> Option<f64> {
        let number = match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Number(number) => number.as_f64(),
            Self::Bool(_) => None,
        };
        number.filter(|number| number.is_finite())
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

/// What was picked, by index of what was wanted.
pub(crate) type Picked<'a> = Vec<Option<Scalar<'a>>>;

/// A log entry that can be stored as it is.
#[derive(Debug, PartialEq)]
pub(crate) struct Canonical<'a> {
    /// Milliseconds since 1970.
    pub(crate) millis: i64,
    pub(crate) picked: Picked<'a>,
}

/// Reads a record that is a log entry in exactly the shape in which it is stored: an object with no other keys than a
/// log entry's, each at most once, with an RFC 3339 timestamp and a normalised level.
pub(crate) fn read<'a>(text: &'a str, wanted: &Wanted) -> Option<Canonical<'a>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let canonical = deserializer.deserialize_map(EntryVisitor { wanted }).ok()?;
    deserializer.end().ok()?;
    Some(canonical)
}

/// Picks from an entry that was built.
pub(crate) fn pick<'a>(entry: &'a LogEntry, wanted: &Wanted) -> Picked<'a> {
    let text = |text: &'a str| (!text.is_empty()).then_some(Scalar::Text(Cow::Borrowed(text)));
    wanted
        .iter()
        .map(|key| match key {
            Key::Level => text(&entry.level),
            Key::Service => text(&entry.service),
            Key::Host => text(&entry.host),
            Key::Message => text(&entry.message),
            Key::Tag(tag) => entry.tags.get(tag).and_then(|value| text(value)),
            Key::Field(path) => field(&entry.fields, path),
        })
        .collect()
}

fn field<'a>(fields: &'a serde_json::Map<String, serde_json::Value>, path: &str) -> Option<Scalar<'a>> {
    use serde_json::Value;
    if let Some(value) = fields.get(path) {
        return match value {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(Scalar::Text(Cow::Borrowed(text))),
            Value::Number(number) => Some(Scalar::Number(number.clone())),
            Value::Bool(truth) => Some(Scalar::Bool(*truth)),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
    }
    path.match_indices('.').find_map(|(dot, _)| match fields.get(&path[..dot]) {
        Some(Value::Object(inner)) => field(inner, &path[dot + 1..]),
        _ => None,
    })
}

struct EntryVisitor<'w> {
    wanted: &'w Wanted,
}

impl<'de> Visitor<'de> for EntryVisitor<'_> {
    type Value = Canonical<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a log entry")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut picked: Picked<'de> = vec![None; self.wanted.len()];
        let mut millis = None;
        let mut seen = 0_u8;
        while let Some(key) = map.next_key_seed(Text)? {
            let bit = match &*key {
                "timestamp" => {
                    let text = map.next_value_seed(Text)?;
                    millis = timestamp::canonical_millis(&text);
                    1
                }
                "level" => {
                    let level = map.next_value_seed(Text)?;
                    if !matches!(&*level, "debug" | "info" | "warn" | "error" | "") {
                        return Err(A::Error::custom("another level"));
                    }
                    self.give(&mut picked, &Key::Level, level);
                    2
                }
                "message" if self.wanted.contains(&Key::Message) => {
                    self.give(&mut picked, &Key::Message, map.next_value_seed(Text)?);
                    4
                }
                "message" => {
                    map.next_value_seed(AnyText)?;
                    4
                }
                "service" => {
                    self.give(&mut picked, &Key::Service, map.next_value_seed(Text)?);
                    8
                }
                "host" => {
                    self.give(&mut picked, &Key::Host, map.next_value_seed(Text)?);
                    16
                }
                "tags" => {
                    map.next_value_seed(Tags { wanted: self.wanted, picked: &mut picked })?;
                    32
                }
                "fields" => {
                    let paths = self.wanted.iter().enumerate();
                    let paths = paths.filter_map(|(index, key)| match key {
                        Key::Field(path) => Some((index, path.as_str())),
                        _ => None,
                    });
                    let paths = paths.collect();
                    map.next_value_seed(Fields { paths, picked: &mut picked })?;
                    64
                }
                _ => return Err(A::Error::custom("another key")),
            };
            if seen & bit != 0 {
                return Err(A::Error::custom("a key twice"));
            }
            seen |= bit;
        }
        let millis = millis.ok_or_else(|| A::Error::custom("no canonical timestamp"))?;
        Ok(Canonical { millis, picked })
    }
}

impl EntryVisitor<'_> {
    fn give<'de>(&self, picked: &mut Picked<'de>, key: &Key, text: Cow<'de, str>) {
        give(self.wanted, picked, |wanted| wanted == key, text);
    }
}

fn give<'de>(wanted: &Wanted, picked: &mut Picked<'de>, is: impl Fn(&Key) -> bool, text: Cow<'de, str>) {
    if let Some(index) = wanted.iter().position(is)
        && !text.is_empty()
    {
        picked[index] = Some(Scalar::Text(text));
    }
}

/// A text, borrowed where it has no escapes.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Any text, which is looked at and not kept.
struct AnyText;

impl<'de> DeserializeSeed<'de> for AnyText {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for AnyText {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

struct Tags<'w, 'p, 'de> {
    wanted: &'w Wanted,
    picked: &'p mut Picked<'de>,
}

impl<'de> DeserializeSeed<'de> for Tags<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tags<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Text)? {
            let is_key = |wanted: &Key| matches!(wanted, Key::Tag(tag) if *tag == key);
            if self.wanted.iter().any(is_key) {
                give(self.wanted, self.picked, is_key, map.next_value_seed(Text)?);
            } else {
                map.next_value_seed(AnyText)?;
            }
        }
        Ok(())
    }
}

/// An object of anything. `paths` are those wanted below it, with their indices.
struct Fields<'w, 'p, 'de> {
    paths: Vec<(usize, &'w str)>,
    picked: &'p mut Picked<'de>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        walk(map, &self.paths, self.picked)?;
        self.paths.clear();
        Ok(())
    }
}

fn walk<'de, A: MapAccess<'de>>(mut map: A, paths: &[(usize, &str)], picked: &mut Picked<'de>) -> Result<(), A::Error> {
    while let Some(key) = map.next_key_seed(Text)? {
        let mut here = None;
        let mut below = Vec::new();
        for (index, path) in paths {
            match path.strip_prefix(&*key) {
                Some("") => here = Some(*index),
                Some(rest) if rest.starts_with('.') => below.push((*index, &rest[1..])),
                _ => {}
            }
        }
        map.next_value_seed(Anything { here, below, picked })?;
    }
    Ok(())
}

/// Any value. Texts are unescaped and numbers are read, so that what passes here can be read by everybody.
struct Anything<'w, 'p, 'de> {
    here: Option<usize>,
    below: Vec<(usize, &'w str)>,
    picked: &'p mut Picked<'de>,
}

impl<'de> Anything<'_, '_, 'de> {
    fn give<E>(self, scalar: impl FnOnce() -> Option<Scalar<'de>>) -> Result<(), E> {
        if let Some(index) = self.here {
            self.picked[index] = scalar();
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Anything<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Anything<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        self.give(|| Some(Scalar::Bool(truth)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.give(|| Some(Scalar::Number(number.into())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.give(|| Some(Scalar::Number(number.into())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.give(|| Number::from_f64(number).map(Scalar::Number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<(), E> {
        self.give(|| (!text.is_empty()).then_some(Scalar::Text(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.give(|| (!text.is_empty()).then(|| Scalar::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.give(|| None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut nothing = Vec::new();
        while seq.next_element_seed(Anything { here: None, below: Vec::new(), picked: &mut nothing })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        walk(map, &self.below, self.picked)
    }
}
