//! The days that there are. Their indices are opened when they are needed, and closed when others are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::civil::Date;
use parking_lot::Mutex;
use tantivy::{Searcher, TantivyError};

use super::day::{self, Day};
use crate::TimeSpan;
use crate::day::{date_of, days_of};

/// So many indices are kept open for the next search.
const MAX_OPEN: usize = 100;
/// What a folder is renamed to before it is deleted, so that there is never half a day.
const DROPPED: &str = "dropped";

/// The days.
pub(super) struct Days {
    folder: PathBuf,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    days: BTreeMap<i64, Slot>,
    uses: u64,
}

#[derive(Default)]
struct Slot {
    open: Option<Arc<Day>>,
    used: u64,
}

impl Days {
    /// Finds the days in a folder.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut slots = Slots::default();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == DROPPED) {
                fs::remove_dir_all(&path)?;
            } else if let Some(day) = path.file_name().and_then(|name| number_of(name.to_str()?)) {
                slots.days.insert(day, Slot::default());
            }
        }
        Ok(Self { folder: folder.to_owned(), slots: Mutex::new(slots) })
    }

    /// The days from the first to the last one that have logs, the newest first.
    pub(super) fn within(&self, first: i64, last: i64) -> Vec<i64> {
        self.slots.lock().days.range(first..=last).rev().map(|(day, _)| *day).collect()
    }

    /// Hands over what is searchable of each day that a span touches, the newest first, until no more are wanted.
    pub(super) fn each_within(
        &self,
        span: TimeSpan,
        mut visit: impl FnMut(i64, &Searcher) -> tantivy::Result<ControlFlow<()>>,
    ) -> tantivy::Result<()> {
        let Some((first, last)) = days_of(span) else { return Ok(()) };
        for day in self.within(first, last) {
            let Some(open) = self.get(day)? else { continue };
            let searcher = open.searcher();
            drop(open);
            if visit(day, &searcher)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The index of a day; none if there are no logs of it.
    pub(super) fn get(&self, day: i64) -> tantivy::Result<Option<Arc<Day>>> {
        let mut slots = self.slots.lock();
        if !slots.days.contains_key(&day) {
            return Ok(None);
        }
        self.opened(&mut slots, day).map(Some)
    }

    /// The index of a day, which is made if there is none.
    pub(super) fn get_or_make(&self, day: i64) -> tantivy::Result<Arc<Day>> {
        self.opened(&mut self.slots.lock(), day)
    }

    fn opened(&self, slots: &mut Slots, day: i64) -> tantivy::Result<Arc<Day>> {
        slots.uses += 1;
        let uses = slots.uses;
        if let Some(slot) = slots.days.get_mut(&day)
            && let Some(open) = &slot.open
        {
            slot.used = uses;
            return Ok(Arc::clone(open));
        }
        let path = self.path_of(day);
        let open = Day::open(day, &path)
            .map_err(|error| TantivyError::InternalError(format!("can't open {}: {error}", path.display())))?;
        let open = Arc::new(open);
        slots.days.insert(day, Slot { open: Some(Arc::clone(&open)), used: uses });
        slots.close_some();
        Ok(open)
    }

    /// The days to which nothing has been written for longer than this.
    pub(super) fn unwritten_for(&self, age: Duration) -> Vec<i64> {
        let now = SystemTime::now();
        let is_old = |day: &i64| {
            let written = day::last_written(&self.path_of(*day));
            written.is_some_and(|written| now.duration_since(written).is_ok_and(|since| since > age))
        };
        self.within(i64::MIN, i64::MAX).into_iter().filter(is_old).collect()
    }

    /// Deletes a day. Searches that are at it still see it.
    pub(super) fn delete(&self, day: i64) -> io::Result<()> {
        let path = self.path_of(day);
        let aside = path.with_extension(DROPPED);
        let mut slots = self.slots.lock();
        if aside.exists() {
            // It could not be deleted whole the last time.
            fs::remove_dir_all(&aside)?;
        }
        fs::rename(&path, &aside)?;
        slots.days.remove(&day);
        drop(slots);
        fs::remove_dir_all(&aside)
    }

    fn path_of(&self, day: i64) -> PathBuf {
        self.folder.join(date_of(day).to_string())
    }
}

impl Slots {
    /// Closes what has not been used for longest, unless it is in use: an index that is written to must be open once.
    fn close_some(&mut self) {
        let open = || self.days.iter().filter(|(_, slot)| slot.open.is_some());
        if open().count() <= MAX_OPEN {
            return;
        }
        let idle = open().filter(|(_, slot)| slot.open.as_ref().is_some_and(|day| Arc::strong_count(day) == 1));
        if let Some(day) = idle.min_by_key(|(_, slot)| slot.used).map(|(day, _)| *day)
            && let Some(slot) = self.days.get_mut(&day)
        {
            slot.open = None;
        }
    }
}

/// The day of which a folder has the name.
fn number_of(name: &str) -> Option<i64> {
    let date: Date = name.parse().ok()?;
    let time = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    let day = crate::day::day_of(time.as_millisecond())?;
    (date_of(day).to_string() == name).then_some(day)
}
