//! The program, as users start it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// How long the program may take to come up on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(30);

/// How long the program may take to stop on a busy machine, before it counts as stuck.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// The program, which was built before the tests: it lies beside their folder.
///
/// # Errors
/// When it is not there.
pub fn program() -> Result<PathBuf> {
    let test = std::env::current_exe().context("no path of this test")?;
    let folder = test.parent().and_then(Path::parent).context("no folder of this test")?;
    let program = folder.join("taffrail");
    ensure!(program.is_file(), "{} is not there: run `cargo build` first, or `cargo xtask test`", program.display());
    Ok(program)
}

/// `taffrail standalone`, running. It is killed when this goes.
pub struct Taffrail {
    child: Child,
    /// Address of the page and the REST API, such as `http://127.0.0.1:8080`.
    pub page: String,
    /// Address of the metrics API.
    pub metrics: String,
    /// Address of the http source.
    pub source: String,
    /// How long it took from the start to the announcement.
    pub up_after: Duration,
    log: PathBuf,
    client: reqwest::Client,
}

/// How to start it.
pub struct Options<'a> {
    /// Its data folder; its output goes into files beside it.
    pub data: &'a Path,
    /// What else stands on the command line.
    pub arguments: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(&'static str, String)>,
    /// What it reads from standard input.
    pub stdin: Stdio,
}

impl<'a> Options<'a> {
    /// With object files.
    pub fn new<A: AsRef<OsStr>>(data: &'a Path, arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments =
            arguments.into_iter().map(|argument| argument.as_ref().to_string_lossy().into_owned()).collect();
        Self { data, arguments, environment: Vec::new(), stdin: Stdio::null() }
    }
}

impl Taffrail {
    /// Starts it on free ports, and waits until it says that it is up.
    ///
    /// # Errors
    /// When it does not come up; with what it said.
    pub async fn start(options: Options<'_>) -> Result<Self> {
        let source = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (output, log) = (options.data.with_extension("out"), options.data.with_extension("log"));
        let append = || File::options().create(true).append(true).open(&log);
        let begun = Instant::now();
        let mut child = Command::new(program()?)
            .arg("standalone")
            .args(&options.arguments)
            .arg("--data")
            .arg(options.data)
            .args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--http-listen", &source.to_string()])
            .envs(options.environment)
            .stdin(options.stdin)
            .stdout(File::create(&output)?)
            .stderr(append()?)
            .spawn()
            .context("could not start taffrail")?;
        let address = |text: &str, label: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(label))?;
            Some(line.split_whitespace().find(|word| word.starts_with("http://"))?.trim_end_matches('/').to_owned())
        };
        loop {
            let text = fs::read_to_string(&output)?;
            if let (Some(page), Some(metrics), true) =
                (address(&text, "page"), address(&text, "metrics"), text.contains("Ctrl-C"))
            {
                let metrics = metrics.trim_end_matches("/metrics").to_owned();
                let client = reqwest::Client::new();
                let (up_after, source) = (begun.elapsed(), format!("http://{source}"));
                return Ok(Self { child, page, metrics, source, up_after, log, client });
            }
            if let Some(status) = child.try_wait()? {
                bail!("taffrail ended with {status}:\n{}", fs::read_to_string(&log)?);
            }
            if begun.elapsed() > UP_WITHIN {
                child.kill()?;
                bail!("taffrail is not up after {} s:\n{}", UP_WITHIN.as_secs(), fs::read_to_string(&log)?);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When there is nothing to kill.
    pub fn kill(mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_none(), "taffrail has ended by itself:\n{}", self.log());
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal such as `TERM`, waits for the end, and gives how long that took.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub async fn stop(mut self, signal: &str) -> Result<Duration> {
        let begun = Instant::now();
        // The shell's `kill` spares us unsafe code for the one system call that std lacks.
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.child.id())]).status()?;
        ensure!(status.success(), "could not send {signal}");
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(begun.elapsed() < STOPPED_WITHIN, "taffrail does not stop:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        ensure!(status.success(), "taffrail ended with {status}:\n{}", self.log());
        Ok(begun.elapsed())
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged in this data folder so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The answer to a GET of `/api/v1/<path>`, with its status.
    ///
    /// # Errors
    /// When there is none, or it is no JSON.
    pub async fn get(&self, path: &str) -> Result<(u16, Value)> {
        let address = format!("{}/api/v1/{path}", self.page);
        let response = self.client.get(&address).send().await.with_context(|| format!("no answer to {address}"))?;
        let status = response.status().as_u16();
        Ok((status, response.json().await.with_context(|| format!("no JSON from {address}"))?))
    }

    /// The answer to a GET of `/api/v1/<path>`, which must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ask(&self, path: &str) -> Result<Value> {
        let (status, answer) = self.get(path).await?;
        ensure!(status == 200, "{path} was answered by {status}: {answer}");
        Ok(answer)
    }

    /// The status of a pipeline.
    ///
    /// # Errors
    /// When there is no such pipeline.
    pub async fn pipeline(&self, name: &str) -> Result<Value> {
        let answer = self.ask("pipelines").await?;
        let found = answer["pipelines"].as_array().into_iter().flatten().find(|pipeline| pipeline["name"] == name);
        Ok(found.with_context(|| format!("no pipeline {name} in {answer}"))?["status"].clone())
    }

    /// The status of a rule.
    ///
    /// # Errors
    /// When there is no such rule.
    pub async fn rule(&self, name: &str) -> Result<Value> {
        let answer = self.ask("rules").await?;
        let found = answer["rules"].as_array().into_iter().flatten().find(|rule| rule["name"] == name);
        Ok(found.with_context(|| format!("no rule {name} in {answer}"))?.clone())
    }

    /// Posts to the http source.
    ///
    /// # Errors
    /// When it is not taken.
    pub async fn send(&self, body: impl Into<reqwest::Body>) -> Result<Value> {
        let response = self.client.post(format!("{}/logs", self.source)).body(body).send().await?;
        let status = response.status();
        let answer: Value = response.json().await?;
        ensure!(status.is_success(), "the http source answered {status}: {answer}");
        Ok(answer)
    }
}

impl Drop for Taffrail {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
