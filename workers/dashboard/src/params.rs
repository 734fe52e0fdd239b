//! Parameters of requests. Every one that is wrong, or unknown, is named in the answer.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use jiff::Timestamp;
use taffrail_logstore::TimeSpan;

use crate::error::ApiError;

/// More lines than anybody reads; who wants more follows the cursor.
const MAX_LIMIT: usize = 10_000;

/// Unix times from here on are milliseconds: as seconds they would be in the year 5138.
const MILLISECONDS_FROM: f64 = 1e11;

/// The parameters of a request, each taken out once.
pub(crate) struct Params {
    rest: BTreeMap<String, String>,
    given: BTreeMap<String, String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::parameter("?", format!("the query string can't be read: {error}")))?;
        let mut rest = BTreeMap::new();
        for (name, value) in pairs {
            if rest.insert(name.clone(), value).is_some() {
                return Err(ApiError::parameter(&name, "is given twice"));
            }
        }
        Ok(Self { given: rest.clone(), rest })
    }
}

impl Params {
    /// All parameters as they were given.
    pub(crate) fn given(&self) -> BTreeMap<String, String> {
        self.given.clone()
    }

    /// A parameter's text; none where it is absent or empty.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.rest.remove(name).filter(|value| !value.is_empty())
    }

    /// A parameter that must be there.
    pub(crate) fn required(&mut self, name: &str) -> Result<String, ApiError> {
        self.text(name).ok_or_else(|| ApiError::parameter(name, "is missing"))
    }

    /// The parameters that nobody has taken, whose names begin with `prefix`, without it.
    pub(crate) fn prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let (with, without) =
            std::mem::take(&mut self.rest).into_iter().partition(|(name, _)| name.starts_with(prefix));
        self.rest = without;
        let with: BTreeMap<String, String> = with;
        with.into_iter().map(|(name, value)| (name[prefix.len()..].to_owned(), value)).collect()
    }

    /// A time: Unix seconds, Unix milliseconds, or RFC 3339; in milliseconds since 1970.
    pub(crate) fn time(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        self.text(name).map(|text| parse_time(&text).map_err(|problem| ApiError::parameter(name, problem))).transpose()
    }

    /// `from` and `to`, in this order in time.
    pub(crate) fn span(&mut self) -> Result<TimeSpan, ApiError> {
        let span = TimeSpan { from: self.time("from")?, to: self.time("to")? };
        match (span.from, span.to) {
            (Some(from), Some(to)) if from > to => Err(ApiError::parameter("from", "is after `to`; swap them")),
            _ => Ok(span),
        }
    }

    /// A length of time such as `1h`, `30m`, `5s`; never none.
    pub(crate) fn duration(&mut self, name: &str) -> Result<Option<Duration>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let duration: taffrail_crds::Duration = text.parse().map_err(|problem| ApiError::parameter(name, problem))?;
        if duration.0.is_zero() {
            return Err(ApiError::parameter(name, "must be more than 0"));
        }
        Ok(Some(duration.0))
    }

    /// A length of time, or a number of seconds; never none.
    pub(crate) fn step(&mut self, name: &str) -> Result<Option<Duration>, ApiError> {
        let seconds = self.rest.get(name).and_then(|text| text.parse::<f64>().ok());
        let Some(seconds) = seconds else { return self.duration(name) };
        self.rest.remove(name);
        // A millisecond is the finest step of time there is.
        if !(0.001..=3.2e9).contains(&seconds) {
            return Err(ApiError::parameter(name, "must be at least 0.001 seconds"));
        }
        Ok(Some(Duration::from_secs_f64(seconds)))
    }

    /// A whole number from 1 to `most`.
    pub(crate) fn count(&mut self, name: &str, default: usize, most: usize) -> Result<usize, ApiError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let problem = || ApiError::parameter(name, format!("`{text}` is not a whole number from 1 to {most}"));
        text.parse().ok().filter(|count| (1..=most).contains(count)).ok_or_else(problem)
    }

    /// How many things are wanted.
    pub(crate) fn limit(&mut self) -> Result<usize, ApiError> {
        self.count("limit", 100, MAX_LIMIT)
    }

    /// That nothing was given that nobody knows.
    pub(crate) fn finish(self, known: &str) -> Result<(), ApiError> {
        match self.rest.into_keys().next() {
            Some(name) => Err(ApiError::parameter(&name, format!("is not known here; known are {known}"))),
            None => Ok(()),
        }
    }
}

/// A time: Unix seconds, Unix milliseconds, or RFC 3339; in milliseconds since 1970.
pub(crate) fn parse_time(text: &str) -> Result<i64, String> {
    let problem =
        || format!("`{text}` is not a time; write Unix seconds or milliseconds, or RFC 3339 (2026-01-31T12:00:00Z)");
    if let Ok(number) = text.parse::<f64>() {
        let milliseconds = if number.abs() < MILLISECONDS_FROM { number * 1000.0 } else { number };
        // The largest time that can be written as RFC 3339.
        if !milliseconds.is_finite() || milliseconds.abs() >= 253_402_300_800_000.0 {
            return Err(problem());
        }
        #[allow(clippy::cast_possible_truncation)]
        return Ok(milliseconds.round() as i64);
    }
    text.parse::<Timestamp>().map(Timestamp::as_millisecond).map_err(|_| problem())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_notations() {
        assert_eq!(parse_time("1692172800"), Ok(1_692_172_800_000));
        assert_eq!(parse_time("1692172800.5"), Ok(1_692_172_800_500));
        assert_eq!(parse_time("1692172800123"), Ok(1_692_172_800_123));
        assert_eq!(parse_time("2023-08-16T08:00:00Z"), Ok(1_692_172_800_000));
        assert_eq!(parse_time("2023-08-16T10:00:00+02:00"), Ok(1_692_172_800_000));
        for text in ["yesterday", "NaN", "inf", "1e40", "2023-08-16", "12:00"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
