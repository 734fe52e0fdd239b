//! The names of the indices.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::TimeSpan;

/// A day, in milliseconds.
pub(super) const DAY: i64 = 86_400_000;
/// The first millisecond of the year 0, before which there are no logs.
const FIRST: i64 = -62_167_219_200_000;
/// The first millisecond of the year 3000, from which on there are no logs.
const END: i64 = 32_503_680_000_000;
/// As many days are named one by one in a search, which spares the other indices; more are covered by patterns.
const NAMED_DAYS: i64 = 16;

/// The UTC day of a time, counted from 1970, if logs can have it.
pub(super) fn day_of(time: i64) -> Option<i64> {
    (FIRST..END).contains(&time).then(|| time.div_euclid(DAY))
}

/// The index of a day that [`day_of`] gave: `logs-2024.08.16`.
pub(super) fn name_of(base: &str, day: i64) -> String {
    // Days between FIRST and END are within what jiff knows.
    let time = Timestamp::from_millisecond(day * DAY).unwrap_or_default();
    let date = time.to_zoned(TimeZone::UTC).date();
    format!("{base}-{:04}.{:02}.{:02}", date.year(), date.month(), date.day())
}

/// Patterns that fit all daily indices, and as little else as patterns without `?` and classes can.
pub(super) fn patterns(base: &str) -> Vec<String> {
    ('0'..='2').map(|millennium| format!("{base}-{millennium}*.*.*")).collect()
}

/// The path of the indices in which logs of a span are: none if there can't be any.
pub(super) fn searched(base: &str, span: TimeSpan) -> Option<String> {
    let first = span.from.unwrap_or(i64::MIN).max(FIRST);
    let last = span.to.unwrap_or(i64::MAX).min(END).saturating_sub(1);
    if first > last {
        return None;
    }
    let (first, last) = (first.div_euclid(DAY), last.div_euclid(DAY));
    if last - first < NAMED_DAYS {
        return Some((first..=last).map(|day| name_of(base, day)).collect::<Vec<_>>().join(","));
    }
    // The exclusion keeps out what belongs to longer base names: with `logs`, `logs-2nd-2024.08.16`.
    Some(format!("{},-{base}-*-*", patterns(base).join(",")))
}

/// A span within the years that logs can have, as milliseconds: from, and before.
pub(super) fn clamped(span: TimeSpan) -> (i64, i64) {
    (span.from.unwrap_or(FIRST).clamp(FIRST, END), span.to.unwrap_or(END).clamp(FIRST, END))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_utc() {
        let name = |time| day_of(time).map(|day| name_of("logs", day));
        assert_eq!(name(1_723_766_400_000).as_deref(), Some("logs-2024.08.16"));
        assert_eq!(name(1_723_766_399_999).as_deref(), Some("logs-2024.08.15"));
        assert_eq!(name(-1).as_deref(), Some("logs-1969.12.31"));
        assert_eq!(name(FIRST).as_deref(), Some("logs-0000.01.01"));
        assert_eq!(name(END - 1).as_deref(), Some("logs-2999.12.31"));
        assert_eq!(name(FIRST - 1), None);
        assert_eq!(name(END), None);
        assert_eq!(name(i64::MIN), None);
    }

    #[test]
    fn short_spans_name_their_indices_and_long_ones_use_patterns() {
        let searched = |from, to| searched("logs", TimeSpan { from, to });
        let noon = 1_723_809_600_000;
        assert_eq!(searched(Some(noon), Some(noon + 1)).as_deref(), Some("logs-2024.08.16"));
        assert_eq!(searched(Some(noon), Some(noon + DAY)).as_deref(), Some("logs-2024.08.16,logs-2024.08.17"),);
        // The end is not in the span.
        assert_eq!(searched(Some(noon), Some(noon + DAY / 2)).as_deref(), Some("logs-2024.08.16"));
        let all = Some("logs-0*.*.*,logs-1*.*.*,logs-2*.*.*,-logs-*-*");
        assert_eq!(searched(Some(noon), None).as_deref(), all);
        assert_eq!(searched(Some(noon), Some(noon + 40 * DAY)).as_deref(), all);
        assert_eq!(searched(None, None).as_deref(), all);
        assert_eq!(searched(Some(noon), Some(noon)), None);
        assert_eq!(searched(Some(i64::MAX), None), None);
    }
}
