//! Records that could not be read, or that the store refused.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;

use crate::cursor::Cursor;
use crate::limits::{MAX_LETTER_GROUPS, MAX_LETTERS};
use crate::{SearchError, TimeSpan, WriteError};

/// Of a cause, so many characters are kept.
const LONGEST_CAUSE: usize = 200;

/// Where a record came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The pipeline, `namespace/name`.
    pub pipeline: String,
    /// The generation of the pipeline's spec.
    pub generation: i64,
    /// Kafka's topic, a file's path, or the kind of the source.
    pub topic: String,
    /// Kafka's partition, or 0.
    pub partition: i32,
    /// Kafka's offset, or the position in the source.
    pub offset: i64,
    /// When the source got it, milliseconds since 1970.
    pub timestamp: i64,
}

/// A record that could not be read, or that the store refused, with all that is needed to send it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The id that the record would have had; a second letter with it replaces the first.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
    /// The store's status for it; 0 where it never came to the store.
    pub status: u16,
    /// Where it came from.
    pub provenance: Provenance,
    /// As what the metrics derived from it are counted; none until it is sent again.
    pub counted_as: Option<CountedAs>,
    /// The record, byte for byte.
    pub original: Bytes,
}

/// As what the metrics derived from a record that is sent again are counted, so that they are counted once however often
/// it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedAs {
    /// The name of the source, as the metrics store knows it.
    pub source: String,
    /// The offset in it.
    pub offset: i64,
}

/// A dead letter without its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterHead {
    /// See [`DeadLetter::id`].
    pub id: String,
    /// See [`DeadLetter::reason`].
    pub reason: String,
    /// See [`DeadLetter::status`].
    pub status: u16,
    /// See [`DeadLetter::provenance`].
    pub provenance: Provenance,
    /// The bytes of the record.
    pub size: u64,
}

impl LetterHead {
    /// All of a letter but its record.
    #[must_use]
    pub fn of(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id.clone(),
            reason: letter.reason.clone(),
            status: letter.status,
            provenance: letter.provenance.clone(),
            size: letter.original.len() as u64,
        }
    }

    /// Where a page ends whose last letter this is.
    #[must_use]
    pub fn cursor(&self) -> String {
        Cursor { time: self.provenance.timestamp, id: self.id.clone() }.encode()
    }
}

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LetterFilter {
    /// A part of their [`cause`], as written.
    pub reason: Option<String>,
    /// Their status.
    pub status: Option<u16>,
    /// When the source got their records.
    pub span: TimeSpan,
}

impl LetterFilter {
    /// What the cause of a letter must contain: what somebody copies from a reason finds it.
    #[must_use]
    pub fn wanted_cause(&self) -> Option<String> {
        self.reason.as_deref().map(cause)
    }
}

/// Which dead letters of a pipeline, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterRequest {
    /// The pipeline, `namespace/name`.
    pub pipeline: String,
    /// Which of them.
    pub filter: LetterFilter,
    /// How many at most.
    pub limit: usize,
    /// Where the page before ended: its [`LetterPage::cursor`].
    pub cursor: Option<String>,
}

/// Letters of the same kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterGroup {
    /// Their [`cause`].
    pub cause: String,
    /// Their status.
    pub status: u16,
    /// How many.
    pub count: u64,
}

/// A page of dead letters, newest first; letters of the same millisecond are in descending order of id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LetterPage {
    /// The letters, without their records.
    pub letters: Vec<LetterHead>,
    /// How many match in all.
    pub total: u64,
    /// The most frequent kinds of all that match, most frequent first, ties by cause and status.
    pub groups: Vec<LetterGroup>,
    /// Where the next page starts; none after the last page.
    pub cursor: Option<String>,
}

/// Keeps dead letters, and gives them back.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Keeps dead letters, durably. One with the id of an earlier one replaces it.
    ///
    /// # Errors
    /// When not all of them are kept; all must be written again.
    async fn write_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError>;

    /// Finds dead letters of a pipeline. What is written, replaced or removed shows within two seconds, and at once to
    /// whoever removes or replaces it through [`Self::replace_dead_letters`].
    async fn dead_letters(&self, request: &LetterRequest) -> Result<LetterPage, SearchError>;

    /// Dead letters of a pipeline with their records, those of these ids that are there, in no order. Whoever asks sees
    /// to it that they are not too large together.
    async fn whole_dead_letters(&self, pipeline: &str, ids: &[String]) -> Result<Vec<DeadLetter>, SearchError>;

    /// Writes dead letters that are there in another form; from now on everybody finds them so.
    ///
    /// # Errors
    /// When not all of them are written; all must be written again.
    async fn replace_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), WriteError>;

    /// Removes dead letters of a pipeline, durably. Those that are not there do no harm.
    ///
    /// # Errors
    /// When not all of them are removed; all must be removed again.
    async fn remove_dead_letters(&self, pipeline: &str, ids: &[String]) -> Result<(), WriteError>;
}

