//! Timestamps as logs have them.
//!
//! Days are counted with the algorithms `days_from_civil` and `civil_from_days` of Howard Hinnant's "chrono-Compatible
//! Low-Level Date Algorithms".

use serde_json::{Number, Value};

/// A timestamp that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timestamp {
    /// Milliseconds since 1970.
    pub(crate) millis: i64,
    /// The same in RFC 3339, with all the digits that were given. None where the text given is that already.
    pub(crate) text: Option<String>,
}

/// The latest second of the year 9999; what is later has no RFC 3339.
const LAST_SECOND: i64 = 253_402_300_799;
/// The first second of the year 1.
const FIRST_SECOND: i64 = -62_135_596_800;

/// Reads RFC 3339 with any offset (also with a space, without an offset, which means UTC, or with a decimal comma), or
/// Unix time as [`from_number`] does.
pub(crate) fn from_text(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(parts) = Parts::read(text) {
        let millis = parts.millis()?;
        return Some(Timestamp { millis, text: (!parts.is_canonical).then(|| parts.to_text()) });
    }
    let is_number = text.len() <= 30 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number { from_number(&serde_json::from_str(text).ok()?) } else { None }
}

/// Reads Unix time in seconds, milliseconds, microseconds or nanoseconds, told apart by size: seconds reach to the year
/// 5138, the others from 1973 on.
pub(crate) fn from_number(number: &Number) -> Option<Timestamp> {
    let nanos = if let Some(whole) = number.as_i64() {
        let nanos_per_unit: i128 = match whole {
            0..100_000_000_000 => 1_000_000_000,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            100_000_000_000_000_000.. => 1,
            _ => return None,
        };
        i128::from(whole) * nanos_per_unit
    } else {
        let number = number.as_f64().filter(|number| *number >= 0.0 && *number < 1e18)?;
        // A double holds microseconds of today's seconds, and no more.
        let micros = if number < 1e11 {
            number * 1e6
        } else if number < 1e14 {
            number * 1e3
        } else {
            number
        };
        #[allow(clippy::cast_possible_truncation, reason = "below 1e18")]
        let micros = micros.round() as i128;
        micros * 1_000
    };
    let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    let (seconds, nanos) = (i64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
    (FIRST_SECOND..=LAST_SECOND).contains(&seconds).then(|| Timestamp {
        millis: seconds * 1_000 + i64::from(nanos / 1_000_000),
        text: Some(format(seconds, nanos)),
    })
}

/// Reads a timestamp from a JSON text or number.
pub(crate) fn from_value(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => from_text(text),
        Value::Number(number) => from_number(number),
        _ => None,
    }
}

/// Milliseconds since 1970 as RFC 3339.
pub(crate) fn format_millis(millis: i64) -> String {
    let seconds = millis.div_euclid(1_000).clamp(FIRST_SECOND, LAST_SECOND);
    // Less than a thousand.
    let nanos = u32::try_from(millis.rem_euclid(1_000)).unwrap_or(0) * 1_000_000;
    format(seconds, nanos)
}

/// Nanoseconds since 1970 as milliseconds and as RFC 3339.
pub(crate) fn from_nanos(nanos: u64) -> (i64, String) {
    // Both fit: 64 bits of nanoseconds reach to the year 2554.
    let seconds = (nanos / 1_000_000_000).cast_signed();
    let nanos = (nanos % 1_000_000_000) as u32;
    (seconds * 1_000 + i64::from(nanos / 1_000_000), format(seconds, nanos))
}

/// The milliseconds of an RFC 3339 text that can be stored as it is: `T`, seconds, at most nine digits behind the dot,
/// and `Z` or an offset with a colon.
pub(crate) fn canonical_millis(text: &str) -> Option<i64> {
    Parts::read(text).filter(|parts| parts.is_canonical)?.millis()
}

fn format(seconds: i64, nanos: u32) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let fraction = match nanos {
        0 => String::new(),
        nanos if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!(".{:06}", nanos / 1_000),
        nanos => format!(".{nanos:09}"),
    };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// What an RFC 3339 text says.
