//! The logs that have any of many tokens: those in some ranges, that may have to fit a pattern.

use std::sync::Arc;

use tantivy::query::{BitSetDocSet, ConstScorer, EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{BitSet, DocId, DocSet, Score, SegmentReader, TantivyError};

use super::tokens::TokenRange;
use crate::q::Pattern;

/// Which of the tokens are wanted.
#[derive(Debug)]
pub(super) struct Pick {
    pattern: Pattern,
    literal: String,
    before: usize,
}

/// The query.
#[derive(Debug, Clone)]
pub(super) struct AnyToken(Arc<Wanted>);

#[derive(Debug)]
struct Wanted {
    field: Field,
    ranges: Vec<TokenRange>,
    pick: Option<Pick>,
}

impl AnyToken {
    /// An end of a range that is empty stands for none.
    pub(super) fn new(field: Field, ranges: Vec<TokenRange>, pick: Option<Pick>) -> Self {
        Self(Arc::new(Wanted { field, ranges, pick }))
    }
}

impl Query for AnyToken {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for AnyToken {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let wanted = &*self.0;
        let mut found = BitSet::with_max_value(reader.max_doc());
        let index = reader.inverted_index(wanted.field)?;
        for range in &wanted.ranges {
            let mut stream = index.terms().range().ge(&range.start);
            if !range.end.is_empty() {
                stream = stream.lt(&range.end);
            }
            let mut stream = stream.into_stream()?;
            while stream.advance() {
                if wanted.pick.as_ref().is_some_and(|pick| !pick.fits(stream.key())) {
                    continue;
                }
                let mut postings = index.read_block_postings_from_terminfo(stream.value(), IndexRecordOption::Basic)?;
                while !postings.docs().is_empty() {
                    for doc in postings.docs() {
                        found.insert(*doc);
                    }
                    postings.advance();
                }
            }
        }
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(found), boost)))
    }

    fn explain(&self, reader: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        if self.scorer(reader, 1.0)?.seek(doc) == doc {
            return Ok(Explanation::new("AnyToken", 1.0));
        }
        Err(TantivyError::InvalidArgument(format!("document {doc} has none of the tokens")))
    }
}

impl Pick {
    /// Those whose text fits a pattern; in front of it are some bytes.
    pub(super) fn new(pattern: Pattern, before: usize) -> Self {
        Self { literal: pattern.literal(), pattern, before }
    }

    fn fits(&self, token: &[u8]) -> bool {
        let text = token.get(self.before..).and_then(|text| std::str::from_utf8(text).ok());
        // To look for a part of the pattern is much quicker, and for most texts enough.
        text.is_some_and(|text| text.contains(&self.literal) && self.pattern.fits(text))
    }
}
