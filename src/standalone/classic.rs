//! The classic configuration as a source of objects: `config.yaml` and the rules file that it names, both watched.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use taffrail_crds::ObjectKey;
use taffrail_crds::classic::{Config, objects};
use taffrail_crds::manifest::Problem;
use taffrail_runtime::{Board, LoadProblem};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A classic configuration on disk.
pub(crate) struct Classic {
    path: PathBuf,
    /// As it was when it was right last.
    config: Config,
    keys: BTreeSet<ObjectKey>,
    stamps: Vec<Option<(u64, Option<SystemTime>)>>,
}

impl Classic {
    /// Reads a configuration; the environment wins over it.
    ///
    /// # Errors
    /// With everything that is wrong in it, each with line and column.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let config = read(path)?.map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(|problem| crate::check::line(path, problem)).collect();
            anyhow::anyhow!("the configuration can't be used:\n{}", lines.join("\n"))
        })?;
        Ok(Self { path: path.to_owned(), config, keys: BTreeSet::new(), stamps: Vec::new() })
    }

    /// What the configuration says.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The rules file; a relative path starts at the configuration's folder.
    fn rules_path(&self) -> Option<PathBuf> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        Some(&self.config.alerting.rules_path).filter(|path| !path.is_empty()).map(|path| folder.join(path))
    }

    /// Puts the objects on the board that the two files make, where they have changed.
    pub(crate) fn load(&mut self, board: &Board) {
        let stamps: Vec<_> = std::iter::once(Some(self.path.clone()))
            .chain([self.rules_path()])
            .map(|path| std::fs::metadata(path?).ok().map(|file| (file.len(), file.modified().ok())))
            .collect();
        if stamps == self.stamps {
            return;
        }
        self.stamps = stamps;
        let mut problems = Vec::new();
        match read(&self.path) {
            Ok(Ok(config)) => self.config = config,
            Ok(Err(found)) => problems.extend(found.iter().map(|problem| LoadProblem::new(&self.path, problem))),
            Err(error) => problems.push(unreadable(&self.path, &format!("{error:#}"))),
        }
        let rules_path = self.rules_path();
        let rules = rules_path.as_ref().map(|path| {
            std::fs::read_to_string(path).map_err(|error| unreadable(path, &format!("can't be read: {error}")))
        });
        let rules = match rules.transpose() {
            Ok(rules) => rules,
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        let converted = objects(&self.config, rules.as_deref());
        if let Some(path) = &rules_path {
            problems.extend(converted.problems.iter().map(|problem| LoadProblem::new(path, problem)));
        }
        let keys: BTreeSet<ObjectKey> = converted.objects.iter().map(taffrail_crds::Object::key).collect();
        for object in converted.objects {
            board.apply(object);
        }
        if problems.is_empty() {
            for gone in self.keys.difference(&keys) {
                board.delete(gone);
            }
            self.keys = keys;
        } else {
            // What was right stays in effect while a file is wrong.
            self.keys.extend(keys);
        }
        for problem in &problems {
            tracing::warn!("{}:{}:{}: {}", problem.file, problem.line, problem.column, problem.message);
        }
        board.set_problems("classic", problems);
    }

    /// Looks at both files again and again, until `stop` is cancelled.
    pub(crate) async fn watch(mut self, board: Board, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.load(&board),
            }
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Result<Config, Vec<Problem>>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    let variable = |name: &str| std::env::var(name).ok();
    let config = Config::parse(&text).map(|config| {
        config.with_environment(variable("KAFKA_BROKERS").as_deref(), variable("ELASTICSEARCH_URL").as_deref())
    });
    if let Ok(config) = &config
        && config.kafka.brokers.is_empty()
    {
        bail!("{} names no kafka.brokers, and KAFKA_BROKERS is not set", path.display());
    }
    Ok(config)
}

fn unreadable(path: &Path, message: &str) -> LoadProblem {
    LoadProblem { file: path.display().to_string(), line: 1, column: 1, message: message.to_owned() }
}