struct Parts<'a> {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    /// Digits behind the dot, at most nine.
    fraction: &'a str,
    /// Minutes east of Greenwich.
    offset: i64,
    is_canonical: bool,
}

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() < 19 || bytes[4] != b'-' || bytes[7] != b'-' || bytes[13] != b':' || bytes[16] != b':' {
            return None;
        }
        let mut is_canonical = match bytes[10] {
            b'T' => true,
            b't' | b' ' => false,
            _ => return None,
        };
        let mut at = 19;
        let mut fraction = "";
        if let Some(b'.' | b',') = bytes.get(at) {
            is_canonical &= bytes[at] == b'.';
            let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            is_canonical &= digits <= 9;
            fraction = &text[at + 1..at + 1 + digits.min(9)];
            at += 1 + digits;
        }
        let zone = text.get(at..)?;
        let offset = match zone.as_bytes() {
            b"Z" => 0,
            b"z" | b"" | b" UTC" | b" Z" => {
                is_canonical = false;
                0
            }
            [b' ', rest @ ..] => {
                is_canonical = false;
                read_offset(rest)?.0
            }
            rest => {
                let (offset, has_colon) = read_offset(rest)?;
                is_canonical &= has_colon;
                offset
            }
        };
        let parts = Self {
            year: number(&bytes[0..4])?,
            month: number(&bytes[5..7])?,
            day: number(&bytes[8..10])?,
            hour: number(&bytes[11..13])?,
            minute: number(&bytes[14..16])?,
            second: number(&bytes[17..19])?,
            fraction,
            offset,
            is_canonical,
        };
        let is_real = parts.year >= 1
            && (1..=12).contains(&parts.month)
            && parts.day >= 1
            && parts.day <= days_of_month(parts.year, parts.month)
            && parts.hour < 24
            && parts.minute < 60
            && parts.second <= 60;
        if parts.second == 60 {
            // A leap second: no store knows it. It is told as the second before it.
            return is_real.then_some(Self { second: 59, is_canonical: false, ..parts });
        }
        is_real.then_some(parts)
    }

    /// None where it is in UTC before the year 1 or after 9999.
    fn millis(&self) -> Option<i64> {
        let days = days_from_civil(i64::from(self.year), i64::from(self.month), i64::from(self.day));
        let minutes = days * 1_440 + i64::from(self.hour * 60 + self.minute) - self.offset;
        let seconds = minutes * 60 + i64::from(self.second);
        let millis = match self.fraction.as_bytes() {
            [] => 0,
            [a] => u32::from(a - b'0') * 100,
            [a, b] => u32::from(a - b'0') * 100 + u32::from(b - b'0') * 10,
            [a, b, c, ..] => u32::from(a - b'0') * 100 + u32::from(b - b'0') * 10 + u32::from(c - b'0'),
        };
        (FIRST_SECOND..=LAST_SECOND).contains(&seconds).then(|| seconds * 1_000 + i64::from(millis))
    }

    fn to_text(&self) -> String {
        let Self { year, month, day, hour, minute, second, fraction, offset, .. } = self;
        let dot = if fraction.is_empty() { "" } else { "." };
        let zone = match offset {
            0 => "Z".to_owned(),
            offset => {
                let sign = if *offset < 0 { '-' } else { '+' };
                format!("{sign}{:02}:{:02}", offset.abs() / 60, offset.abs() % 60)
            }
        };
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{dot}{fraction}{zone}")
    }
}

/// `+02:00`, `+0200` or `+02`, in minutes, and whether it is the first.
fn read_offset(bytes: &[u8]) -> Option<(i64, bool)> {
    let sign = match bytes.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes, has_colon) = match bytes.len() {
        6 if bytes[3] == b':' => (number(&bytes[1..3])?, number(&bytes[4..6])?, true),
        5 => (number(&bytes[1..3])?, number(&bytes[3..5])?, false),
        3 => (number(&bytes[1..3])?, 0, false),
        _ => return None,
    };
    // The widest offsets in use are +14:00 and -12:00; Elasticsearch's limit is 18 hours.
    (hours < 18 && minutes < 60).then(|| (sign * i64::from(hours * 60 + minutes), has_colon))
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

