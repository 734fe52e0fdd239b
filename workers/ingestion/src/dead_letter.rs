//! Where dead letters go.

use std::sync::Arc;

use async_trait::async_trait;
use taffrail_logstore::{DeadLetter, LogStore, WriteError};

use crate::config::{PipelineConfig, StartError};
use crate::source::InTopic;

/// Keeps dead letters.
#[async_trait]
pub(crate) trait Letters: Send + Sync {
    /// Keeps letters, durably.
    async fn write(&self, letters: &[DeadLetter]) -> Result<(), WriteError>;
}

/// Dead letters beside the logs.
pub(crate) struct InStore(pub(crate) Arc<dyn LogStore>);

#[async_trait]
impl Letters for InStore {
    async fn write(&self, letters: &[DeadLetter]) -> Result<(), WriteError> {
        self.0.write_dead_letters(letters).await
    }
}

/// Where a pipeline's dead letters go.
///
/// # Errors
/// When the spec asks for a topic without naming brokers.
pub(crate) fn target(config: &PipelineConfig) -> Result<Arc<dyn Letters>, StartError> {
    let object = &config.object;
    let Some(topic) = object.spec.dead_letter.as_ref().and_then(|letters| letters.kafka.as_ref()) else {
        return Ok(Arc::new(InStore(config.store.clone())));
    };
    let Some(source) = &object.spec.source.kafka else {
        let message = "a Kafka topic for dead letters needs a Kafka source, because it is on the source's brokers";
        return Err(StartError::Spec(message.to_owned()));
    };
    let name = object.metadata.name.clone().unwrap_or_default();
    Ok(Arc::new(InTopic::new(source.clone(), name, topic.topic.clone(), config.secrets.clone())))
}