/// What is the same in the reasons of letters of one kind: quoted texts are `…` and whole numbers `#`, since they tell
/// of the one record. At most 200 characters.
#[must_use]
pub fn cause(reason: &str) -> String {
    let mut cause = String::new();
    let mut rest = reason;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        if cause.chars().count() >= LONGEST_CAUSE {
            break;
        }
        let after = &rest[first.len_utf8()..];
        if matches!(first, '\'' | '"' | '`') && !before.is_alphanumeric() {
            // An apostrophe inside of a word begins nothing, and ends nothing.
            let end = after.match_indices(first).find(|(at, _)| {
                let next = after[at + 1..].chars().next();
                !next.is_some_and(char::is_alphanumeric)
            });
            if let Some((at, _)) = end {
                cause.extend([first, '…', first]);
                (rest, before) = (&after[at + 1..], first);
                continue;
            }
        }
        if first.is_ascii_digit() && !before.is_alphanumeric() {
            let digits = rest.len() - rest.trim_start_matches(|next: char| next.is_ascii_digit()).len();
            if !rest[digits..].chars().next().is_some_and(char::is_alphanumeric) {
                cause.push('#');
                (rest, before) = (&rest[digits..], '#');
                continue;
            }
        }
        if !first.is_whitespace() {
            cause.push(first);
        } else if !before.is_whitespace() || cause.is_empty() {
            cause.push(' ');
        }
        (rest, before) = (after, first);
    }
    cause.trim().to_owned()
}

/// Answers a request from all letters of its pipeline, for who has them in memory.
///
/// # Errors
/// When the cursor is none.
pub fn page(heads: Vec<LetterHead>, request: &LetterRequest) -> Result<LetterPage, SearchError> {
    let LetterFilter { status, span, .. } = request.filter;
    let wanted_cause = request.filter.wanted_cause();
    let cursor = request.cursor.as_deref().map(Cursor::decode).transpose()?;
    let mut counts: HashMap<(String, u16), u64> = HashMap::new();
    let mut letters = Vec::new();
    for head in heads {
        let (at, cause) = (head.provenance.timestamp, cause(&head.reason));
        let is_meant = status.is_none_or(|status| status == head.status)
            && span.from.is_none_or(|from| from <= at)
            && span.to.is_none_or(|to| at < to)
            && wanted_cause.as_ref().is_none_or(|wanted| cause.contains(wanted.as_str()));
        if is_meant {
            *counts.entry((cause, head.status)).or_default() += 1;
            letters.push(head);
        }
    }
    let total = letters.len() as u64;
    letters.sort_unstable_by(|one, other| {
        (other.provenance.timestamp, &other.id).cmp(&(one.provenance.timestamp, &one.id))
    });
    letters.retain(|head| {
        cursor.as_ref().is_none_or(|cursor| (head.provenance.timestamp, &head.id) < (cursor.time, &cursor.id))
    });
    let limit = request.limit.min(MAX_LETTERS);
    let more = letters.len() > limit;
    letters.truncate(limit);
    let cursor = letters.last().filter(|_| more).map(LetterHead::cursor);
    let group = |((cause, status), count)| LetterGroup { cause, status, count };
    Ok(LetterPage { letters, total, groups: in_order(counts.into_iter().map(group).collect()), cursor })
}

/// The most frequent kinds, in order.
pub(crate) fn in_order(mut groups: Vec<LetterGroup>) -> Vec<LetterGroup> {
    groups.sort_by(|one, other| {
        other.count.cmp(&one.count).then_with(|| (&one.cause, one.status).cmp(&(&other.cause, other.status)))
    });
    groups.truncate(MAX_LETTER_GROUPS);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_a_reason_without_what_is_of_one_record() {
        for (reason, expected) in [
            ("not JSON: expected value at line 1 column 17", "not JSON: expected value at line # column #"),
            (
                "document_parsing_exception: [1:30] failed to parse field [fields.n2] of type [long] in document with id \
                 'a-0-17-3e8-0f'. Preview of field's value: 'ab'c d': For input string: \"ab\"c d\"",
                "document_parsing_exception: [#:#] failed to parse field [fields.n2] of type [long] in document with id \
                 '…'. Preview of field's value: '…': For input string: \"…\"",
            ),
            ("can't  \n be `a` or 'b", "can't be `…` or 'b"),
            ("not UTF-8 from byte 3 on", "not UTF-# from byte # on"),
            ("", ""),
            ("17", "#"),
        ] {
            assert_eq!(cause(reason), expected);
            assert_eq!(cause(&cause(reason)), expected, "the cause of a cause is the same");
        }
        assert_eq!(cause(&"é".repeat(300)).chars().count(), LONGEST_CAUSE);
    }
}
