//! What a log says besides its message, as tokens: bytes that are in the index's dictionary in an order of use.
//!
//! A token is the key, a byte that no text has, a letter for the kind of token, and a value.
//!
//! | kind | value | is there for |
//! | --- | --- | --- |
//! | [`TEXT`] | the text of a value | terms, and patterns: those with the same beginning stand together |
//! | [`EXISTS`] | nothing | `key:*`; a field's path has one for each path that it begins with |
//! | [`NUMBERS`] | the first 2, 4 or all 8 bytes of a number, such that their order is that of the numbers | ranges |
//!
//! A range of numbers is a few ranges of tokens: the coarse ones cover its inside, the finer ones its edges.

use std::ops::Range;

use crate::limits::{MAX_PATH, MAX_VALUE, within};
use crate::q::{self, Bound, Key};
use crate::{LogEntry, q::Leaf};

/// Never occurs in UTF-8.
const SEPARATOR: u8 = 0xFF;
const TEXT: u8 = b't';
const EXISTS: u8 = b'e';
/// The kinds of tokens for numbers, each with how many of the 64 bits it leaves out, the coarsest first.
const NUMBERS: [(u8, u32); 3] = [(b'1', 48), (b'2', 32), (b'3', 0)];

/// Tokens from the first one on and before the second.
pub(super) type TokenRange = Range<Vec<u8>>;

/// What tokens of a key begin with. None for the timestamp, which has a column of its own.
fn start(key: &Key) -> Option<Vec<u8>> {
    Some(match key {
        Key::Message => start_of(b'm', ""),
        Key::Level => start_of(b'l', ""),
        Key::Service => start_of(b's', ""),
        Key::Host => start_of(b'h', ""),
        Key::Tag(name) => start_of(b't', name),
        Key::Field(path) => start_of(b'f', path),
        Key::Timestamp => return None,
    })
}

fn start_of(kind: u8, name: &str) -> Vec<u8> {
    let mut token = Vec::with_capacity(name.len() + 16);
    token.push(kind);
    token.extend_from_slice(name.as_bytes());
    token.push(SEPARATOR);
    token
}

/// The token that logs have in which a key has this text.
pub(super) fn text(key: &Key, text: &str) -> Option<Vec<u8>> {
    let mut token = start(key)?;
    token.push(TEXT);
    token.extend_from_slice(text.as_bytes());
    Some(token)
}

/// The token that logs have in which a key is there.
pub(super) fn exists(key: &Key) -> Option<Vec<u8>> {
    let mut token = start(key)?;
    token.push(EXISTS);
    Some(token)
}

/// The token that logs have in which a field is this number.
pub(super) fn number(path: &str, number: f64) -> Vec<u8> {
    let mut token = start_of(b'f', path);
    let (kind, bits) = NUMBERS[NUMBERS.len() - 1];
    push_number(&mut token, kind, bits, ordered(number));
    token
}

/// The tokens of a key's texts with this beginning, and how many bytes stand before the text in each.
pub(super) fn texts_from(key: &Key, beginning: &str) -> Option<(TokenRange, usize)> {
    let first = text(key, beginning)?;
    let before = first.len() - beginning.len();
    Some((first.clone()..after_all_with(first), before))
}

/// The first bytes behind all that begin with these.
pub(super) fn after_all_with(mut beginning: Vec<u8>) -> Vec<u8> {
    while let Some(last) = beginning.pop() {
        if last < u8::MAX {
            beginning.push(last + 1);
            break;
        }
    }
    beginning
}

/// The tokens that logs have in which a field is a number within bounds.
pub(super) fn numbers_within(path: &str, low: Option<Bound>, high: Option<Bound>) -> Vec<TokenRange> {
    if low.is_some_and(|bound| bound.value.is_nan()) || high.is_some_and(|bound| bound.value.is_nan()) {
        return Vec::new();
    }
    let first = match low {
        None => Some(0),
        Some(Bound { value, inclusive: true }) => Some(ordered(value)),
        Some(Bound { value, inclusive: false }) => ordered(value).checked_add(1),
    };
    let last = match high {
        None => Some(u64::MAX),
        Some(Bound { value, inclusive: true }) => Some(ordered(value)),
        Some(Bound { value, inclusive: false }) => ordered(value).checked_sub(1),
    };
    let mut ranges = Vec::new();
    if let (Some(first), Some(last)) = (first, last)
        && first <= last
    {
        cover(first, last, &NUMBERS, &mut |kind, bits, first, last| {
            let mut from = start_of(b'f', path);
            let mut to = from.clone();
            push_number(&mut from, kind, bits, first);
            push_number(&mut to, kind, bits, last);
            ranges.push(from..after_all_with(to));
        });
    }
    ranges
}

