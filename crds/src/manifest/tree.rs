//! YAML as a tree in which everything knows its line and column.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::Finding;
use super::scalar::{self, Meaning};

/// How deep a document may nest. Dashboards reach about eight levels.
const MAX_DEPTH: usize = 64;

/// A line and a character in it, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A value, and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) value: Node,
}

/// A value without parts.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) meaning: Meaning,
    pub(crate) style: ScalarStyle,
    /// Where the text begins, where it stands in the file as it is: on one line without escapes, or as a literal block.
    pub(crate) verbatim: Option<Position>,
}

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(Scalar { meaning: Meaning::Null, .. }))
    }

    /// The value of a key, where this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let Content::Mapping(entries) = &self.content else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The text, where this is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Scalar { text, meaning: Meaning::Text, .. }) => Some(text),
            _ => None,
        }
    }

    fn size(&self) -> usize {
        1 + match &self.content {
            Content::Scalar(_) => 0,
            Content::Sequence(items) => items.iter().map(Node::size).sum(),
            Content::Mapping(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        }
    }

    /// The node that a path such as `spec.panels[2].title` leads to, or the last one on the way there.
    pub(crate) fn nearest(&self, path: &str) -> &Node {
        let path = path.strip_prefix('.').unwrap_or(path);
        let next = match &self.content {
            Content::Scalar(_) => None,
            Content::Sequence(items) => path.strip_prefix('[').and_then(|rest| {
                let (index, rest) = rest.split_once(']')?;
                Some((items.get(index.parse::<usize>().ok()?)?, rest))
            }),
            // Keys may hold dots themselves: the longest that fits is meant.
            Content::Mapping(entries) => entries
                .iter()
                .filter_map(|entry| Some((&entry.value, path.strip_prefix(entry.key.as_str())?)))
                .filter(|(_, rest)| rest.is_empty() || rest.starts_with(['.', '[']))
                .min_by_key(|(_, rest)| rest.len()),
        };
        next.map_or(self, |(node, rest)| node.nearest(rest))
    }
}

/// Reads the documents of one piece of a file.
///
/// `first_line` is where the piece begins, counted from 0; `budget` is how many nodes are still allowed, counting
/// those that aliases repeat.
pub(crate) fn load(text: &str, first_line: usize, budget: &mut usize, findings: &mut Vec<Finding>) -> Vec<Node> {
    let mut loader = Loader {
        parser: Parser::new_from_str(text),
        text,
        first_line,
        anchors: HashMap::new(),
        budget,
        path: Vec::new(),
        findings,
    };
    let mut documents = Vec::new();
    if let Err(finding) = loader.documents(&mut documents) {
        findings.push(finding);
    }
    documents
}

struct Loader<'a, 'f> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    first_line: usize,
    anchors: HashMap<usize, Node>,
    budget: &'f mut usize,
    path: Vec<String>,
    findings: &'f mut Vec<Finding>,
}