fn days_of_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2024-08-16T12:00:00Z", None)]
    #[case("2024-08-16T14:00:00+02:00", None)]
    #[case("2024-08-16T12:00:00.000000000Z", None)]
    #[case("2024-08-16 12:00:00", Some("2024-08-16T12:00:00Z"))]
    #[case("2024-08-16 12:00:00,000", Some("2024-08-16T12:00:00.000Z"))]
    #[case("2024-08-16t12:00:00z", Some("2024-08-16T12:00:00Z"))]
    #[case("2024-08-16T14:00:00.0+0200", Some("2024-08-16T14:00:00.0+02:00"))]
    #[case("2024-08-16 07:00:00 -05", Some("2024-08-16T07:00:00-05:00"))]
    #[case("2024-08-16 12:00:00 UTC", Some("2024-08-16T12:00:00Z"))]
    #[case("2024-08-16T12:00:00.0000000001Z", Some("2024-08-16T12:00:00.000000000Z"))]
    #[case("1723809600", Some("2024-08-16T12:00:00Z"))]
    #[case("1723809600.0", Some("2024-08-16T12:00:00Z"))]
    #[case("1723809600000", Some("2024-08-16T12:00:00Z"))]
    #[case("1723809600000000", Some("2024-08-16T12:00:00Z"))]
    #[case("1723809600000000000", Some("2024-08-16T12:00:00Z"))]
    fn noon_is_read_in_every_spelling(#[case] text: &str, #[case] rewritten: Option<&str>) {
        let timestamp = from_text(text).expect(text);
        assert_eq!((timestamp.millis, timestamp.text.as_deref()), (1_723_809_600_000, rewritten));
    }

    #[rstest]
    #[case("1723809600.123", "2024-08-16T12:00:00.123Z")]
    #[case("1723809600123456", "2024-08-16T12:00:00.123456Z")]
    #[case("1723809600123456789", "2024-08-16T12:00:00.123456789Z")]
    #[case("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z")]
    fn digits_are_kept(#[case] text: &str, #[case] rewritten: &str) {
        assert_eq!(from_text(text).and_then(|timestamp| timestamp.text).as_deref(), Some(rewritten));
    }

    #[rstest]
    #[case("")]
    #[case("yesterday")]
    #[case("-5")]
    #[case("1.2.3")]
    #[case("2024-08-16")]
    #[case("2023-02-29T00:00:00Z")]
    #[case("2024-13-01T00:00:00Z")]
    #[case("2024-08-16T24:00:00Z")]
    #[case("2024-08-16T12:00:00.Z")]
    #[case("2024-08-16T12:00:00+2:00")]
    #[case("2024-08-16T12:00:00Zulu")]
    #[case("0000-01-01T00:00:00Z")]
    #[case("9999-12-31T23:59:59-01:00")]
    #[case("2024-08-16T12:00:0\u{e9}Z")]
    fn what_is_no_time_is_not_read(#[case] text: &str) {
        assert_eq!(from_text(text), None, "{text}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(millis in -62_135_596_800_000_i64..=253_402_300_799_999) {
            let text = format_millis(millis);
            prop_assert_eq!(canonical_millis(&text), Some(millis), "{}", text);
            let civil: jiff::Timestamp = text.parse().expect("jiff reads it");
            prop_assert_eq!(civil.as_millisecond(), millis);
        }

        #[test]
        fn a_rewritten_timestamp_is_canonical_and_means_the_same(
            text in "[0-9]{4}-[0-1][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-5][0-9]:[0-6][0-9]([.,][0-9]{1,11})?(Z|z| UTC|[+-][0-1][0-9]:?[0-5][0-9])?"
        ) {
            if let Some(Timestamp { millis, text: Some(rewritten) }) = from_text(&text) {
                prop_assert_eq!(canonical_millis(&rewritten), Some(millis), "{}", rewritten);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = from_text(&text);
        }
    }
}
