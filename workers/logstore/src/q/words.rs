//! How a message becomes words. Every store, and every query, does it exactly like this.

use crate::limits::MAX_WORD;

/// Characters each of which is a word: languages that write them put no spaces between words.
const fn stands_alone(character: char) -> bool {
    matches!(character,
        '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}')
}

/// Whether a character can be part of a word, alone or with others.
#[must_use]
pub fn is_word_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || stands_alone(character)
}

/// The character in lower case, always one for one.
#[must_use]
pub fn lower(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    // Only U+0130 has a longer lower case; Unicode's simple mapping of it is the first character of that.
    character.to_lowercase().next().unwrap_or(character)
}

/// The words of a text, in lower case, in order. See the module above for what a word is.
#[must_use]
pub fn words(text: &str) -> Words<'_> {
    Words { text, position: 0 }
}

/// The words of a text with the places where they are in it; [`words`].
#[derive(Debug, Clone)]
pub struct Words<'a> {
    text: &'a str,
    position: usize,
}

impl Words<'_> {
    /// Puts the next word into `word`, which is emptied first, and gives the bytes of the text where it is (the whole
    /// of it, even if the word was shortened).
    pub fn next_into(&mut self, word: &mut String) -> Option<std::ops::Range<usize>> {
        word.clear();
        let rest = self.text.get(self.position..)?;
        let (offset, first) = rest.char_indices().find(|(_, character)| is_word_character(*character))?;
        let start = self.position + offset;
        word.push(lower(first));
        self.position = start + first.len_utf8();
        if stands_alone(first) {
            return Some(start..self.position);
        }
        let mut units = first.len_utf16();
        for character in self.text.get(self.position..)?.chars() {
            if !is_word_character(character) || stands_alone(character) {
                break;
            }
            units += character.len_utf16();
            if units <= MAX_WORD {
                word.push(lower(character));
            }
            self.position += character.len_utf8();
        }
        Some(start..self.position)
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut word = String::new();
        self.next_into(&mut word).map(|_| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn letters_digits_and_underscores_make_words() {
        check("Connection RESET by peer", &["connection", "reset", "by", "peer"]);
        check("GET /api/v1/user_id?x=10.0.0.1", &["get", "api", "v1", "user_id", "x", "10", "0", "0", "1"]);
        check("it's über-schnell", &["it", "s", "über", "schnell"]);
        check(" --- \n\t!!", &[]);
        check("", &[]);
    }

    #[test]
    fn lower_case_is_one_for_one() {
        check("İSTANBUL ΟΔΟΣ STRASSE ẞ", &["istanbul", "οδοσ", "strasse", "ß"]);
    }

    #[test]
    fn ideographs_and_kana_stand_alone() {
        check("数据库timeoutエラー", &["数", "据", "库", "timeout", "エ", "ラ", "ー"]);
        check("한국어 텍스트", &["한국어", "텍스트"]);
        check("𠀀𠀁", &["𠀀", "𠀁"]);
    }

    #[test]
    fn long_words_are_shortened_and_end_where_they_end() {
        let long = "a".repeat(300);
        let text = format!("x {long} y");
        check(&text, &["x", &long[..256], "y"]);
        let mut iterator = words(&text);
        let mut word = String::new();
        assert_eq!(iterator.next_into(&mut word), Some(0..1));
        assert_eq!(iterator.next_into(&mut word), Some(2..302));
        // A pair of surrogates is not cut in two.
        let astral = format!("{}𐐀𐐀", "a".repeat(255));
        check(&astral, &[&"a".repeat(255)]);
    }
}
