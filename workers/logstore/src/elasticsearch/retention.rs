//! Deleting the days that are too old, where a retention is set.
//!
//! An index goes when its day is over, and when it was made, for longer than the retention. So logs of long ago that come
//! now stay as long as any others. Whoever writes looks, and only at indices whose names are exactly those of days: what
//! goes wrong is logged, and never a reason not to write.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use elasticsearch::http::Method;
use parking_lot::Mutex;
use serde::Deserialize;

use super::nodes::{Body, Nodes};
use super::{index, outcome};
use crate::day::{DAY, day_of};

/// It is looked so often at most.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// So many indices are deleted at a time.
const AT_A_TIME: usize = 50;

/// How long days are kept.
pub(super) struct Retention {
    /// Milliseconds; none means for ever.
    keeps: Option<i64>,
    every: Duration,
    looked: Mutex<Option<Instant>>,
}

#[derive(Deserialize)]
struct Described {
    settings: Settings,
}

#[derive(Deserialize)]
struct Settings {
    index: Creation,
}

#[derive(Deserialize)]
struct Creation {
    /// Milliseconds since 1970, as a text.
    creation_date: String,
}

impl Retention {
    pub(super) fn new(keeps: Option<Duration>) -> Self {
        let every = keeps.unwrap_or_default() / 10;
        Self {
            keeps: keeps.map(|keeps| i64::try_from(keeps.as_millis()).unwrap_or(i64::MAX)),
            every: every.clamp(Duration::from_secs(1), LOOK_EVERY),
            looked: Mutex::default(),
        }
    }

    /// Deletes what is too old at a time, if it has not been looked for a while. Gives the days that are gone.
    pub(super) async fn see_to(&self, nodes: &Nodes, base: &str, now: i64) -> Vec<i64> {
        let Some(keeps) = self.keeps.filter(|_| self.is_due()) else { return Vec::new() };
        match find(nodes, base).await {
            Ok(indices) => delete(nodes, too_old(&indices, base, now.saturating_sub(keeps))).await,
            Err(reason) => {
                tracing::warn!(reason, "can't tell which indices are older than the retention; they stay");
                Vec::new()
            }
        }
    }

    fn is_due(&self) -> bool {
        let mut looked = self.looked.lock();
        let is_due = looked.is_none_or(|at| at.elapsed() >= self.every);
        if is_due {
            *looked = Some(Instant::now());
        }
        is_due
    }
}

/// The indices whose names are like those of days, and when each was made.
async fn find(nodes: &Nodes, base: &str) -> Result<BTreeMap<String, i64>, String> {
    let path = format!("{}/_settings", index::patterns(base).join(","));
    let query = [("filter_path", "*.settings.index.creation_date"), ("expand_wildcards", "open,closed")];
    let answer = nodes.send(Method::Get, &path, &query, &Body::None).await.map_err(|error| error.to_string())?;
    match answer.status {
        200 => {
            let indices: BTreeMap<String, Described> = serde_json::from_slice(&answer.body)
                .map_err(|error| format!("an answer that is not understood: {error}"))?;
            let made = |described: Described| described.settings.index.creation_date.parse().ok();
            Ok(indices.into_iter().filter_map(|(name, described)| Some((name, made(described)?))).collect())
        }
        404 => Ok(BTreeMap::new()),
        _ => Err(outcome::request_error(&answer).to_string()),
    }
}

/// The days that ended, and whose indices were made, before a time; with those indices.
fn too_old(indices: &BTreeMap<String, i64>, base: &str, horizon: i64) -> Vec<(i64, String)> {
    let old = indices.iter().filter(|(_, made)| **made < horizon).filter_map(|(name, _)| {
        let day = day_named(base, name)?;
        ((day + 1).saturating_mul(DAY) <= horizon).then(|| (day, name.clone()))
    });
    old.take(AT_A_TIME).collect()
}

/// The day whose index has this name.
fn day_named(base: &str, name: &str) -> Option<i64> {
    let date = name.strip_prefix(base)?.strip_prefix('-')?.replace('.', "-");
    let start: jiff::Timestamp = format!("{date}T00:00:00Z").parse().ok()?;
    let day = day_of(start.as_millisecond())?;
    // There are other spellings of a date.
    (index::name_of(base, day) == name).then_some(day)
}

async fn delete(nodes: &Nodes, old: Vec<(i64, String)>) -> Vec<i64> {
    let mut gone = Vec::new();
    for (day, name) in old {
        let answer = nodes.send(Method::Delete, &name, &[], &Body::None).await;
        let reason = match answer {
            // Another writer may have been quicker.
            Ok(answer) if matches!(answer.status, 200 | 404) => {
                tracing::info!(index = name, "deleted an index that was older than the retention");
                gone.push(day);
                continue;
            }
            Ok(answer) => outcome::request_error(&answer).to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            index = name,
            reason,
            "an index that is older than the retention can't be deleted; that takes the privilege delete_index"
        );
        // The next one would fare no better.
        break;
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_that_are_over_and_were_made_long_ago_are_too_old() {
        // 2024-08-17T00:00:00Z.
        let horizon = 1_723_852_800_000;
        let indices = [
            ("logs-2024.08.15", horizon - 1),
            ("logs-2024.08.16", horizon - 1),
            ("logs-2024.08.17", horizon - 1),
            ("logs-2024.08.14", horizon),
            ("logs-2024.8.13", 0),
            ("logs-2024.08.13-2", 0),
            ("logs-2nd-2024.08.13", 0),
            ("logs-2024.02.30", 0),
            ("logs-dead-letter", 0),
            ("other-2024.08.13", 0),
        ];
        let indices = indices.map(|(name, made)| (name.to_owned(), made)).into();
        let names: Vec<String> = too_old(&indices, "logs", horizon).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["logs-2024.08.15", "logs-2024.08.16"]);
    }

    #[test]
    fn it_is_looked_now_and_then_and_for_no_retention_never() {
        let retention = Retention::new(Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(retention.every, LOOK_EVERY);
        assert!(retention.is_due() && !retention.is_due());
        assert_eq!(Retention::new(Some(Duration::from_secs(2))).every, Duration::from_secs(1));
        assert_eq!(Retention::new(None).keeps, None);
    }
}
