//! Objects in files: YAML with any number of documents, JSON, and `kind: List`.
//!
//! Reading never stops at the first mistake. All problems of a file are found at once, each with its line and column,
//! and an object that is wrong does not keep the others of its file from being loaded. What is right here is right for
//! the API server: the same schemas and the same CEL rules are applied, and words of YAML that `kubectl` would read
//! differently are refused.

use std::sync::Arc;

use crate::{Object, ObjectKey};

mod document;
pub(crate) mod scalar;
pub(crate) mod schema;
mod split;
mod suggest;
pub(crate) mod tree;

use tree::{Content, Node, Position};

/// Longest file that is read, in bytes.
const MAX_BYTES: usize = 4 << 20;

/// How many values a file may hold, counting those that aliases repeat.
const MAX_NODES: usize = 200_000;

/// Something read from a file, and where it begins.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// What was read.
    pub object: T,
    /// Counted from 1.
    pub line: usize,
    /// Character, counted from 1.
    pub column: usize,
    source: Source,
}

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// Character, counted from 1.
    pub column: usize,
    /// The field, such as `spec.source.kafka.brokers[0]`; empty when the whole document is meant.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
    /// The object, as far as it could be told.
    pub object: Option<ObjectKey>,
}

/// What a file holds.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    /// The objects that are right, in the order of the file.
    pub objects: Vec<Located<Object>>,
    /// Everything that is wrong, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Where an object stands in its file.
#[derive(Debug, Clone)]
struct Source {
    node: Arc<Node>,
    /// The path of the object in its document: empty, or `items[3]` in a list.
    path: String,
}

/// Something wrong, before it is known in which object.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) at: Position,
    pub(crate) path: String,
    pub(crate) message: String,
}

impl Located<Object> {
    /// A problem with one field, found after the object was read: of `spec.panels[2].queries[0].query`, say.
    #[must_use]
    pub fn problem(&self, path: &str, message: String) -> Problem {
        self.problem_at(self.source.node.nearest(path).at, path, message)
    }

    /// A problem with one character of a text, its line and column counted from 1. Its position is exact where the
    /// text stands in the file as it is; where it is folded or escaped, it is that of the text.
    #[must_use]
    pub fn problem_within(&self, path: &str, line: usize, column: usize, message: String) -> Problem {
        let node = self.source.node.nearest(path);
        let mut at = node.at;
        if let Content::Scalar(tree::Scalar { verbatim: Some(start), text, .. }) = &node.content
            && let Some(length) = text.lines().nth(line.saturating_sub(1)).map(|line| line.chars().count())
        {
            at.line = start.line + line - 1;
            at.column = start.column + column.saturating_sub(1).min(length);
        }
        self.problem_at(at, path, message)
    }

    fn problem_at(&self, at: Position, path: &str, message: String) -> Problem {
        Problem {
            line: at.line,
            column: at.column,
            path: join(&self.source.path, path),
            message,
            object: Some(self.object.key()),
        }
    }
}

/// Reads all objects of a file.
#[must_use]
pub fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let broken = documents(text, |node, found| document::read(node, found, &mut parsed));
    parsed.problems.extend(broken.into_iter().map(|finding| finding.of(None)));
    parsed.problems.sort_by(|a, b| (a.line, a.column, &a.path).cmp(&(b.line, b.column, &b.path)));
    parsed
}

/// Hands over each document of a file with what was wrong in it, and gives what made others unreadable.
pub(crate) fn documents(text: &str, mut each: impl FnMut(Node, Vec<Finding>)) -> Vec<Finding> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, and may have {MAX_BYTES}: split it", text.len());
        return vec![Finding { at: Position { line: 1, column: 1 }, path: String::new(), message }];
    }
    let mut budget = MAX_NODES;
    let mut broken = Vec::new();
    for piece in split::pieces(text) {
        let mut findings = Vec::new();
        for node in tree::load(&piece.text, piece.first_line, &mut budget, &mut findings) {
            // What was found while a document was read belongs to it, and it must not be loaded.
            each(node, std::mem::take(&mut findings));
        }
        broken.append(&mut findings);
    }
    broken
}

impl Finding {
    pub(crate) fn of(self, object: Option<ObjectKey>) -> Problem {
        let Self { at, path, message } = self;
        Problem { line: at.line, column: at.column, path, message, object }
    }
}

/// `path` and the key or index that comes next.
pub(crate) fn join(path: &str, step: &str) -> String {
    match (path, step) {
        ("", step) | (step, "") => step.to_owned(),
        (path, index) if index.starts_with('[') => format!("{path}{index}"),
        (path, key) => format!("{path}.{key}"),
    }
}

#[cfg(test)]
mod tests;
