//! `taffrail ingestion`, the worker of one pipeline, as the operator starts it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::process::{Process, free_port, peak_memory, taffrail};

/// A worker, running. It is killed when this goes.
pub struct Worker {
    process: Process,
    address: String,
    client: reqwest::Client,
}

impl Worker {
    /// Starts a worker of a pipeline. Its files are in a folder, under a name that none but its successors have; its
    /// secrets are in `secrets` of that folder.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(folder: &Path, name: &str, pipeline: &Value) -> Result<Self> {
        Self::start_with(folder, name, pipeline, |command| command)
    }

    /// The same, with what the caller adds to the command.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_with(
        folder: &Path,
        name: &str,
        pipeline: &Value,
        add: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<Self> {
        let file = folder.join(format!("{name}.json"));
        std::fs::write(&file, pipeline.to_string())?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let secrets = folder.join("secrets");
        std::fs::create_dir_all(&secrets)?;
        let mut command = taffrail("ingestion")?;
        command.arg(&file).arg("--secrets").arg(secrets).arg("--data").arg(folder.join(format!("{name}-data")));
        command.args(["--listen", &listen]);
        let process = Process::start(add(&mut command), &folder.join(name))?;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        Ok(Self { process, address: format!("http://{listen}"), client })
    }

    async fn get(&self, path: &str) -> Result<(u16, String)> {
        let response = self.client.get(format!("{}/{path}", self.address)).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// What it says of its pipeline.
    ///
    /// # Errors
    /// When it says nothing.
    pub async fn status(&self) -> Result<Value> {
        let (_, text) = self.get("api/v1/status").await?;
        let answer: Value = serde_json::from_str(&text)?;
        let status = answer["objects"][0]["status"].clone();
        ensure!(status.is_object(), "no status in {answer}");
        Ok(status)
    }

    /// Whether `/healthz` says that it is alive.
    ///
    /// # Errors
    /// When it says nothing.
    pub async fn is_alive(&self) -> Result<bool> {
        Ok(self.get("healthz").await?.0 == 200)
    }

    /// The samples of one of its own metrics, by their labels as they are written.
    ///
    /// # Errors
    /// When it says nothing.
    pub async fn samples(&self, metric: &str) -> Result<BTreeMap<String, f64>> {
        let (_, text) = self.get("metrics").await?;
        let samples = text.lines().filter_map(|line| {
            let (labels, value) = line.strip_prefix(metric)?.strip_prefix('{')?.rsplit_once("} ")?;
            Some((labels.to_owned(), value.parse().ok()?))
        });
        Ok(samples.collect())
    }

    /// The most memory that it has had resident so far, in bytes.
    ///
    /// # Errors
    /// When it is not running.
    pub fn peak_memory(&self) -> Result<u64> {
        peak_memory(self.process.id())
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When there is nothing to kill.
    pub fn kill(self) -> Result<()> {
        self.process.kill()
    }

    /// Has it stop, and waits until it has.
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn stop(self) -> Result<Duration> {
        self.process.stop("TERM").await
    }
}

/// Writes a secret as Kubernetes mounts it, over the one that was there.
///
/// # Errors
/// When it can't be written.
pub fn write_secret(folder: &Path, name: &str, data: &[(&str, &str)]) -> Result<PathBuf> {
    let secret = folder.join("secrets").join(name);
    std::fs::create_dir_all(&secret)?;
    for (key, value) in data {
        let new = folder.join(format!("{name}.new"));
        std::fs::write(&new, value)?;
        std::fs::rename(&new, secret.join(key))?;
    }
    Ok(secret)
}
