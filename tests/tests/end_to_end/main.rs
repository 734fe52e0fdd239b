//! The program as users start it, against real Kafka and Elasticsearch.
#![allow(clippy::unwrap_used, missing_docs)]

mod dead_letters;
mod exactly_once;
mod pipes;
mod quickstart;
mod requests;
mod rubbish;
mod rules;
mod senders;
mod support;
mod topics;
mod workers;
