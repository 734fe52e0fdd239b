//! A file cut into its documents, so that one that is broken leaves the others readable.

use std::borrow::Cow;

/// One document, or a few where they are ended by `...`.
pub(crate) struct Piece<'a> {
    pub(crate) text: Cow<'a, str>,
    /// The line it begins in, counted from 0.
    pub(crate) first_line: usize,
}

/// Cuts at every line that begins with `---`. YAML allows such a line nowhere else, not even within a text of several
/// lines (section 9.1.4 of the specification).
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut pieces = Vec::new();
    let (mut start, mut first_line, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let marker =
            line.strip_prefix("---").is_some_and(|rest| rest.trim_end().is_empty() || rest.starts_with([' ', '\t']));
        if marker && at > start {
            pieces.push((&text[start..at], first_line));
            (start, first_line) = (at, number);
        }
        at += line.len();
    }
    pieces.push((&text[start..], first_line));
    pieces
        .into_iter()
        .filter(|(text, _)| text.lines().any(says_something))
        .map(|(text, first_line)| Piece { text: join_surrogates(text), first_line })
        .collect()
}

fn says_something(line: &str) -> bool {
    let line = line.strip_prefix("---").unwrap_or(line).trim();
    !(line.is_empty() || line == "..." || line.starts_with(['#', '%']))
}

/// JSON writes a character beyond U+FFFF as two escapes, which YAML does not join.
fn join_surrogates(text: &str) -> Cow<'_, str> {
    let content = text.strip_prefix("---").unwrap_or(text).trim_start();
    if !content.starts_with(['{', '[']) || !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        joined.push_str(&rest[..at]);
        rest = &rest[at..];
        let pair = escape(rest).zip(rest.get(6..).and_then(escape));
        let character = pair.and_then(|(high, low)| char::decode_utf16([high, low]).next()).and_then(Result::ok);
        match character.filter(|character| u32::from(*character) > 0xFFFF) {
            Some(character) => {
                joined.push(character);
                rest = &rest[12..];
            }
            None => {
                // The escape and what it escapes: `\\u0041` is a backslash and four letters.
                let length = rest.chars().take(2).map(char::len_utf8).sum();
                joined.push_str(&rest[..length]);
                rest = &rest[length..];
            }
        }
    }
    joined.push_str(rest);
    Cow::Owned(joined)
}

/// The code of an escape such as `\ud83d` at the beginning of a text.
fn escape(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(String, usize)> {
        pieces(text).into_iter().map(|piece| (piece.text.into_owned(), piece.first_line)).collect()
    }

    #[test]
    fn documents_are_cut_at_their_markers() {
        let pieces = cut("# comment\n---\na: 1\n--- # next\nb: |\n  ---\n  x\n---\n\n---\n---x: 1\n");
        let expected = [("---\na: 1\n", 1), ("--- # next\nb: |\n  ---\n  x\n", 3), ("---\n---x: 1\n", 9)]
            .map(|(text, line)| (text.to_owned(), line));
        assert_eq!(pieces, expected);
        assert!(cut("").is_empty() && cut("\n# nothing\n---\n...\n").is_empty());
    }

    #[test]
    fn escapes_of_json_beyond_the_basic_plane_are_joined() {
        assert_eq!(join_surrogates(r#"{"a": "\ud83d\ude00 \\ud83d é\u00e9"}"#), r#"{"a": "😀 \\ud83d é\u00e9"}"#);
        assert_eq!(join_surrogates(r#"{"a": "\ud83d"}"#), r#"{"a": "\ud83d"}"#);
        assert_eq!(join_surrogates("{\"a\": \"\\ud83d\\u\\"), "{\"a\": \"\\ud83d\\u\\");
    }
}