impl<'a> Loader<'a, '_> {
    fn documents(&mut self, documents: &mut Vec<Node>) -> Result<(), Finding> {
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => return Ok(()),
                content => {
                    self.path.clear();
                    documents.push(self.node(content, span, 0)?);
                }
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Finding> {
        self.parser.next_event().transpose().map_err(|error| self.broken(&error))
    }

    fn next_inside(&mut self, at: Position) -> Result<(Event<'a>, Span), Finding> {
        self.next()?.ok_or_else(|| self.fatal(at, "the document ends here, but something is still open".to_owned()))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Finding> {
        let at = self.position(span);
        if depth > MAX_DEPTH {
            return Err(self.fatal(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.spend(at, 1)?;
        let (anchor, content) = match event {
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).cloned();
                let target =
                    target.ok_or_else(|| self.fatal(at, "an alias can't be part of what it names".to_owned()))?;
                self.spend(at, target.size())?;
                return Ok(target);
            }
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, Content::Scalar(self.scalar(text.into_owned(), style, tag.as_deref(), span)))
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(at, tag.as_deref(), "seq");
                (anchor, Content::Sequence(self.sequence(at, depth)?))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(at, tag.as_deref(), "map");
                (anchor, Content::Mapping(self.mapping(at, depth)?))
            }
            _ => return Err(self.fatal(at, "something is missing here".to_owned())),
        };
        let node = Node { at, content };
        if anchor > 0 {
            self.spend(at, node.size())?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self, at: Position, depth: usize) -> Result<Vec<Node>, Finding> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next_inside(at)?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            self.path.push(format!("[{}]", items.len()));
            items.push(self.node(event, span, depth + 1)?);
            self.path.pop();
        }
    }

    fn mapping(&mut self, at: Position, depth: usize) -> Result<Vec<Entry>, Finding> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next_inside(at)?;
            if event == Event::MappingEnd {
                for Entry { key, at, value } in merged {
                    if !entries.iter().any(|entry| entry.key == key) {
                        entries.push(Entry { key, at, value });
                    }
                }
                return Ok(entries);
            }
            let key = self.node(event, span, depth + 1)?;
            let key_at = key.at;
            let name = self.key(&key);
            self.path.push(name.clone().unwrap_or_default());
            let (event, span) = self.next_inside(at)?;
            let mut value = self.node(event, span, depth + 1)?;
            self.to_block_header(key_at, &mut value);
            match name {
                Some(name) if name == "<<" && !matches!(value.content, Content::Scalar(_)) => {
                    self.merge(value, &mut merged);
                }
                Some(name) => match entries.iter().find(|entry| entry.key == name) {
                    Some(first) => {
                        let message = format!("`{name}` is set twice; the first time in line {}", first.at.line);
                        self.note(key_at, message);
                    }
                    None => entries.push(Entry { key: name, at: key_at, value }),
                },
                None => {}
            }
            self.path.pop();
        }
    }

    /// A block of text is marked where its content begins; people look for it at its `|` or `>`.
    fn to_block_header(&self, key: Position, value: &mut Node) {
        if let Content::Scalar(Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. }) = &value.content
            && let Some(line) = self.text.lines().nth(key.line.saturating_sub(self.first_line + 1))
            && let Some(column) = line.chars().skip(key.column).position(|c| c == '|' || c == '>')
        {
            value.at = Position { line: key.line, column: key.column + column + 1 };
        }
    }

    /// What `<<` brings in. Of several mappings the first that has a key wins.
    fn merge(&mut self, value: Node, merged: &mut Vec<Entry>) {
        match value.content {
            Content::Mapping(entries) => {
                for entry in entries {
                    if !merged.iter().any(|known| known.key == entry.key) {
                        merged.push(entry);
                    }
                }
            }
            Content::Sequence(items) => items.into_iter().for_each(|item| self.merge(item, merged)),
            Content::Scalar(_) => self.note(value.at, "`<<` takes a mapping, or a list of mappings".to_owned()),
        }
    }

    fn key(&mut self, key: &Node) -> Option<String> {
        let problem = match &key.content {
            Content::Scalar(Scalar { meaning: Meaning::Null, .. }) => "a key is missing before the colon".to_owned(),
            Content::Scalar(Scalar { meaning: Meaning::Odd(why), .. }) => why.clone(),
            Content::Scalar(scalar) => return Some(scalar.text.clone()),
            _ => "a key must be a text; put a value that begins with `{` or `[` in quotes".to_owned(),
        };
        self.note(key.at, problem);
        None
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Scalar {
        let plain = style == ScalarStyle::Plain;
        let meaning = match tag.map(|tag| (tag.is_yaml_core_schema(), tag.suffix.as_str())) {
            None if plain => scalar::meaning(&text),
            None | Some((true, "str")) => Meaning::Text,
            Some((false, "")) => Meaning::Text,
            Some((true, "int" | "float" | "bool" | "null")) => scalar::meaning(&text),
            Some(_) => {
                self.refuse_tag(self.position(span), tag, "str");
                Meaning::Text
            }
        };
        let Position { line, column } = self.position(span);
        let length = text.chars().count();
        let one_line = span.start.line() == span.end.line();
        let verbatim = match style {
            ScalarStyle::Plain if one_line => Some(Position { line, column }),
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted if one_line && span.len() == length + 2 => {
                Some(Position { line, column: column + 1 })
            }
            ScalarStyle::Literal => Some(Position { line, column }),
            _ => None,
        };
        Scalar { text, meaning, style, verbatim }
    }

    fn refuse_tag(&mut self, at: Position, tag: Option<&Tag>, known: &str) {
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == known)) {
            let hint = if tag.suffix.starts_with('=') { ": put the text in quotes" } else { "" };
            self.note(at, format!("the tag `{tag}` means nothing here{hint}"));
        }
    }

    fn spend(&mut self, at: Position, nodes: usize) -> Result<(), Finding> {
        match self.budget.checked_sub(nodes) {
            Some(rest) => {
                *self.budget = rest;
                Ok(())
            }
            None => Err(self.fatal(at, format!("the file holds more than {} values", super::MAX_NODES))),
        }
    }

    fn note(&mut self, at: Position, message: String) {
        let finding = self.fatal(at, message);
        self.findings.push(finding);
    }

    fn fatal(&self, at: Position, message: String) -> Finding {
        let path = self.path.iter().fold(String::new(), |path, step| super::join(&path, step));
        Finding { at, path, message }
    }

    fn position(&self, span: Span) -> Position {
        Position { line: self.first_line + span.start.line(), column: span.start.col() + 1 }
    }

    /// What the scanner stumbled over, with a hint where the lines show one of the usual slips.
    fn broken(&self, error: &ScanError) -> Finding {
        let number = error.marker().line().saturating_sub(1);
        // The scanner sees some mistakes a line too early or too late.
        let nearby =
            self.text.lines().enumerate().skip(number.saturating_sub(2)).take_while(|(at, _)| *at <= number + 1);
        let tab = nearby.filter(|(_, line)| indent(line).contains('\t')).last();
        if let Some((line, text)) = tab {
            let column = indent(text).chars().take_while(|c| *c != '\t').count() + 1;
            let at = Position { line: self.first_line + line + 1, column };
            return Finding {
                at,
                path: String::new(),
                message: "indent with spaces: YAML allows no tabs here".to_owned(),
            };
        }
        let line = self.text.lines().nth(number).unwrap_or_default();
        let value = line.split_once(": ").map_or("", |(_, value)| value.trim_start());
        let hint = if value.starts_with("{{") || line.trim_start().starts_with("{{") {
            "; put a text with {{ … }} in quotes"
        } else if value.starts_with(['>', '!', '%', '@', '`', '&', '*', '|']) {
            "; put a text that begins so in quotes"
        } else {
            ""
        };
        let at = Position { line: self.first_line + number + 1, column: error.marker().col() + 1 };
        Finding { at, path: String::new(), message: format!("this is not YAML: {}{hint}", error.info()) }
    }
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}
