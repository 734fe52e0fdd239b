//! The file source: follows files, through appends, rotation, truncation and restarts.
//!
//! A file is known by its device, its inode and a checksum of its first bytes. One that is renamed is read on to its
//! end; one that is cut off, or replaced under the same inode, is a new one, and what had not been read of it is read
//! from the copy beside it, if there is one. After a restart a file that was renamed or copied meanwhile is looked for
//! beside where it was. A last line without an end waits until it has one, or until the file
//! has been renamed or deleted and is complete. What was read up to is kept in the pipeline's folder (see
//! [`crate::positions`]); ids derive from the file and the line's place in it, so that lines read twice are stored once.

mod follow;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use taffrail_crds::FileSource;
use tokio::task::JoinHandle;

use self::follow::{Followed, Key};
use super::{Checkpoint, Intake, Records, local};
use crate::config::{PipelineConfig, StartError};
use crate::health::{Part, SOURCE_UNAVAILABLE};
use crate::positions::{Kept, Positions};

/// How often files are looked at.
const EVERY: Duration = Duration::from_millis(200);

/// How often the file of places is written at most.
const SAVE_EVERY: Duration = Duration::from_millis(500);

/// How long a renamed or deleted file must have had nothing new until it is taken to be complete. Whoever writes it may
/// learn late that it was renamed.
const COMPLETE_AFTER: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// Files that are followed at the same time, at most. More are read when these are complete.
const MAX_FILES: usize = 1_000;

pub(super) fn start(
    spec: &FileSource,
    config: &PipelineConfig,
    intake: Intake,
    records: Records,
) -> Result<(JoinHandle<()>, Checkpoint), StartError> {
    let patterns = spec.paths.iter().map(|path| {
        glob::Pattern::new(path).map_err(|error| StartError::Spec(format!("`{path}` is no pattern of paths: {error}")))
    });
    patterns.collect::<Result<Vec<_>, _>>()?;
    let positions = local::positions(config, &intake)?;
    let saved = Mutex::new(Instant::now());
    let checkpoint: Checkpoint = {
        let positions = positions.clone();
        Arc::new(move || {
            let mut saved = saved.lock();
            if saved.elapsed() >= SAVE_EVERY {
                *saved = Instant::now();
                positions.save(false);
            }
        })
    };
    let paths = spec.paths.clone();
    let pipeline = config.name();
    // Reading files blocks.
    let task = tokio::task::spawn_blocking(move || {
        let mut follower = Follower {
            pipeline,
            paths,
            positions: positions.clone(),
            files: BTreeMap::new(),
            intake,
            records: Some(records),
        };
        follower.run();
        let handle = tokio::runtime::Handle::current();
        follower.records = None;
        handle.block_on(follower.intake.drained.cancelled());
        positions.save(true);
    });
    Ok((task, checkpoint))
}

struct Follower {
    pipeline: String,
    paths: Vec<String>,
    positions: Arc<Positions>,
    files: BTreeMap<Key, Followed>,
    intake: Intake,
    records: Option<Records>,
}

impl Follower {
    fn run(&mut self) {
        self.resume();
        while !self.intake.stopping.is_cancelled() {
            let start = Instant::now();
            let present = self.discover();
            let mut has_more = false;
            let mut gone = Vec::new();
            for (key, file) in &mut self.files {
                let Some(records) = &self.records else { return };
                let is_present = present.contains(key);
                match file.read(records) {
                    Ok(progress) => has_more |= progress.has_more,
                    Err(error) => {
                        let message = format!("could not read {}: {error}", file.path.display());
                        self.intake.health.fail(Part::Source, SOURCE_UNAVAILABLE, message);
                    }
                }
                if std::mem::take(&mut file.has_longer_head) {
                    self.positions.describe(&file.name, file.about());
                }
                if records.is_closed() || self.intake.stopping.is_cancelled() {
                    return;
                }
                if file.is_replaced || (!is_present && file.idle() >= COMPLETE_AFTER) {
                    file.finish(records);
                    gone.push(*key);
                }
            }
            for key in gone {
                if self.files.get(&key).is_some_and(|file| file.lane.is_drained())
                    && let Some(file) = self.files.remove(&key)
                {
                    self.positions.forget(&file.name);
                    self.positions.save(false);
                }
            }
            if !has_more {
                std::thread::sleep(EVERY.saturating_sub(start.elapsed()));
            }
        }
    }

    /// Goes on with files that were followed before the restart, wherever they are now.
    fn resume(&mut self) {
        for (name, kept) in self.positions.unclaimed() {
            if let Err(error) = self.go_on(&name, &kept) {
                // It stays on file until it can be read.
                tracing::warn!(file = name, %error, "could not go on with a file");
            }
        }
    }

    fn go_on(&mut self, name: &str, kept: &Kept) -> std::io::Result<()> {
        match Followed::resume(&self.pipeline, name, kept)? {
            Some(file) => self.follow(file),
            None => {
                tracing::info!(file = name, "a file that was followed is gone or was replaced");
                self.positions.forget(name);
            }
        }
        Ok(())
    }

    /// Follows a file that is not followed yet: from where it was left, or from its beginning.
    fn begin(&mut self, key: Key, path: &Path) -> std::io::Result<()> {
        for (name, kept) in self.positions.unclaimed() {
            if Followed::is_about(&kept, key) {
                self.go_on(&name, &kept)?;
            }
        }
        if !self.files.contains_key(&key)
            && let Some(file) = Followed::open(&self.pipeline, path)?
        {
            self.follow(file);
        }
        Ok(())
    }

    fn follow(&mut self, file: Followed) {
        self.positions.keep(&file.name, file.lane.clone(), file.about());
        // Before anything of it is delivered: its ids must be the same after a crash.
        self.positions.save(false);
        self.files.insert(file.key, file);
    }

    /// Finds files that the patterns name. Gives the keys of those that are there.
    fn discover(&mut self) -> BTreeSet<Key> {
        let mut present = BTreeSet::new();
        let mut is_well = true;
        let paths: Vec<PathBuf> = self.paths.iter().flat_map(|pattern| matches(pattern)).collect();
        for path in paths {
            let known = match Key::of(&path) {
                Ok(Some(key)) => key,
                Ok(None) => continue,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    let message = format!("could not look at {}: {error}", path.display());
                    self.intake.health.fail(Part::Source, SOURCE_UNAVAILABLE, message);
                    is_well = false;
                    continue;
                }
            };
            present.insert(known);
            if self.files.contains_key(&known) || self.files.len() >= MAX_FILES {
                continue;
            }
            if let Err(error) = self.begin(known, &path) {
                let message = format!("could not open {}: {error}", path.display());
                self.intake.health.fail(Part::Source, SOURCE_UNAVAILABLE, message);
                is_well = false;
            }
        }
        if is_well {
            self.intake.health.recover(Part::Source);
        }
        present
    }
}

/// The paths that a pattern names now.
fn matches(pattern: &str) -> Vec<PathBuf> {
    if Path::new(pattern).exists() {
        return vec![PathBuf::from(pattern)];
    }
    // Folders that can't be looked into hold no files for us. The pattern was checked at the start.
    glob::glob(pattern).map(|paths| paths.flatten().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
