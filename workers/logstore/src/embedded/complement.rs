//! The logs that a query does not find.
//!
//! The index has a way to leave out what another query finds, but it asks that one for logs that it has passed already,
//! which not all of its queries bear.

use std::sync::Arc;

use tantivy::query::{BitSetDocSet, ConstScorer, EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::{BitSet, DocId, DocSet, Score, SegmentReader, TantivyError};

/// The query, of the one whose logs are not wanted.
#[derive(Debug, Clone)]
pub(super) struct Complement(pub(super) Arc<dyn Query>);

struct ComplementWeight(Box<dyn Weight>);

impl Query for Complement {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(ComplementWeight(self.0.weight(scoring)?)))
    }
}

impl Weight for ComplementWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let mut left = BitSet::with_max_value_and_full(reader.max_doc());
        self.0.for_each_no_score(reader, &mut |docs| {
            for doc in docs {
                left.remove(*doc);
            }
        })?;
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(left), boost)))
    }

    fn count(&self, reader: &SegmentReader) -> tantivy::Result<u32> {
        // There are no deleted logs.
        Ok(reader.max_doc() - self.0.count(reader)?)
    }

    fn explain(&self, reader: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        if self.scorer(reader, 1.0)?.seek(doc) == doc {
            return Ok(Explanation::new("Complement", 1.0));
        }
        Err(TantivyError::InvalidArgument(format!("document {doc} is found by the query that is not wanted")))
    }
}
