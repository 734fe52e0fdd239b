//! A small disk that can be filled. It is a file system of its own in a mount namespace of the test's own.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Bytes that are left when it is full: below Elasticsearch's last watermark.
const LEFT: u64 = 24 << 20;

/// What Elasticsearch is told of its disk.
pub(super) const WATERMARKS: &str = "cluster.routing.allocation.disk.watermark.low: 160mb\n\
    cluster.routing.allocation.disk.watermark.high: 120mb\n\
    cluster.routing.allocation.disk.watermark.flood_stage: 80mb\ncluster.info.update.interval: 10s\n";

pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Makes one of so many bytes.
    pub(super) fn mount(folder: &Path, bytes: u64) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder)
            .status()
            .context("there is no `mount`")?;
        ensure!(status.success(), "could not mount a small disk at {}", folder.display());
        Ok(Self { folder: folder.to_owned() })
    }

    /// Where Elasticsearch's data is.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn filling(&self) -> PathBuf {
        self.folder.join("filling")
    }

    fn free(&self) -> Result<u64> {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.folder).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.split_whitespace()
            .last()
            .and_then(|word| word.parse().ok())
            .with_context(|| format!("no number in {text}"))
    }

    /// Fills it nearly.
    pub(super) fn fill(&self) -> Result<()> {
        let bytes = self.free()?.saturating_sub(LEFT).max(1);
        let status = Command::new("fallocate").args(["-l", &bytes.to_string()]).arg(self.filling()).status()?;
        ensure!(status.success(), "could not fill the disk");
        Ok(())
    }

    /// Fills it to the last page, whatever others write meanwhile.
    pub(super) fn fill_up(&self) -> Result<()> {
        self.fill()?;
        let mut filling = File::options().append(true).open(self.filling())?;
        loop {
            match filling.write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("could not fill the disk"),
            }
        }
    }

    pub(super) fn empty(&self) -> Result<()> {
        fs::remove_file(self.filling()).context("could not remove what fills the disk")
    }
}
