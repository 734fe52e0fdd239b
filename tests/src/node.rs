//! An Elasticsearch node of a test's own, to come to harm.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Client;

/// What it logs, and how.
const LOGGING: &str = "status = error\nappender.console.type = Console\nappender.console.name = console\n\
    appender.console.layout.type = PatternLayout\nappender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n\n\
    rootLogger.level = info\nrootLogger.appenderRef.console.ref = console\n";

/// How long it may take to answer whether it is up.
const PATIENCE: Duration = Duration::from_secs(2);

/// A node. It is killed when this goes.
pub struct Node {
    folder: PathBuf,
    settings: String,
    port: u16,
    child: Option<Child>,
}

impl Node {
    /// One with its settings and logs in a folder, its data in `data`, and with further settings.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn new(folder: &Path, data: &Path, [port, transport]: [u16; 2], settings: &str) -> Result<Self> {
        fs::create_dir_all(folder.join("temp"))?;
        fs::write(folder.join("log4j2.properties"), LOGGING)?;
        let settings = format!(
            "cluster.name: taffrail-test\nnode.name: test\ndiscovery.type: single-node\nhttp.host: 127.0.0.1\n\
             http.port: {port}\ntransport.host: 127.0.0.1\ntransport.port: {transport}\npath.data: {}\npath.logs: {}\n\
             {settings}\n",
            data.display(),
            folder.display(),
        );
        Ok(Self { folder: folder.to_owned(), settings, port, child: None })
    }

    /// Starts it, with settings for this time only. [`Node::is_up`] tells when it answers.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn launch(&mut self, settings: &str) -> Result<()> {
        fs::write(self.folder.join("elasticsearch.yml"), format!("{}{settings}", self.settings))?;
        let log = File::options().create(true).append(true).open(self.log_file())?;
        // The kernel ends it with the thread that started it.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", &crate::variable("TAFFRAIL_TEST_JAVA"), "-Xms512m", "-Xmx512m"])
            .arg(format!("-Djava.io.tmpdir={}", self.folder.join("temp").display()))
            .args(crate::variable("TAFFRAIL_TEST_ELASTICSEARCH_COMMAND").split_whitespace())
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(command.spawn().context("could not start Elasticsearch by `setpriv`")?);
        Ok(())
    }

    /// Where it logs.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("output.log")
    }

    /// How often it has logged some words.
    ///
    /// # Errors
    /// When there is no log.
    pub fn said(&self, words: &str) -> Result<usize> {
        Ok(fs::read_to_string(self.log_file())?.matches(words).count())
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn is_up(&mut self) -> Result<bool> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            bail!("Elasticsearch has ended with {status}: see {}", self.log_file().display());
        }
        let health = format!("http://127.0.0.1:{}/_cluster/health", self.port);
        let answer = Client::new().get(health).timeout(PATIENCE).send().await;
        Ok(answer.is_ok_and(|answer| answer.status().is_success()))
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("Elasticsearch is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}
