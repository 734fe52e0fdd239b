//! Queries in the index's terms. All are exact: what they find is what [`Query::matches`] says.

use std::ops::Bound::{Excluded, Included};

use tantivy::Term;
use tantivy::query::{AllQuery, BooleanQuery, EmptyQuery, PhraseQuery, Query as IndexQuery, RangeQuery, TermQuery};
use tantivy::schema::IndexRecordOption;

use super::any_token::{AnyToken, Pick};
use super::complement::Complement;
use super::schema::FIELDS;
use super::tokens;
use crate::day;
use crate::limits::{MAX_VALUE, within};
use crate::q::{Bound, Key, Pattern, Query, term_number};

/// The logs that a query finds.
pub(super) fn translate(query: &Query) -> Box<dyn IndexQuery> {
    match query {
        Query::All => Box::new(AllQuery),
        Query::Term(Key::Message, word) => one(Term::from_field_text(FIELDS.message, word)),
        Query::Term(key, text) => term(key, text),
        Query::Phrase(words) => {
            let mut terms: Vec<_> = words.iter().map(|word| Term::from_field_text(FIELDS.message, word)).collect();
            match terms.len() {
                0 => none(),
                1 => one(terms.swap_remove(0)),
                _ => Box::new(PhraseQuery::new(terms)),
            }
        }
        Query::Wildcard(Key::Message, pattern) => {
            let pattern = Pattern::new(pattern);
            let first = pattern.prefix().into_bytes();
            let range = first.clone()..tokens::after_all_with(first);
            Box::new(AnyToken::new(FIELDS.message, vec![range], Some(Pick::new(pattern, 0))))
        }
        Query::Wildcard(key, pattern) => {
            let pattern = Pattern::new(pattern);
            let Some((range, before)) = tokens::texts_from(key, &pattern.prefix()) else { return none() };
            Box::new(AnyToken::new(FIELDS.tokens, vec![range], Some(Pick::new(pattern, before))))
        }
        Query::Exists(key) => tokens::exists(key).map_or_else(|| Box::new(AllQuery) as Box<_>, token),
        Query::Range(Key::Timestamp, low, high) => times(*low, *high),
        Query::Range(Key::Field(path), low, high) => {
            Box::new(AnyToken::new(FIELDS.tokens, tokens::numbers_within(path, *low, *high), None))
        }
        Query::Range(..) => none(),
        Query::And(queries) => all(queries),
        Query::Or(queries) => either(queries.iter().map(translate).collect()),
        Query::Not(query) => Box::new(Complement(translate(query).into())),
    }
}

fn term(key: &Key, text: &str) -> Box<dyn IndexQuery> {
    let mut clauses = Vec::new();
    if within(text, MAX_VALUE) {
        clauses.extend(tokens::text(key, text).map(token));
    }
    if let (Key::Field(path), Some(number)) = (key, term_number(text)) {
        clauses.push(token(tokens::number(path, number)));
    }
    either(clauses)
}

fn all(queries: &[Query]) -> Box<dyn IndexQuery> {
    match queries {
        [] => Box::new(AllQuery),
        [query] => translate(query),
        _ => Box::new(BooleanQuery::intersection(queries.iter().map(translate).collect())),
    }
}

fn either(mut clauses: Vec<Box<dyn IndexQuery>>) -> Box<dyn IndexQuery> {
    match clauses.len() {
        0 => none(),
        1 => clauses.swap_remove(0),
        _ => Box::new(BooleanQuery::union(clauses)),
    }
}

fn times(low: Option<Bound>, high: Option<Bound>) -> Box<dyn IndexQuery> {
    let (from, to) = day::clamped(day::between(low, high));
    let time = |time| Term::from_field_i64(FIELDS.timestamp, time);
    Box::new(RangeQuery::new(Included(time(from)), Excluded(time(to))))
}

fn token(token: Vec<u8>) -> Box<dyn IndexQuery> {
    one(Term::from_field_bytes(FIELDS.tokens, &token))
}

fn one(term: Term) -> Box<dyn IndexQuery> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

fn none() -> Box<dyn IndexQuery> {
    Box::new(EmptyQuery)
}
