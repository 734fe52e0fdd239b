//! The program as users start it, against real Kafka and Elasticsearch.
#![allow(clippy::unwrap_used, missing_docs)]

mod chaos;
mod dead_letters;
mod exactly_once;
mod kafka_topics;
mod outage;
mod pipes;
mod quickstart;
mod rebalance;
mod requests;
mod retention;
mod rubbish;
mod rules;
mod security;
mod senders;
mod sink_security;
mod support;
mod topics;
mod workers;
