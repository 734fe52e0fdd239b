//! Objects from files: single files, and directories that are watched.
//!
//! Files are looked at four times a second (their size and time of change, not their content): that works on every
//! file system and on mounted ConfigMaps, where notification does not, and costs next to nothing. A change is in effect
//! within a second. A file that has become wrong does not take away what it held when it was right: nobody wants an
//! alert resolved by a typing error. A file that vanishes, or is empty for a moment while an editor writes it, is given
//! a second look before its objects go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use taffrail_crds::ObjectKey;
use taffrail_crds::manifest::{self, Parsed};
use tokio_util::sync::CancellationToken;

use crate::{Board, LoadProblem};

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Larger files are refused: nobody writes a megabyte of rules by hand.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Directories below a watched one that are looked into.
const MAX_DEPTH: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

#[derive(Default)]
struct Known {
    stamp: Option<Stamp>,
    /// Objects of this file that are on the board.
    keys: BTreeSet<ObjectKey>,
    problems: Vec<LoadProblem>,
    /// The file was gone, or empty, at the last look.
    doubtful: bool,
}

/// Puts the objects of files and directories on a board, and keeps them there as the files say.
pub struct ObjectDirectory {
    paths: Vec<PathBuf>,
    left_out: Option<PathBuf>,
    board: Board,
    files: BTreeMap<PathBuf, Known>,
}

