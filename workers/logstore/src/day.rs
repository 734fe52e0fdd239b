//! Days of logs' own time, in UTC: what both stores partition by.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::limits::MAX_ID_BYTES;
use crate::q::Bound;
use crate::{RecordRef, Records, TimeSpan};

/// A day, in milliseconds.
pub(crate) const DAY: i64 = 86_400_000;
/// The first millisecond of the year 0, before which there are no logs.
const FIRST: i64 = -62_167_219_200_000;
/// The first millisecond of the year 3000, from which on there are no logs.
const END: i64 = 32_503_680_000_000;

/// The UTC day of a time, counted from 1970, if logs can have it.
pub(crate) fn day_of(time: i64) -> Option<i64> {
    (FIRST..END).contains(&time).then(|| time.div_euclid(DAY))
}

/// The days of records, each once where its records come together.
pub(crate) fn days_of_records(records: &Records) -> Vec<i64> {
    let mut days = Vec::new();
    for day in records.iter().filter_map(|record| day_of(record.timestamp)) {
        if days.last() != Some(&day) {
            days.push(day);
        }
    }
    days
}

/// The date of a day that [`day_of`] gave.
pub(crate) fn date_of(day: i64) -> Date {
    // Days between FIRST and END are within what jiff knows.
    let time = jiff::Timestamp::from_millisecond(day.saturating_mul(DAY)).unwrap_or_default();
    time.to_zoned(TimeZone::UTC).date()
}

/// The first and the last day that a span touches; none if there can't be logs in it.
pub(crate) fn days_of(span: TimeSpan) -> Option<(i64, i64)> {
    let (from, to) = clamped(span);
    (from < to).then(|| (from.div_euclid(DAY), (to - 1).div_euclid(DAY)))
}

/// A span within the years that logs can have, as milliseconds: from, and before.
pub(crate) fn clamped(span: TimeSpan) -> (i64, i64) {
    (span.from.unwrap_or(FIRST).clamp(FIRST, END), span.to.unwrap_or(END).clamp(FIRST, END))
}

/// The whole milliseconds between bounds that may lie between two milliseconds.
pub(crate) fn between(low: Option<Bound>, high: Option<Bound>) -> TimeSpan {
    // As casts do, to the nearest that there is: far more than logs can have in either direction.
    #[allow(clippy::cast_possible_truncation)]
    let whole = |value: f64| value as i64;
    let from = low.map(|bound| match bound.inclusive {
        true => whole(bound.value.ceil()),
        false => whole(bound.value.floor()).saturating_add(1),
    });
    let to = high.map(|bound| match bound.inclusive {
        true => whole(bound.value.floor()).saturating_add(1),
        false => whole(bound.value.ceil()),
    });
    TimeSpan { from, to }
}

/// The day of a record that a store can take, or why none can.
pub(crate) fn checked(record: RecordRef<'_>) -> Result<i64, String> {
    if record.id.is_empty() || record.id.len() > MAX_ID_BYTES {
        return Err(format!("its id has {} bytes; 1 to {MAX_ID_BYTES} are possible", record.id.len()));
    }
    if record.source.is_empty() {
        return Err("it is empty".to_owned());
    }
    day_of(record.timestamp)
        .ok_or_else(|| format!("its timestamp, {} ms since 1970, is not in the years 0 to 2999", record.timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_utc() {
        let date = |time| day_of(time).map(|day| date_of(day).to_string());
        assert_eq!(date(1_723_766_400_000).as_deref(), Some("2024-08-16"));
        assert_eq!(date(1_723_766_399_999).as_deref(), Some("2024-08-15"));
        assert_eq!(date(-1).as_deref(), Some("1969-12-31"));
        assert_eq!(date(FIRST).as_deref(), Some("0000-01-01"));
        assert_eq!(date(END - 1).as_deref(), Some("2999-12-31"));
        assert_eq!(date(FIRST - 1), None);
        assert_eq!(date(END), None);
        assert_eq!(date(i64::MIN), None);
    }

    #[test]
    fn times_are_whole_milliseconds() {
        let between = |low, high| {
            let bound = |(value, inclusive)| Some(Bound { value, inclusive });
            let span = super::between(bound(low), bound(high));
            (span.from, span.to)
        };
        assert_eq!(between((10.0, true), (20.0, true)), (Some(10), Some(21)));
        assert_eq!(between((10.0, false), (20.0, false)), (Some(11), Some(20)));
        assert_eq!(between((10.5, true), (20.5, true)), (Some(11), Some(21)));
        assert_eq!(between((10.5, false), (20.5, false)), (Some(11), Some(21)));
        assert_eq!(clamped(super::between(Some(Bound { value: f64::MIN, inclusive: true }), None)), (FIRST, END));
    }
}
