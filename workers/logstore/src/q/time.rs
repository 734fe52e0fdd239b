//! Times as people write them into queries.

use jiff::{Timestamp, civil, tz::TimeZone};

/// Numbers from here on are milliseconds, smaller ones seconds: as seconds it is the year 5138, as milliseconds 1973.
const FIRST_MILLISECOND: f64 = 1e11;

/// The first and the last millisecond of a date (in UTC), or twice the same for a time: RFC 3339 (without an offset:
/// UTC), or Unix seconds or milliseconds.
pub(super) fn span(text: &str) -> Option<(i64, i64)> {
    if let Some(value) = super::number(text) {
        let milliseconds = if value.abs() < FIRST_MILLISECOND { value * 1e3 } else { value };
        let timestamp = Timestamp::from_millisecond(whole(milliseconds)?).ok()?;
        return Some((timestamp.as_millisecond(), timestamp.as_millisecond()));
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some((timestamp.as_millisecond(), timestamp.as_millisecond()));
    }
    if text.contains(['T', 't', ' ']) {
        let timestamp = in_utc(text.parse().ok()?)?;
        return Some((timestamp, timestamp));
    }
    let day: civil::Date = text.parse().ok()?;
    Some((
        in_utc(day.to_datetime(civil::Time::midnight()))?,
        in_utc(day.to_datetime(civil::time(23, 59, 59, 999_000_000)))?,
    ))
}

fn in_utc(time: civil::DateTime) -> Option<i64> {
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// A float as an integer, if it is one that floats hold exactly.
#[allow(clippy::cast_possible_truncation)]
fn whole(value: f64) -> Option<i64> {
    (value.abs() <= super::EXACT).then_some(value.floor() as i64)
}
