#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write as _;

use serde_json::json;

use super::*;
use crate::testing::{LastStatus, MemoryMetrics, MemoryStore, config, spec, until};
use crate::{Pipeline, PipelineHandle};

/// A log that somebody writes, and what a pipeline stored of it through all its runs.
struct Rig {
    store: Arc<MemoryStore>,
    folder: tempfile::TempDir,
    written: usize,
}

impl Rig {
    fn new() -> Self {
        Self { store: MemoryStore::new(), folder: tempfile::tempdir().unwrap(), written: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("logs").join(name)
    }

    /// Writes some lines, each of which is written once.
    fn append(&mut self, name: &str, lines: usize) {
        fs::create_dir_all(self.path("")).unwrap();
        let mut file = File::options().create(true).append(true).open(self.path(name)).unwrap();
        for _ in 0..lines {
            writeln!(file, "line {:06}", self.written).unwrap();
            self.written += 1;
        }
    }

    async fn start(&self) -> (PipelineHandle, LastStatus) {
        let spec = spec(json!({
            "source": {"file": {"paths": [self.path("*.log")]}}, "format": "text",
            "batch": {"size": 100, "timeout": "20ms"}, "sink": {"embedded": {}},
        }));
        let data = self.folder.path().join("data");
        let (config, status) = config(spec, self.store.clone(), MemoryMetrics::new(), &data);
        (Pipeline::start(config).await.unwrap(), status)
    }

    /// Waits until every line that was written is stored, each once.
    async fn all(&self) {
        until("all lines are stored", || self.store.documents.lock().len() >= self.written).await;
        let expected: Vec<String> = (0..self.written).map(|n| format!("line {n:06}")).collect();
        assert_eq!(self.store.messages(), expected);
    }
}

/// What happens to a log when it is rotated.
#[derive(Debug, Clone, Copy)]
enum Rotation {
    /// It is renamed, and a new one is made.
    Rename,
    /// The same, several times.
    RenameTwice,
    /// It is copied, and cut off.
    Copy,
    /// The same, and what comes then is longer than what was there.
    CopyAndMore,
}

impl Rotation {
    const ALL: [Self; 4] = [Self::Rename, Self::RenameTwice, Self::Copy, Self::CopyAndMore];

    /// Lines that nobody has read yet stand at the end of what is rotated.
    fn happen(self, rig: &mut Rig) {
        rig.append("app.log", 7);
        let rename = |rig: &Rig, from: &str, to: &str| fs::rename(rig.path(from), rig.path(to)).unwrap();
        match self {
            Self::Rename => {
                rename(rig, "app.log", "app.log.1");
                rig.append("app.log", 5);
            }
            Self::RenameTwice => {
                rename(rig, "app.log", "app.log.1");
                rig.append("app.log", 5);
                rename(rig, "app.log.1", "app.log.2");
                rename(rig, "app.log", "app.log.1");
                rig.append("app.log", 5);
                // Whoever wrote the old one did not know yet.
                rig.append("app.log.2", 3);
            }
            Self::Copy | Self::CopyAndMore => {
                fs::copy(rig.path("app.log"), rig.path("app.log.1")).unwrap();
                File::options().write(true).truncate(true).open(rig.path("app.log")).unwrap();
                rig.append("app.log", if matches!(self, Self::Copy) { 5 } else { 500 });
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_loses_and_doubles_nothing_while_it_runs() {
    for rotation in Rotation::ALL {
        let mut rig = Rig::new();
        rig.append("app.log", 50);
        let (pipeline, _) = rig.start().await;
        rig.all().await;
        if matches!(rotation, Rotation::RenameTwice) {
            // A file that comes and goes between two looks is nobody's: let each be seen.
            rig.append("app.log", 7);
            fs::rename(rig.path("app.log"), rig.path("app.log.1")).unwrap();
            rig.append("app.log", 5);
            rig.all().await;
            fs::rename(rig.path("app.log.1"), rig.path("app.log.2")).unwrap();
            fs::rename(rig.path("app.log"), rig.path("app.log.1")).unwrap();
            rig.append("app.log", 5);
            rig.append("app.log.2", 3);
        } else {
            rotation.happen(&mut rig);
        }
        rig.all().await;
        rig.append("app.log", 3);
        rig.all().await;
        pipeline.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_loses_and_doubles_nothing_while_it_is_away() {
    for rotation in [Rotation::Rename, Rotation::Copy, Rotation::CopyAndMore] {
        for is_killed in [false, true] {
            let mut rig = Rig::new();
            rig.append("app.log", 50);
            let (pipeline, _) = rig.start().await;
            rig.all().await;
            if is_killed {
                // The file of places may lag behind: what is read again is stored already.
                drop(pipeline);
            } else {
                pipeline.stop().await;
            }
            rotation.happen(&mut rig);
            let (pipeline, _) = rig.start().await;
            rig.all().await;
            rig.append("app.log", 3);
            rig.all().await;
            pipeline.stop().await;
            // Once more, with nothing new.
            let (pipeline, status) = rig.start().await;
            until("it reports", || status.lock().is_some()).await;
            rig.all().await;
            pipeline.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_cut_off_and_written_anew_is_read_from_its_beginning() {
    let mut rig = Rig::new();
    rig.append("app.log", 50);
    let (pipeline, _) = rig.start().await;
    rig.all().await;
    File::options().write(true).truncate(true).open(rig.path("app.log")).unwrap();
    rig.append("app.log", 20);
    rig.all().await;
    pipeline.stop().await;
    // The same while nobody looks, and longer than before.
    File::options().write(true).truncate(true).open(rig.path("app.log")).unwrap();
    rig.append("app.log", 100);
    let (pipeline, _) = rig.start().await;
    rig.all().await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_line_waits_for_its_end_or_for_that_of_its_file() {
    let mut rig = Rig::new();
    rig.append("app.log", 2);
    let write = |text: &str| {
        File::options().append(true).open(rig.path("app.log")).unwrap().write_all(text.as_bytes()).unwrap();
    };
    write("line 0000");
    let (pipeline, _) = rig.start().await;
    until("whole lines are stored", || rig.store.documents.lock().len() == 2).await;
    pipeline.stop().await;
    write("02\nline 000003");
    let (pipeline, _) = rig.start().await;
    until("the line is whole", || rig.store.documents.lock().len() == 3).await;
    fs::rename(rig.path("app.log"), rig.path("app.log.1")).unwrap();
    rig.written = 4;
    rig.all().await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_comes_late_is_gone_on_with() {
    let mut rig = Rig::new();
    rig.append("app.log", 50);
    let (pipeline, _) = rig.start().await;
    rig.all().await;
    pipeline.stop().await;
    // As with a volume that is mounted after the start.
    let away = rig.folder.path().join("away");
    fs::rename(rig.path(""), &away).unwrap();
    let (pipeline, status) = rig.start().await;
    until("it reports", || status.lock().is_some()).await;
    fs::rename(&away, rig.path("")).unwrap();
    rig.append("app.log", 5);
    rig.all().await;
    let ids: Vec<String> = rig.store.sources().into_keys().collect();
    let prefixes: BTreeSet<&str> = ids.iter().map(|id| id.rsplit_once('-').unwrap().0).collect();
    assert_eq!(prefixes.len(), 1, "it is the same file all the time: {prefixes:?}");
    pipeline.stop().await;
}
