//! The control groups below which the kubelet makes those of pods.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process;

/// Their name in every hierarchy: a machine has one node.
pub const NAME: &str = "taffrail-node";
const ROOT: &str = "/sys/fs/cgroup";
/// How long the kernel may take to empty the groups after the last process was killed.
const REMOVE_LIMIT: Duration = Duration::from_secs(10);

/// The groups, removed when dropped. Nothing may run in them any more then.
#[derive(Debug)]
pub struct Cgroups {
    /// Of the first group, by which others see that a node is there.
    lock: File,
}

impl Cgroups {
    /// Makes the group in every hierarchy.
    pub fn make() -> Result<Self> {
        remove()?;
        let hierarchies = hierarchies();
        for hierarchy in &hierarchies {
            let group = hierarchy.join(NAME);
            fs::create_dir_all(&group).with_context(|| format!("could not create {}", group.display()))?;
            // In version 1 a group starts with no processors and no memory of its own.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(all) = fs::read(hierarchy.join(file)) {
                    fs::write(group.join(file), all)
                        .with_context(|| format!("could not write {file} of {}", group.display()))?;
                }
            }
        }
        let first = hierarchies.first().with_context(|| format!("no control groups in {ROOT}"))?.join(NAME);
        let lock = File::open(&first).with_context(|| format!("could not open {}", first.display()))?;
        lock.try_lock().with_context(|| format!("this machine has a node already: {} is in use", first.display()))?;
        Ok(Self { lock })
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock().context("could not unlock the control groups").and_then(|()| remove()) {
            eprintln!("{error:#}");
        }
    }
}

/// Removes the groups that a killed node left, but not those of somebody's running node.
pub fn remove() -> Result<()> {
    let groups: Vec<_> = hierarchies().iter().map(|hierarchy| hierarchy.join(NAME)).collect();
    if groups.iter().any(|group| File::open(group).is_ok_and(|group| group.try_lock().is_err())) {
        return Ok(());
    }
    groups.iter().try_for_each(|group| remove_tree(group))
}

/// One hierarchy in version 2, one for each kind of resource in version 1.
fn hierarchies() -> Vec<PathBuf> {
    let is_hierarchy = |dir: &Path| dir.join("cgroup.procs").exists();
    if is_hierarchy(Path::new(ROOT)) {
        return vec![ROOT.into()];
    }
    let entries = fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> = entries.filter(|dir| !dir.is_symlink() && is_hierarchy(dir)).collect();
    found.sort();
    found
}

/// A group is a folder whose files can't be removed, and go with it.
fn remove_tree(group: &Path) -> Result<()> {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    let deadline = Instant::now() + REMOVE_LIMIT;
    while group.exists() {
        match fs::remove_dir(group) {
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("could not remove {}", group.display()));
            }
            Err(_) => std::thread::sleep(process::TICK),
            Ok(()) => {}
        }
    }
    Ok(())
}
