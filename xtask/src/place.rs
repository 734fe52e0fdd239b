//! Where things are: the checkout, the cache, temporary folders.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::process;

/// The checkout this xtask belongs to.
pub fn root() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// `${XDG_CACHE_HOME:-~/.cache}/taffrail`: what was downloaded or built once and serves every checkout.
pub fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|dir| Path::new(dir).is_absolute()).map(PathBuf::from);
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    Ok(base.context("no cache folder: neither XDG_CACHE_HOME nor HOME is set")?.join("taffrail"))
}

/// Where compiled code goes: `CARGO_TARGET_DIR`, or else one folder for all checkouts, so that a fresh clone compiles
/// our own crates only.
pub fn target() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => Ok(root().join(dir)),
        None => Ok(cache()?.join("target")),
    }
}

/// `cargo` in the checkout, with the shared target folder.
pub fn cargo() -> Result<Command> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).env("CARGO_TARGET_DIR", target()?);
    Ok(cargo)
}

/// Builds `dir` once for all checkouts and all concurrent runs. `build` fills a folder beside it, which takes `dir`'s
/// place only when it is complete. `recipe` is everything that decides what `build` makes: when it changes, `dir` is
/// built again.
pub fn install_once(dir: &Path, recipe: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let current = || fs::read_to_string(dir.join(".recipe")).is_ok_and(|have| have == recipe);
    if current() {
        return Ok(());
    }
    let (parent, name) = dir.parent().zip(dir.file_name()).context("nothing can be installed at a root folder")?;
    let name = name.to_string_lossy();
    fs::create_dir_all(parent).with_context(|| format!("could not create {}", parent.display()))?;
    let _lock = lock(&parent.join(format!(".{name}.lock")), &name)?;
    if current() {
        return Ok(());
    }
    eprintln!("installing {name} into {}", parent.display());
    let partial = parent.join(format!(".{name}.partial"));
    remove(&partial)?;
    fs::create_dir(&partial).with_context(|| format!("could not create {}", partial.display()))?;
    build(&partial).with_context(|| format!("could not install {name}"))?;
    fs::write(partial.join(".recipe"), recipe)
        .with_context(|| format!("could not write into {}", partial.display()))?;
    remove(dir)?;
    fs::rename(&partial, dir).with_context(|| format!("could not move {name} to {}", dir.display()))
}

/// Waits for the lock on `file`; it ends with the returned handle, and with this process.
fn lock(file: &Path, name: &str) -> Result<File> {
    let handle = File::create(file).with_context(|| format!("could not create {}", file.display()))?;
    let mut said = false;
    loop {
        match handle.try_lock() {
            Ok(()) => return Ok(handle),
            Err(TryLockError::WouldBlock) => process::check_interrupted()?,
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("could not lock {}", file.display()));
            }
        }
        if !std::mem::replace(&mut said, true) {
            eprintln!("waiting for another process that is installing {name}");
        }
        std::thread::sleep(process::TICK);
    }
}

/// Removes a folder with everything in it, if it is there.
pub fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("could not remove {}", dir.display()))?;
    }
    Ok(())
}

/// A folder, mostly under the system's temporary folder, removed when dropped. What a killed run left behind is removed
/// by the next one: a folder whose lock nobody holds has no owner.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

const SCRATCH_PREFIX: &str = "taffrail-xtask-";
const SCRATCH_LOCK: &str = "lock";

impl Scratch {
    /// Creates an empty folder.
    pub fn new() -> Result<Self> {
        // From the choice of a name until it is locked, another thread would take it for free or for left behind.
        static ONE_BY_ONE: Mutex<()> = Mutex::new(());
        let _one = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let temp = std::env::temp_dir();
        sweep(&temp);
        let path = (0..)
            .map(|n| temp.join(format!("{SCRATCH_PREFIX}{}-{n}", std::process::id())))
            .find(|path| !path.exists())
            .context("no name is left for a temporary folder")?;
        fs::create_dir(&path).with_context(|| format!("could not create {}", path.display()))?;
        Self::own(path)
    }

    /// Creates an empty folder at a place of our choice, unless somebody uses it; what a killed run left there goes.
    pub fn at(path: PathBuf) -> Result<Self> {
        ensure!(!Self::in_use(&path), "{} is in use by another process", path.display());
        remove(&path)?;
        fs::create_dir_all(&path).with_context(|| format!("could not create {}", path.display()))?;
        Self::own(path)
    }

    /// Whether a running process owns the folder.
    pub fn in_use(path: &Path) -> bool {
        File::open(path.join(SCRATCH_LOCK)).is_ok_and(|lock| lock.try_lock().is_err())
    }

    fn own(path: PathBuf) -> Result<Self> {
        let lock = File::create(path.join(SCRATCH_LOCK))
            .with_context(|| format!("could not write into {}", path.display()))?;
        lock.lock().with_context(|| format!("could not lock {}", path.display()))?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a folder in it.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.path.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
        Ok(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}

/// Removes the folders of runs that were killed. Whatever can't be read or removed is not ours to worry about.
fn sweep(temp: &Path) {
    for entry in fs::read_dir(temp).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(SCRATCH_PREFIX);
        let lock = ours.then(|| File::open(entry.path().join(SCRATCH_LOCK)).ok()).flatten();
        if lock.is_some_and(|lock| lock.try_lock().is_ok()) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}
