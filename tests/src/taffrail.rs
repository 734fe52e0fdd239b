//! `taffrail standalone`, as users start it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::process::{Process, free_port, taffrail};

/// How long the program may take to come up on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(30);

/// `taffrail standalone`, running. It is killed when this goes.
pub struct Taffrail {
    process: Process,
    /// Address of the page and the REST API, such as `http://127.0.0.1:8080`.
    pub page: String,
    /// Address of the metrics API.
    pub metrics: String,
    /// Address of the http source.
    pub source: String,
    /// How long it took from the start to the announcement.
    pub up_after: Duration,
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
        let source = format!("127.0.0.1:{}", free_port()?);
        let begun = Instant::now();
        let mut command = taffrail("standalone")?;
        command
            .args(&options.arguments)
            .arg("--data")
            .arg(options.data)
            .args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--http-listen", &source])
            .envs(options.environment)
            .stdin(options.stdin);
        let mut process = Process::start(&mut command, options.data)?;
        let address = |text: &str, label: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(label))?;
            Some(line.split_whitespace().find(|word| word.starts_with("http://"))?.trim_end_matches('/').to_owned())
        };
        loop {
            let text = process.output();
            if let (Some(page), Some(metrics), true) =
                (address(&text, "page"), address(&text, "metrics"), text.contains("Ctrl-C"))
            {
                let metrics = metrics.trim_end_matches("/metrics").to_owned();
                let client = reqwest::Client::new();
                let (up_after, source) = (begun.elapsed(), format!("http://{source}"));
                return Ok(Self { process, page, metrics, source, up_after, client });
            }
            process.check()?;
            if begun.elapsed() > UP_WITHIN {
                bail!("taffrail is not up after {} s:\n{}", UP_WITHIN.as_secs(), process.log());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When there is nothing to kill.
    pub fn kill(self) -> Result<()> {
        self.process.kill()
    }

    /// Sends a signal such as `TERM`, waits for the end, and gives how long that took.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub async fn stop(self, signal: &str) -> Result<Duration> {
        self.process.stop(signal).await
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged in this data folder so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
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
