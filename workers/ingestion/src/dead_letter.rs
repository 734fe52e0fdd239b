//! Where dead letters go, and where they are found.

use std::sync::Arc;

use taffrail_crds::LogPipeline;
use taffrail_logstore::{DeadLetters, LogStore};

use crate::config::{Secrets, StartError};
use crate::source::InTopic;

/// Where a pipeline's dead letters are: in the topic that it names, or beside its logs.
///
/// # Errors
/// When the spec asks for a topic without naming brokers.
pub fn dead_letters(
    object: &LogPipeline,
    store: Arc<dyn LogStore>,
    secrets: &Secrets,
) -> Result<Arc<dyn DeadLetters>, StartError> {
    let Some(topic) = object.spec.dead_letter.as_ref().and_then(|letters| letters.kafka.as_ref()) else {
        return Ok(store);
    };
    let Some(source) = &object.spec.source.kafka else {
        let message = "a Kafka topic for dead letters needs a Kafka source, because it is on the source's brokers";
        return Err(StartError::Spec(message.to_owned()));
    };
    let name = object.metadata.name.clone().unwrap_or_default();
    Ok(Arc::new(InTopic::new(source.clone(), name, topic.topic.clone(), secrets.clone())))
}
