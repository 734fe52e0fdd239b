//! What servers that run from published jars have in common.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::tools::Jdk;
use crate::{process, versions};

/// Makes the folder of a module below an installation.
pub fn module_dir(home: &Path, name: &str) -> Result<PathBuf> {
    make_dir(&home.join("modules").join(name))
}

/// Makes a folder, and what is missing above it.
pub fn make_dir(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))?;
    Ok(dir.to_path_buf())
}

/// Writes a file of this name. Gives where it is.
pub fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let file = dir.join(name);
    fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
    Ok(file)
}

/// Moves the jars of an installation whose names begin so into a module, which has a class loader of its own.
pub fn move_jars(home: &Path, prefixes: &[&str], module: &Path) -> Result<()> {
    for entry in fs::read_dir(home.join("lib")).context("could not list the jars")? {
        let entry = entry?;
        let name = entry.file_name();
        if prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            fs::rename(entry.path(), module.join(&name))
                .with_context(|| format!("could not move {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Compiles a class against the jars of an installation, for the oldest JDK we accept: the next run may find another one.
pub fn compile(jdk: &Jdk, home: &Path, source: &Path, classes: &str) -> Result<()> {
    let mut javac = Command::new(jdk.program("javac"));
    javac.args(["--release", &versions::JDK.to_string(), "-nowarn", "-proc:none", "-cp"]).arg(home.join("lib/*"));
    process::output(javac.arg("-d").arg(home.join(classes)).arg(source)).map(drop)
}

/// Where classes are that [`compile`] made, and the jars that are no module's.
pub fn class_path(home: &Path) -> String {
    format!("{}:{}", home.join("classes").display(), home.join("lib/*").display())
}

/// Copies a folder that holds plain files only.
pub fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("could not read {}", from.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))
            .with_context(|| format!("could not copy {}", entry.path().display()))?;
    }
    Ok(())
}
