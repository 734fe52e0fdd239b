//! `taffrail check PATH…`: what is wrong in object files, without asking anybody.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use taffrail_crds::ObjectKey;
use taffrail_crds::manifest::{self, Problem};

pub(crate) mod semantic;

/// The deepest folder that is looked into.
const MAX_DEPTH: usize = 16;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Object files, and folders of them
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

/// Exit code 0: all is right; 1: something is wrong in a file; 2: there is no such file.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut files = Vec::new();
    for path in &args.paths {
        if let Err(error) = collect(path, 0, &mut files) {
            crate::complain(&format!("can't read {}: {error}", path.display()));
            return Ok(ExitCode::from(2));
        }
    }
    let mut report = Report::default();
    for file in &files {
        match std::fs::read(file) {
            Ok(bytes) => report.file(file, &bytes),
            Err(error) => report.unreadable(file, &error),
        }
    }
    report.print(files.len(), &mut io::stdout().lock()).context("can't print what was found")?;
    Ok(if report.lines.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The files that a path stands for: itself, or the YAML and JSON files of a folder, by name.
fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.metadata()?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if depth == MAX_DEPTH {
        return Ok(());
    }
    let mut entries = std::fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let wanted = path.is_dir()
            || path
                .extension()
                .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        if !hidden && wanted {
            collect(&path, depth + 1, files)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Report {
    lines: Vec<String>,
    objects: usize,
    /// Where each object was met first.
    seen: HashMap<ObjectKey, String>,
}

impl Report {
    fn file(&mut self, file: &Path, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.lines.push(format!("{}:1:1: not UTF-8; write the file anew in that encoding", file.display()));
            return;
        };
        let parsed = manifest::parse(text);
        let mut problems = parsed.problems;
        for located in &parsed.objects {
            let found = semantic::problems(located);
            self.objects += usize::from(found.is_empty());
            problems.extend(found);
            let key = located.object.key();
            if let Some(first) = self.seen.get(&key) {
                problems.push(
                    located.problem("metadata.name", format!("{key} is defined in {first}, too; remove one of them")),
                );
            } else {
                self.seen.insert(key, format!("{}:{}", file.display(), located.line));
            }
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        self.lines.extend(problems.iter().map(|problem| line(file, problem)));
    }

    fn unreadable(&mut self, file: &Path, error: &io::Error) {
        self.lines.push(format!("{}:1:1: can't be read: {error}", file.display()));
    }

    fn print(&self, files: usize, out: &mut impl Write) -> io::Result<()> {
        for line in &self.lines {
            writeln!(out, "{line}")?;
        }
        let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
        let problems = match self.lines.len() {
            0 => "no problems".to_owned(),
            number => count(number, "problem"),
        };
        writeln!(out, "{problems} in {}; {} right", count(files, "file"), count(self.objects, "object"))
    }
}

/// `file:line:column: path: message`, which editors know how to jump to. A message of several lines becomes one.
pub(crate) fn line(file: &Path, problem: &Problem) -> String {
    let Problem { line, column, path, message, .. } = problem;
    let message = message.split('\n').map(str::trim).collect::<Vec<_>>().join("; ");
    let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
    format!("{}:{line}:{column}: {path}{message}", file.display())
}

#[cfg(test)]
mod tests;