/// Covers the numbers from `first` to `last` with as coarse steps as possible.
fn cover(first: u64, last: u64, steps: &[(u8, u32)], add: &mut impl FnMut(u8, u32, u64, u64)) {
    let Some(((kind, bits), finer)) = steps.split_first() else { return };
    let width = 1_u128 << bits;
    // The whole steps within: from the first that begins there up to, and without, the last that does not end there.
    let from = u128::from(first).div_ceil(width);
    let to = (u128::from(last) + 1) / width;
    if from >= to {
        return cover(first, last, finer, add);
    }
    let (inner_first, inner_end) = (from * width, to * width);
    // All are within 64 bits, but for an end that is just behind them.
    let narrow = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
    add(*kind, *bits, narrow(inner_first), narrow(inner_end - 1));
    if u128::from(first) < inner_first {
        cover(first, narrow(inner_first - 1), finer, add);
    }
    if inner_end <= u128::from(last) {
        cover(narrow(inner_end), last, finer, add);
    }
}

/// The bits of a number such that their order is that of numbers. Both zeros are one.
fn ordered(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn push_number(token: &mut Vec<u8>, kind: u8, bits: u32, ordered: u64) {
    token.push(kind);
    let kept = 8 - bits as usize / 8;
    token.extend_from_slice(&ordered.to_be_bytes()[..kept]);
}

/// Calls `add` with all tokens of a log.
pub(super) fn of(entry: &LogEntry, add: &mut impl FnMut(&[u8])) {
    let mut token = Vec::with_capacity(128);
    if q::words(&entry.message).next().is_some() {
        begin(&mut token, b'm', "");
        token.push(EXISTS);
        add(&token);
    }
    for (kind, value) in [(b'l', &entry.level), (b's', &entry.service), (b'h', &entry.host)] {
        if !value.is_empty() {
            begin(&mut token, kind, "");
            add_text(&mut token, value, add);
        }
    }
    for (name, value) in &entry.tags {
        if within(name, MAX_PATH) {
            begin(&mut token, b't', name);
            add_text(&mut token, value, add);
        }
    }
    q::leaves(&entry.fields, &mut |path, leaf| {
        if within(path, MAX_PATH) {
            add_leaf(&mut token, path, &leaf, add);
        }
    });
}

fn begin(token: &mut Vec<u8>, kind: u8, name: &str) {
    token.clear();
    token.push(kind);
    token.extend_from_slice(name.as_bytes());
    token.push(SEPARATOR);
}

/// Adds the tokens of a value; `token` holds how tokens of its key begin.
fn add_text(token: &mut Vec<u8>, value: &str, add: &mut impl FnMut(&[u8])) {
    let length = token.len();
    token.push(EXISTS);
    add(token);
    token.truncate(length);
    if within(value, MAX_VALUE) {
        token.push(TEXT);
        token.extend_from_slice(value.as_bytes());
        add(token);
        token.truncate(length);
    }
}

fn add_leaf(token: &mut Vec<u8>, path: &str, leaf: &Leaf<'_>, add: &mut impl FnMut(&[u8])) {
    for (dot, _) in path.match_indices('.') {
        begin(token, b'f', &path[..dot]);
        token.push(EXISTS);
        add(token);
    }
    begin(token, b'f', path);
    add_text(token, &leaf.text, add);
    if let Some(number) = leaf.number {
        let length = token.len();
        for (kind, bits) in NUMBERS {
            push_number(token, kind, bits, ordered(number));
            add(token);
            token.truncate(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_of_tokens_is_that_of_numbers() {
        let numbers = [f64::MIN, -1e9, -2.0, -1.5, -f64::MIN_POSITIVE, 0.0, 1e-300, 1.0, 1.5, 2.0, 1e9, f64::MAX];
        assert!(numbers.windows(2).all(|pair| ordered(pair[0]) < ordered(pair[1])));
        assert_eq!(ordered(-0.0), ordered(0.0));
    }

    fn any_number() -> impl Strategy<Value = f64> {
        prop_oneof![-5.0..5.0, (-10_i32..10).prop_map(f64::from), any::<f64>().prop_filter("finite", |n| n.is_finite())]
    }

    proptest! {
        #[test]
        fn a_number_has_a_token_in_the_ranges_if_it_is_within(
            number in any_number(),
            low in proptest::option::of((any_number(), any::<bool>())),
            high in proptest::option::of((any_number(), any::<bool>())),
        ) {
            let [low, high] = [low, high].map(|end| end.map(|(value, inclusive)| Bound { value, inclusive }));
            let expected = low.is_none_or(|it| number > it.value || it.inclusive && number == it.value)
                && high.is_none_or(|it| number < it.value || it.inclusive && number == it.value);
            let ranges = numbers_within("n", low, high);
            prop_assert!(ranges.len() <= 5);
            let mut hits = 0;
            let mut token = Vec::new();
            let leaf = Leaf { text: "".into(), number: Some(number) };
            add_leaf(&mut token, "n", &leaf, &mut |token| {
                hits += ranges.iter().filter(|range| range.start.as_slice() <= token && token < range.end.as_slice()).count();
            });
            prop_assert_eq!(hits, usize::from(expected));
        }
    }
}
