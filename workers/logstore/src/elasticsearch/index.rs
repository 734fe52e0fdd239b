//! The names of the indices.

use crate::TimeSpan;
use crate::day::{date_of, days_of};

/// As many days are named one by one in a search, which spares the other indices; more are covered by patterns.
const NAMED_DAYS: i64 = 16;

/// The index of a day: `logs-2024.08.16`.
pub(super) fn name_of(base: &str, day: i64) -> String {
    let date = date_of(day);
    format!("{base}-{:04}.{:02}.{:02}", date.year(), date.month(), date.day())
}

/// Patterns that fit all daily indices, and as little else as patterns without `?` and classes can.
pub(super) fn patterns(base: &str) -> Vec<String> {
    ('0'..='2').map(|millennium| format!("{base}-{millennium}*.*.*")).collect()
}

/// The path of the indices in which logs of a span are: none if there can't be any.
pub(super) fn searched(base: &str, span: TimeSpan) -> Option<String> {
    let (first, last) = days_of(span)?;
    if last - first < NAMED_DAYS {
        return Some((first..=last).map(|day| name_of(base, day)).collect::<Vec<_>>().join(","));
    }
    // The exclusion keeps out what belongs to longer base names: with `logs`, `logs-2nd-2024.08.16`.
    Some(format!("{},-{base}-*-*", patterns(base).join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::day::{DAY, day_of};

    #[test]
    fn names_are_those_of_the_day() {
        let name = |time| day_of(time).map(|day| name_of("logs", day));
        assert_eq!(name(1_723_766_400_000).as_deref(), Some("logs-2024.08.16"));
        assert_eq!(name(-62_167_219_200_000).as_deref(), Some("logs-0000.01.01"));
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