impl ObjectDirectory {
    /// Files, and directories of `*.yaml`, `*.yml` and `*.json`. Names that begin with a dot are left out.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>, board: Board) -> Self {
        Self { paths, left_out: None, board, files: BTreeMap::new() }
    }

    /// Leaves out a folder that has other files, which may be in one of the directories.
    #[must_use]
    pub fn without(self, folder: &Path) -> Self {
        Self { left_out: std::fs::canonicalize(folder).ok(), ..self }
    }

    /// Looks once. After it the board holds what the files hold.
    pub fn load(&mut self) {
        let mut present = BTreeMap::new();
        let mut unreadable = Vec::new();
        for path in &self.paths {
            self.collect(path, 0, &mut present, &mut unreadable);
        }
        let gone: Vec<PathBuf> = self.files.keys().filter(|path| !present.contains_key(*path)).cloned().collect();
        let mut changed = !gone.is_empty();
        for path in gone {
            if self.files.get_mut(&path).is_some_and(|known| std::mem::replace(&mut known.doubtful, true)) {
                let known = self.files.remove(&path).unwrap_or_default();
                for key in &known.keys {
                    self.board.delete(key);
                }
            }
        }
        for (path, stamp) in present {
            let known = self.files.entry(path.clone()).or_default();
            if known.stamp.as_ref() == Some(&stamp) && !known.doubtful {
                continue;
            }
            if stamp.length == 0 && !known.keys.is_empty() && !std::mem::replace(&mut known.doubtful, true) {
                continue;
            }
            known.doubtful = false;
            known.stamp = Some(stamp);
            changed = true;
            self.read(&path);
        }
        if changed || !unreadable.is_empty() {
            let problems = self.files.values().flat_map(|known| known.problems.clone());
            self.board.set_problems("files", problems.chain(unreadable).collect());
        }
    }

    /// Looks again and again, until `stop` is cancelled.
    pub async fn watch(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // Looking at files may block; the runtime must not.
            let looked = tokio::task::spawn_blocking(move || {
                self.load();
                self
            });
            match looked.await {
                Ok(directory) => self = directory,
                Err(error) => {
                    tracing::error!(%error, "stopped watching the object files; restart to load changes");
                    return;
                }
            }
        }
    }

    fn read(&mut self, path: &Path) {
        let file = path.display().to_string();
        let parsed = match read_text(path) {
            Ok(text) => manifest::parse(&text),
            Err(message) => Parsed {
                problems: vec![manifest::Problem { line: 1, column: 1, path: String::new(), message, object: None }],
                ..Parsed::default()
            },
        };
        let mut problems: Vec<LoadProblem> =
            parsed.problems.iter().map(|problem| LoadProblem::new(path, problem)).collect();
        let mut keys = BTreeSet::new();
        for located in parsed.objects {
            let key = located.object.key();
            let elsewhere = self.files.iter().find(|(other, known)| *other != path && known.keys.contains(&key));
            let message = match elsewhere {
                Some((other, _)) => format!("{key} is defined in {}, too; remove one of them", other.display()),
                None if keys.contains(&key) => format!("{key} is defined twice in this file; remove one of them"),
                None => {
                    keys.insert(key);
                    self.board.apply(located.object);
                    continue;
                }
            };
            problems.push(LoadProblem { file: file.clone(), line: located.line, column: located.column, message });
        }
        let Some(known) = self.files.get_mut(path) else { return };
        for key in known.keys.difference(&keys).cloned().collect::<Vec<_>>() {
            if parsed.problems.is_empty() {
                self.board.delete(&key);
            } else {
                // What was right stays in effect while the file is wrong.
                keys.insert(key);
            }
        }
        for problem in &problems {
            tracing::warn!("{}:{}:{}: {}", problem.file, problem.line, problem.column, problem.message);
        }
        known.keys = keys;
        known.problems = problems;
    }

    fn collect(
        &self,
        path: &Path,
        depth: usize,
        files: &mut BTreeMap<PathBuf, Stamp>,
        unreadable: &mut Vec<LoadProblem>,
    ) {
        let is_left_out = || self.left_out.is_some() && std::fs::canonicalize(path).ok() == self.left_out;
        let result = std::fs::metadata(path).and_then(|metadata| {
            if metadata.is_dir() {
                if depth < MAX_DEPTH && !is_left_out() {
                    for entry in std::fs::read_dir(path)? {
                        let entry = entry?;
                        let path = entry.path();
                        let hidden = entry.file_name().to_string_lossy().starts_with('.');
                        let wanted = path.is_dir()
                            || path
                                .extension()
                                .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|e| extension == *e));
                        if !hidden && wanted {
                            self.collect(&path, depth + 1, files, unreadable);
                        }
                    }
                }
            } else {
                let stamp = Stamp { length: metadata.len(), modified: metadata.modified().ok() };
                files.insert(path.to_owned(), stamp);
            }
            Ok(())
        });
        if let Err(error) = result
            && depth == 0
        {
            let message = format!("can't be read: {error}");
            unreadable.push(LoadProblem { file: path.display().to_string(), line: 1, column: 1, message });
        }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| format!("can't be read: {error}"))?.len();
    if length > MAX_FILE_BYTES {
        return Err(format!("has {length} bytes; {MAX_FILE_BYTES} are the most: split it into several files"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("can't be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use taffrail_crds::Kind;

    use super::*;

    fn dashboard(name: &str, title: &str) -> String {
        format!(
            "apiVersion: taffrail.dev/v1alpha1\nkind: Dashboard\nmetadata: {{name: {name}}}\nspec: {{title: {title}}}\n---\n"
        )
    }

    fn names(board: &Board) -> Vec<String> {
        board.list(Kind::Dashboard).iter().map(|entry| entry.object.key().name).collect()
    }

    #[test]
    fn files_come_change_and_go() {
        let folder = tempfile::tempdir().expect("folder");
        let board = Board::new();
        let mut directory = ObjectDirectory::new(vec![folder.path().to_owned()], board.clone());
        let (one, two) = (folder.path().join("one.yaml"), folder.path().join("two.yaml"));
        fs::write(&one, dashboard("a", "first") + &dashboard("b", "first")).expect("write");
        fs::write(&two, dashboard("c", "first")).expect("write");
        fs::write(folder.path().join("notes.txt"), "no object").expect("write");
        directory.load();
        assert_eq!(names(&board), ["a", "b", "c"]);
        assert_eq!(board.problems(), []);

        fs::write(&one, dashboard("a", "the second")).expect("write");
        directory.load();
        assert_eq!(names(&board), ["a", "c"]);

        fs::remove_file(&two).expect("remove");
        directory.load();
        assert_eq!(names(&board), ["a", "c"], "the first look only doubts");
        directory.load();
        assert_eq!(names(&board), ["a"]);
    }

    #[test]
    fn a_folder_of_other_files_may_be_among_the_objects() {
        let folder = tempfile::tempdir().expect("folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("folder");
        fs::write(folder.path().join("one.yaml"), dashboard("a", "first")).expect("write");
        fs::write(data.join("meta.json"), "{}").expect("write");
        let board = Board::new();
        ObjectDirectory::new(vec![folder.path().to_owned()], board.clone()).without(&data).load();
        assert_eq!((names(&board), board.problems()), (vec!["a".to_owned()], vec![]));
        ObjectDirectory::new(vec![folder.path().to_owned()], board.clone()).load();
        assert_eq!(board.problems().len(), 1);
    }

    #[test]
    fn a_file_that_becomes_wrong_keeps_what_it_held_and_says_what_is_wrong() {
        let folder = tempfile::tempdir().expect("folder");
        let board = Board::new();
        let mut directory = ObjectDirectory::new(vec![folder.path().to_owned()], board.clone());
        let file = folder.path().join("one.yaml");
        fs::write(&file, dashboard("a", "first")).expect("write");
        fs::write(folder.path().join("two.yaml"), dashboard("b", "first")).expect("write");
        directory.load();
        fs::write(&file, "apiVersion: taffrail.dev/v1alpha1\nkind: Dashboard\nmetadata: {name: a}\nspec: {titel: x}\n")
            .expect("write");
        directory.load();
        assert_eq!(names(&board), ["a", "b"]);
        let problems = board.problems();
        assert!(problems[0].file.ends_with("one.yaml") && problems[0].message.contains("titel"), "{problems:?}");
        fs::write(&file, dashboard("a", "mended")).expect("write");
        directory.load();
        assert_eq!(board.problems(), []);
    }

    #[test]
    fn an_object_defined_twice_is_loaded_once_and_named() {
        let folder = tempfile::tempdir().expect("folder");
        let board = Board::new();
        fs::write(folder.path().join("one.yaml"), dashboard("a", "first")).expect("write");
        fs::write(folder.path().join("two.yaml"), dashboard("a", "second")).expect("write");
        let missing = folder.path().join("missing");
        ObjectDirectory::new(vec![folder.path().to_owned(), missing], board.clone()).load();
        assert_eq!(names(&board), ["a"]);
        let messages: Vec<String> = board.problems().into_iter().map(|problem| problem.message).collect();
        assert!(messages.iter().any(|message| message.contains("one.yaml, too")), "{messages:?}");
        assert!(messages.iter().any(|message| message.contains("can't be read")), "{messages:?}");
    }
}
