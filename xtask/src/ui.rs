//! The web page: its sources are checked and built in a copy, so that the checkout stays as it is.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::place::{self, Scratch};
use crate::process;

/// What npm needs to know to install the build tools.
const MANIFESTS: &[&str] = &["package.json", "package-lock.json", ".npmrc"];
/// What is not a source.
const NOT_SOURCES: &[&str] = &["node_modules", "dist"];

fn source() -> PathBuf {
    place::root().join("workers/dashboard/ui")
}

/// Checks the types, builds the page, and fails when the checked-in `dist` is not what comes out.
pub fn check() -> Result<()> {
    let scratch = Scratch::new()?;
    let fresh = files(&build(&scratch)?)?;
    let have = files(&source().join("dist"))?;
    let names = fresh.keys().chain(have.keys()).collect::<std::collections::BTreeSet<_>>();
    let differ: Vec<_> = names.into_iter().filter(|name| fresh.get(*name) != have.get(*name)).cloned().collect();
    ensure!(
        differ.is_empty(),
        "workers/dashboard/ui/dist is not what its sources give ({}): run `cargo xtask generate`",
        differ.join(", ")
    );
    Ok(())
}

/// Builds the page and puts it where the binary embeds it from.
pub fn generate() -> Result<()> {
    let scratch = Scratch::new()?;
    let fresh = build(&scratch)?;
    let dist = source().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("could not remove {}", dist.display()))?;
    }
    copy(&fresh, &dist, &[])
}

/// Checks and builds a copy of the sources; returns the folder with the outcome.
fn build(scratch: &Scratch) -> Result<PathBuf> {
    let modules = modules()?;
    let copied = scratch.path().join("ui");
    copy(&source(), &copied, NOT_SOURCES)?;
    let link = copied.join("node_modules");
    std::os::unix::fs::symlink(modules, &link).with_context(|| format!("could not create {}", link.display()))?;
    for script in ["check", "build"] {
        process::run(Command::new("npm").current_dir(&copied).args(["run", "--silent", script]))?;
    }
    Ok(copied.join("dist"))
}

/// The build tools, installed once for every version of the lock file.
fn modules() -> Result<PathBuf> {
    let texts = MANIFESTS.iter().map(|name| read(&source().join(name)));
    let texts = texts.collect::<Result<Vec<_>>>()?;
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    let dir = place::cache()?.join("ui").join(format!("npm-{:016x}", hasher.finish()));
    place::install_once(&dir, &texts.concat(), |partial| {
        for (name, text) in MANIFESTS.iter().zip(&texts) {
            fs::write(partial.join(name), text).with_context(|| format!("could not write {name}"))?;
        }
        process::run(Command::new("npm").current_dir(partial).args(["ci", "--no-audit", "--no-fund"]))
    })?;
    Ok(dir.join("node_modules"))
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))
}

/// Copies a folder without the entries of its top level that are named in `except`.
fn copy(from: &Path, to: &Path, except: &[&str]) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("could not create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("could not read {}", from.display()))? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if except.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&source, &target, &[])?;
        } else {
            fs::copy(&source, &target).with_context(|| format!("could not copy {}", source.display()))?;
        }
    }
    Ok(())
}

/// Every file below a folder, by its name relative to it.
fn files(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("could not read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
                found.insert(name, fs::read(&path).with_context(|| format!("could not read {}", path.display()))?);
            }
        }
    }
    Ok(found)
}
