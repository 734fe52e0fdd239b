//! What must hold whatever bytes come: these panic where it does not. `cargo fuzz` looks for such bytes, and tests go
//! through the seeds that it starts from (`fuzz/`).

use bytes::Bytes;

use crate::q::Query;

/// A query that is read is written as one that is read as the same.
///
/// # Panics
/// When something does not hold.
pub fn queries(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(query) = Query::parse(text) else { return };
    let written = query.to_string();
    // What is written may be longer than a query that is read may be.
    if written.len() <= text.len() {
        assert_eq!(Query::parse(&written), Ok(query), "{text:?} became {written:?}");
    }
}

/// Answers of Elasticsearch, and segments of the embedded store's log: the first byte says which.
///
/// # Panics
/// When something does not hold.
pub fn answers(data: &[u8]) {
    let [choice, content @ ..] = data else { return };
    if choice & 1 == 0 {
        crate::elasticsearch::check_answer(&Bytes::copy_from_slice(content));
    } else {
        let mut bytes = 0;
        let read = crate::embedded::read_segment(content, |record| {
            bytes += record.id.len() + record.source.len();
            Ok(())
        });
        assert!(read.is_ok() && bytes <= content.len());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_must_hold_of_queries_holds_for_seeds_and_their_kin() {
        taffrail_fuzz::replay("queries", super::queries);
    }

    #[test]
    fn what_must_hold_of_answers_holds_for_seeds_and_their_kin() {
        taffrail_fuzz::replay("answers", super::answers);
    }
}
