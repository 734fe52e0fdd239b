//! Records that could not be read, or that the store refused.

use bytes::Bytes;

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
    /// The record, byte for byte.
    pub original: Bytes,
}
