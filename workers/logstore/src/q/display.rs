//! From a [`Query`] back to text that means the same.

use std::fmt::{self, Display, Formatter, Write};

use jiff::Timestamp;

use super::{Bound, Key, Pattern, Query, is_word_character, pattern::Part};

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message => f.write_str("message"),
            Self::Level => f.write_str("level"),
            Self::Service => f.write_str("service"),
            Self::Host => f.write_str("host"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Tag(name) => write!(f, "tags.{name}"),
            Self::Field(path) => write!(f, "fields.{path}"),
        }
    }
}

/// Text that [`Query::parse`](super::Query::parse) reads as the same query if it came from there, else as one that
/// finds the same logs.
impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Term(Key::Message, word) if is_word(word) => f.write_str(word),
            Self::Term(key, text) => {
                write_key(f, key)?;
                write_value(f, text)
            }
            Self::Phrase(words) => write_quoted(f, &words.join(" ")),
            Self::Wildcard(key, pattern) => {
                if *key != Key::Message || pattern == "*" {
                    write_key(f, key)?;
                }
                write_pattern(f, pattern)
            }
            Self::Exists(key) => {
                write_key(f, key)?;
                f.write_char('*')
            }
            Self::Range(key, low, high) => {
                write_key(f, key)?;
                write_range(f, key, *low, *high)
            }
            Self::And(queries) if queries.is_empty() => f.write_char('*'),
            Self::And(queries) => write_joined(f, queries, " AND "),
            Self::Or(queries) if queries.is_empty() => f.write_str("NOT *"),
            Self::Or(queries) => write_joined(f, queries, " OR "),
            Self::Not(query) => {
                f.write_str("NOT ")?;
                write_grouped(f, query)
            }
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_word_character) && !matches!(text, "AND" | "OR" | "NOT")
}

fn write_joined(f: &mut Formatter<'_>, queries: &[Query], between: &str) -> fmt::Result {
    for (index, query) in queries.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write_grouped(f, query)?;
    }
    Ok(())
}

fn write_grouped(f: &mut Formatter<'_>, query: &Query) -> fmt::Result {
    match query {
        Query::And(queries) | Query::Or(queries) if queries.len() > 1 => write!(f, "({query})"),
        other => write!(f, "{other}"),
    }
}

fn write_key(f: &mut Formatter<'_>, key: &Key) -> fmt::Result {
    for character in key.to_string().chars() {
        if character.is_whitespace() || matches!(character, ':' | '(' | ')' | '"' | '\\' | '*' | '?') {
            f.write_char('\\')?;
        }
        f.write_char(character)?;
    }
    f.write_char(':')
}

fn write_value(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    let plain = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | '/' | '@');
    if !text.is_empty() && text.chars().all(plain) { f.write_str(text) } else { write_quoted(f, text) }
}

fn write_quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(character)?;
    }
    f.write_char('"')
}

fn write_pattern(f: &mut Formatter<'_>, pattern: &str) -> fmt::Result {
    if pattern == "*" {
        // A single one would ask for the key only.
        return f.write_str("**");
    }
    for part in Pattern::new(pattern).parts() {
        match part {
            Part::Any => f.write_char('*')?,
            Part::One => f.write_char('?')?,
            Part::Exactly(character) => {
                if character.is_whitespace() || "\\*?()\"[]{}<>".contains(*character) {
                    f.write_char('\\')?;
                }
                f.write_char(*character)?;
            }
        }
    }
    Ok(())
}

fn write_range(f: &mut Formatter<'_>, key: &Key, low: Option<Bound>, high: Option<Bound>) -> fmt::Result {
    let operator = |sign: char, bound: Bound| format!("{sign}{}", if bound.inclusive { "=" } else { "" });
    match (low, high) {
        (Some(low), None) => write!(f, "{}{}", operator('>', low), operand(key, low.value)),
        (None, Some(high)) => write!(f, "{}{}", operator('<', high), operand(key, high.value)),
        _ => {
            let text = |bound: Option<Bound>| bound.map_or_else(|| "*".to_owned(), |bound| operand(key, bound.value));
            let opens = if low.is_none_or(|bound| bound.inclusive) { '[' } else { '{' };
            let closes = if high.is_none_or(|bound| bound.inclusive) { ']' } else { '}' };
            write!(f, "{opens}{} TO {}{closes}", text(low), text(high))
        }
    }
}

fn operand(key: &Key, value: f64) -> String {
    // Small numbers would be read as seconds.
    #[allow(clippy::cast_possible_truncation)]
    let time = (*key == Key::Timestamp).then(|| Timestamp::from_millisecond(value as i64).ok()).flatten();
    time.map_or_else(|| value.to_string(), |time| time.to_string())
}
