//! From text to a [`Query`].

use super::{Bound, Key, ParseError, Query, is_word_character, lower, number, text_condition, time};

/// The longest query, in bytes.
const MAX_LENGTH: usize = 4096;

/// The deepest nesting of parentheses and negations.
const MAX_DEPTH: usize = 64;

/// The most conditions.
const MAX_CONDITIONS: usize = 256;

/// Reads a query.
pub(super) fn parse(text: &str) -> Result<Query, ParseError> {
    let mut parser = Parser { characters: text.chars().collect(), position: 0, depth: 0, conditions: 0 };
    if text.len() > MAX_LENGTH {
        let message = format!("the query has {} bytes; at most {MAX_LENGTH} are allowed", text.len());
        return Err(ParseError { column: 1, message });
    }
    parser.skip_spaces();
    if parser.peek().is_none() {
        return Ok(Query::All);
    }
    let query = parser.either(None)?;
    match parser.peek() {
        None => Ok(query),
        Some(_) => parser.fail("there is no \"(\" for this \")\""),
    }
}

struct Parser {
    characters: Vec<char>,
    position: usize,
    depth: usize,
    conditions: usize,
}

/// A character of a word or value, and whether a backslash made it ordinary.
type Character = (char, bool);

impl Parser {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.position).copied()
    }

    fn take(&mut self, character: char) -> bool {
        let found = self.peek() == Some(character);
        self.position += usize::from(found);
        found
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.position += 1;
        }
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        self.fail_at(self.position, message)
    }

    fn fail_at<T>(&self, position: usize, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError { column: position + 1, message: message.into() })
    }

    /// What stands at the position, for an error.
    fn found(&self) -> String {
        match self.peek() {
            None => "the end".to_owned(),
            Some(character) if character.is_whitespace() => "a space".to_owned(),
            Some(character) => format!("\"{character}\""),
        }
    }

    /// Whether `word` stands here, by itself.
    fn at_keyword(&self, word: &str) -> bool {
        let end = self.position + word.len();
        let here = self.characters.get(self.position..end);
        here.is_some_and(|here| here.iter().copied().eq(word.chars()))
            && self.characters.get(end).is_none_or(|next| next.is_whitespace() || matches!(next, '(' | ')' | '"'))
    }

    fn take_keyword(&mut self, word: &str) -> bool {
        let found = self.at_keyword(word);
        if found {
            self.position += word.len();
            self.skip_spaces();
        }
        found
    }

    /// `a OR b`; within `key:(…)` all values are that key's.
    fn either(&mut self, key: Option<&Key>) -> Result<Query, ParseError> {
        let mut options = vec![self.all(key)?];
        while self.take_keyword("OR") {
            options.push(self.all(key)?);
        }
        Ok(if options.len() == 1 { options.swap_remove(0) } else { Query::Or(options) })
    }

    /// `a AND b`, `a b`.
    fn all(&mut self, key: Option<&Key>) -> Result<Query, ParseError> {
        let mut conditions = vec![self.clause(key)?];
        loop {
            self.skip_spaces();
            let ends = matches!(self.peek(), None | Some(')')) || self.at_keyword("OR");
            if !self.take_keyword("AND") && ends {
                break;
            }
            conditions.push(self.clause(key)?);
        }
        Ok(if conditions.len() == 1 { conditions.swap_remove(0) } else { Query::And(conditions) })
    }

    fn clause(&mut self, key: Option<&Key>) -> Result<Query, ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail(format!("the query is nested deeper than {MAX_DEPTH} levels"));
        }
        self.skip_spaces();
        let start = self.position;
        let signed = self.characters.get(start + 1).is_some_and(|next| !next.is_whitespace());
        // Behind a key, a sign may belong to a number.
        let clause = if self.take_keyword("NOT") || (key.is_none() && signed && self.take('-')) {
            Query::Not(Box::new(self.clause(key)?))
        } else if key.is_none() && signed && self.take('+') {
            self.clause(key)?
        } else if self.take('(') {
            let inner = self.either(key)?;
            if !self.take(')') {
                return self.fail_at(start, "this \"(\" is not closed");
            }
            inner
        } else {
            self.condition(key)?
        };
        self.depth -= 1;
        Ok(clause)
    }

    fn condition(&mut self, key: Option<&Key>) -> Result<Query, ParseError> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return self.fail(format!("the query has more than {MAX_CONDITIONS} conditions"));
        }
        for keyword in ["AND", "OR"] {
            if self.at_keyword(keyword) {
                return self.fail(format!("expected a condition, found {keyword} (quote it if you mean the word)"));
            }
        }
        if matches!(self.peek(), None | Some(')')) {
            return self.fail(format!("expected a condition, found {}", self.found()));
        }
        if let Some(key) = key {
            return self.value(key);
        }
        let start = self.position;
        if self.peek() == Some('"') {
            let text = self.quoted()?;
            return self.words(start, &text);
        }
        let (word, colon) = self.raw(|character| character == ':')?;
        if !colon {
            return self.message_word(start, &word);
        }
        let key = self.key(start, &word)?;
        self.value(&key)
    }

    /// Characters up to a space, parenthesis or quote, or to (and including) an `end`; and whether that was there.
    fn raw(&mut self, end: impl Fn(char) -> bool) -> Result<(Vec<Character>, bool), ParseError> {
        let mut characters = Vec::new();
        while let Some(character) = self.peek() {
            if character.is_whitespace() || matches!(character, '(' | ')' | '"') {
                break;
            }
            self.position += 1;
            if end(character) {
                return Ok((characters, true));
            }
            if character == '\\' {
                let Some(next) = self.peek() else {
                    return self.fail("expected a character after the backslash, found the end");
                };
                self.position += 1;
                characters.push((next, true));
            } else {
                characters.push((character, false));
            }
        }
        Ok((characters, false))
    }

    fn quoted(&mut self) -> Result<String, ParseError> {
        let start = self.position;
        self.position += 1;
        let mut text = String::new();
        loop {
            let character = match self.peek() {
                Some('"') => {
                    self.position += 1;
                    return Ok(text);
                }
                Some('\\') => {
                    self.position += 1;
                    self.peek()
                }
                other => other,
            };
            match character {
                Some(character) => text.push(character),
                None => return self.fail_at(start, "this quote is not closed"),
            }
            self.position += 1;
        }
    }

    fn key(&self, start: usize, word: &[Character]) -> Result<Key, ParseError> {
        if let Some(at) = word.iter().position(|&(character, escaped)| is_wild(character) && !escaped) {
            let message = "a key can't be a pattern; write its name (a backslash makes this character ordinary)";
            return self.fail_at(start + at, message);
        }
        let name: String = word.iter().map(|(character, _)| character).collect();
        match Key::from_name(&name) {
            Some(key) => Ok(key),
            None => self.fail_at(start, format!("expected a key before \":\", found \"{name}\"")),
        }
    }

    fn message_word(&self, start: usize, word: &[Character]) -> Result<Query, ParseError> {
        if matches!(word, [('*', false)]) {
            return Ok(Query::All);
        }
        if word.iter().any(|&(character, escaped)| is_wild(character) && !escaped) {
            let odd =
                |&(character, escaped): &Character| (escaped || !is_wild(character)) && !is_word_character(character);
            if let Some((character, _)) = word.iter().copied().find(odd) {
                let message = format!(
                    "a pattern is compared with single words, and no word has a \"{character}\"; write the parts as words beside it"
                );
                return self.fail_at(start, message);
            }
            let pattern = pattern(word).chars().map(lower).collect();
            return Ok(Query::Wildcard(Key::Message, pattern));
        }
        let text: String = word.iter().map(|(character, _)| character).collect();
        self.words(start, &text)
    }

    fn words(&self, start: usize, text: &str) -> Result<Query, ParseError> {
        match text_condition(text) {
            Some(query) => Ok(query),
            None => self.fail_at(start, "expected a word, found nothing with a letter or digit in it"),
        }
    }

    /// What stands behind a key and its colon.
    fn value(&mut self, key: &Key) -> Result<Query, ParseError> {
        let start = self.position;
        match self.peek() {
            Some('(') => return self.clause(Some(key)),
            Some('"') => {
                let text = self.quoted()?;
                return self.term(key, start, &text);
            }
            Some('[' | '{') => return self.range(key),
            Some('<' | '>') => return self.comparison(key),
            _ => {}
        }
        let (word, _) = self.raw(|_| false)?;
        if matches!(self.peek(), Some('(' | '"')) {
            return self.fail(format!("expected a space, found {} (quote the whole value)", self.found()));
        }
        if word.is_empty() {
            return self.fail(format!("expected a value for {key}, found {}", self.found()));
        }
        if matches!(*word, [('*', false)]) {
            return Ok(Query::Exists(key.clone()));
        }
        if *key == Key::Message {
            return self.message_word(start, &word);
        }
        if word.iter().any(|&(character, escaped)| is_wild(character) && !escaped) {
            if *key == Key::Timestamp {
                return self.fail_at(start, "timestamp can't fit a pattern; compare it, or give a range of times");
            }
            return Ok(Query::Wildcard(key.clone(), pattern(&word)));
        }
        let text: String = word.iter().map(|(character, _)| character).collect();
        self.term(key, start, &text)
    }

    fn term(&self, key: &Key, start: usize, text: &str) -> Result<Query, ParseError> {
        match key {
            Key::Message => self.words(start, text),
            Key::Timestamp => {
                let (first, last) = self.moment(start, text)?;
                let bound = |value| Some(Bound { value, inclusive: true });
                Ok(Query::Range(Key::Timestamp, bound(first), bound(last)))
            }
            Key::Level | Key::Service | Key::Host | Key::Tag(_) | Key::Field(_) => Ok(Query::term(key.clone(), text)),
        }
    }

    fn comparison(&mut self, key: &Key) -> Result<Query, ParseError> {
        let start = self.position;
        let greater = self.peek() == Some('>');
        self.position += 1;
        let inclusive = self.take('=');
        self.comparable(key, start)?;
        let at = self.position;
        let text = self.operand(|_| false)?;
        let (first, last) = self.operand_bounds(key, at, &text)?;
        // A date is as long as its day: `>` is after it, `>=` from its start.
        let value = if greater == inclusive { first } else { last };
        let bound = Some(Bound { value, inclusive });
        Ok(if greater { Query::Range(key.clone(), bound, None) } else { Query::Range(key.clone(), None, bound) })
    }

    fn range(&mut self, key: &Key) -> Result<Query, ParseError> {
        let start = self.position;
        self.comparable(key, start)?;
        let closes = |character| matches!(character, ']' | '}');
        let low_inclusive = self.peek() == Some('[');
        self.position += 1;
        self.skip_spaces();
        let low_at = self.position;
        let low = self.operand(closes)?;
        self.skip_spaces();
        if !self.take_keyword("TO") {
            return self.fail(format!("expected TO (a range is written [1 TO 5]), found {}", self.found()));
        }
        let high_at = self.position;
        let high = self.operand(closes)?;
        self.skip_spaces();
        let high_inclusive = match self.peek() {
            Some(']') => true,
            Some('}') => false,
            _ => return self.fail(format!("expected \"]\" or \"}}\" at the end of the range, found {}", self.found())),
        };
        self.position += 1;
        let low = match low.as_str() {
            "*" => None,
            text => {
                let (first, last) = self.operand_bounds(key, low_at, text)?;
                Some(Bound { value: if low_inclusive { first } else { last }, inclusive: low_inclusive })
            }
        };
        let high = match high.as_str() {
            "*" => None,
            text => {
                let (first, last) = self.operand_bounds(key, high_at, text)?;
                Some(Bound { value: if high_inclusive { last } else { first }, inclusive: high_inclusive })
            }
        };
        if let (Some(low), Some(high)) = (low, high)
            && low.value > high.value
        {
            return self.fail_at(start, "the range ends before it starts");
        }
        Ok(Query::Range(key.clone(), low, high))
    }

    fn comparable(&self, key: &Key, start: usize) -> Result<(), ParseError> {
        match key {
            Key::Field(_) | Key::Timestamp => Ok(()),
            _ => self
                .fail_at(start, format!("{key} is text; only fields and timestamp can be compared or be in a range")),
        }
    }

    /// The text of a number or time, up to a space, a parenthesis or an `end` (which is left where it is).
    fn operand(&mut self, end: impl Fn(char) -> bool) -> Result<String, ParseError> {
        let text = if self.peek() == Some('"') {
            self.quoted()?
        } else {
            let (word, ended) = self.raw(end)?;
            self.position -= usize::from(ended);
            word.into_iter().map(|(character, _)| character).collect()
        };
        if text.is_empty() {
            return self.fail(format!("expected a number or a time, found {}", self.found()));
        }
        Ok(text)
    }

    /// The first and the last value that an operand stands for; they differ for a date.
    fn operand_bounds(&self, key: &Key, start: usize, text: &str) -> Result<(f64, f64), ParseError> {
        if *key == Key::Timestamp {
            return self.moment(start, text);
        }
        match number(text) {
            Some(value) => Ok((value, value)),
            None => self.fail_at(start, format!("expected a number, found \"{text}\"")),
        }
    }

    fn moment(&self, start: usize, text: &str) -> Result<(f64, f64), ParseError> {
        match time::span(text) {
            // Milliseconds of the years that can be written are far below 2^53.
            #[allow(clippy::cast_precision_loss)]
            Some((first, last)) => Ok((first as f64, last as f64)),
            None => {
                let message = format!(
                    "expected a time (2024-08-16, 2024-08-16T09:30:00Z, Unix seconds or milliseconds), found \"{text}\""
                );
                self.fail_at(start, message)
            }
        }
    }
}

const fn is_wild(character: char) -> bool {
    matches!(character, '*' | '?')
}

/// The pattern that characters stand for: a backslash only where it is needed.
fn pattern(word: &[Character]) -> String {
    let mut pattern = String::with_capacity(word.len());
    let mut stars = false;
    for &(character, escaped) in word {
        // Several in a row are as good as one.
        let star = character == '*' && !escaped;
        if star && std::mem::replace(&mut stars, star) {
            continue;
        }
        stars = star;
        if escaped && matches!(character, '*' | '?' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
