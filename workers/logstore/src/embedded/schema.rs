//! A log as a document of the index.
//!
//! | field | holds | for |
//! | --- | --- | --- |
//! | `id` | the record's id, as a column | finding duplicates, the order within a millisecond |
//! | `timestamp` | the record's time, as a column | spans, the order, histograms |
//! | `level` | the level (the empty one, too), as a column | histograms |
//! | `message` | the message's words, with their positions | terms and phrases |
//! | `tokens` | everything else, see [`super::tokens`] | all other conditions |
//! | `source` | the record's source, compressed | what is shown |

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use tantivy::schema::{
    BytesOptions, FAST, Field, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer, TokenizerManager};
use tantivy::{IndexSettings, TantivyDocument};

use super::tokens;
use crate::q::Words;
use crate::{LogEntry, Record};

pub(super) const ID: &str = "id";
pub(super) const TIMESTAMP: &str = "timestamp";
pub(super) const LEVEL: &str = "level";
const WORDS: &str = "taffrail_words";

/// The fields of an index.
pub(super) struct Fields {
    pub(super) schema: Schema,
    id: Field,
    pub(super) timestamp: Field,
    level: Field,
    pub(super) message: Field,
    pub(super) tokens: Field,
    pub(super) source: Field,
}

/// They are the same in all indices.
pub(super) static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let mut schema = Schema::builder();
    let column = || TextOptions::default() | FAST;
    let words = TextFieldIndexing::default()
        .set_tokenizer(WORDS)
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    Fields {
        id: schema.add_text_field(ID, column()),
        timestamp: schema.add_i64_field(TIMESTAMP, FAST),
        level: schema.add_text_field(LEVEL, column()),
        message: schema.add_text_field("message", TextOptions::default().set_indexing_options(words)),
        tokens: schema.add_bytes_field("tokens", BytesOptions::default() | INDEXED),
        source: schema.add_bytes_field("source", STORED),
        schema: schema.build(),
    }
});

pub(super) fn tokenizers() -> TokenizerManager {
    // With the ones that come with it: columns are said to be made by one of them.
    let manager = TokenizerManager::default();
    manager.register(WORDS, WordTokenizer);
    manager
}

pub(super) fn settings() -> IndexSettings {
    IndexSettings::default()
}

/// The document for a record, or why it can't be one.
pub(super) fn document(record: &Record) -> Result<TantivyDocument, String> {
    let entry: LogEntry =
        serde_json::from_slice(&record.source).map_err(|error| why_no_entry(&record.source, &error))?;
    let fields = &*FIELDS;
    let mut document = TantivyDocument::with_capacity(record.source.len() * 2 + 512);
    document.add_text(fields.id, &record.id);
    document.add_i64(fields.timestamp, record.timestamp);
    document.add_text(fields.level, &entry.level);
    document.add_text(fields.message, &entry.message);
    tokens::of(&entry, &mut |token| document.add_bytes(fields.tokens, token));
    document.add_bytes(fields.source, &record.source);
    Ok(document)
}

/// What is wrong with a source, with the key that it is about if there is one.
fn why_no_entry(source: &[u8], error: &serde_json::Error) -> String {
    let members: Map<String, Value> = serde_json::from_slice(source).unwrap_or_default();
    let wrong = members.into_iter().find_map(|(key, value)| {
        let error = serde_json::from_value::<LogEntry>(json!({"timestamp": "", key.as_str(): value})).err()?;
        Some(format!("{key}: {error}"))
    });
    format!("it is no log entry: {}", wrong.unwrap_or_else(|| error.to_string()))
}

/// Cuts messages into words as [`crate::q`] says it.
#[derive(Clone)]
struct WordTokenizer;

struct WordStream<'a> {
    words: Words<'a>,
    token: Token,
}

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        WordStream { words: crate::q::words(text), token: Token::default() }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some(place) = self.words.next_into(&mut self.token.text) else { return false };
        // The first one's is 0.
        self.token.position = self.token.position.wrapping_add(1);
        self.token.offset_from = place.start;
        self.token.offset_to = place.end;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}
