//! What an unquoted word of YAML means.
//!
//! YAML 1.2 and the older rules that `kubectl` goes by differ on a few words. A file must mean the same to Taffrail and
//! to `kubectl apply`, so those words are refused, and quotes settle the matter.

use serde_json::Number;

/// What a scalar means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Meaning {
    Null,
    Bool(bool),
    Number(Number),
    Text,
    /// Nothing that could be relied on; says why, and what to write.
    Odd(String),
}

/// The meaning of a word that is not in quotes.
pub(crate) fn meaning(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        "true" | "True" | "TRUE" => return Meaning::Bool(true),
        "false" | "False" | "FALSE" => return Meaning::Bool(false),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return boolean_to_some(text, true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return boolean_to_some(text, false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Meaning::Odd(format!("`{text}` is not a finite number"));
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Meaning::Text;
    }
    if let Some(digits) = unsigned.strip_prefix("0x") {
        if digits.contains('_') && digits.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'_') {
            return number_to_some(text);
        }
        let number = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let number = number.and_then(|digits| i64::from_str_radix(digits, 16).ok());
        return number.map_or(Meaning::Text, |number| {
            Meaning::Number(Number::from(if text.starts_with('-') { -number } else { number }))
        });
    }
    if is_decimal(unsigned) {
        let digits = unsigned.bytes().all(|byte| byte.is_ascii_digit());
        if digits && unsigned.len() > 1 && unsigned.starts_with('0') {
            return number_to_some(text);
        }
        return number(text);
    }
    let prefixed = unsigned.strip_prefix("0o").or_else(|| unsigned.strip_prefix("0b"));
    let without = unsigned.replace('_', "");
    if prefixed.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        || (without.len() < unsigned.len() && is_decimal(&without))
    {
        return number_to_some(text);
    }
    Meaning::Text
}

fn number(text: &str) -> Meaning {
    let text = text.strip_prefix('+').unwrap_or(text);
    let whole = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
    let number = whole.ok().or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64));
    number.map_or_else(|| Meaning::Odd(format!("`{text}` is too large a number")), Meaning::Number)
}

fn boolean_to_some(text: &str, value: bool) -> Meaning {
    Meaning::Odd(format!(
        "`{text}` without quotes is {value} to kubectl and a text to others: write \"{text}\" for the text, or {value}"
    ))
}

fn number_to_some(text: &str) -> Meaning {
    Meaning::Odd(format!(
        "`{text}` without quotes is a different number to different readers of YAML: write \"{text}\" for the text, or \
         a plain decimal number"
    ))
}

/// Digits with at most one point and an exponent, without a sign.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_they_mean_to_kubectl() {
        for (text, expected) in [
            ("null", Meaning::Null),
            ("TRUE", Meaning::Bool(true)),
            ("10", Meaning::Number(10.into())),
            ("-3", Meaning::Number((-3).into())),
            ("18446744073709551615", Meaning::Number(u64::MAX.into())),
            ("0x1F", Meaning::Number(31.into())),
            ("-0x1F", Meaning::Number((-31).into())),
            ("tRue", Meaning::Text),
            ("5m", Meaning::Text),
            ("1.2.3", Meaning::Text),
            ("10.0.0.1:9092", Meaning::Text),
            ("2026-12-01T00:00:00Z", Meaning::Text),
            ("1e", Meaning::Text),
            (".", Meaning::Text),
            ("-", Meaning::Text),
            ("==", Meaning::Text),
        ] {
            assert_eq!(meaning(text), expected, "{text}");
        }
        for (text, expected) in [("0.5", 0.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-1.5E-1", -0.15)] {
            assert_eq!(meaning(text), Meaning::Number(Number::from_f64(expected).expect("finite")), "{text}");
        }
    }

    #[test]
    fn words_that_readers_of_yaml_disagree_on_are_refused() {
        for text in ["yes", "No", "ON", "y", "0755", "1_000", "0o17", "0b11", "0x_1", ".inf", "-.INF", ".nan", "1e999"]
        {
            assert!(matches!(meaning(text), Meaning::Odd(_)), "{text}: {:?}", meaning(text));
        }
    }
}
