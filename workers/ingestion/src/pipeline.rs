//! A pipeline, running.

use crate::config::{PipelineConfig, StartError};

/// Starts pipelines.
pub struct Pipeline;

impl Pipeline {
    /// Starts a pipeline. It runs until its handle is stopped.
    ///
    /// # Errors
    /// When something is wrong that waiting does not mend. Sources, sinks and secrets that are not there yet are
    /// waited for, and status says so.
    pub async fn start(config: PipelineConfig) -> Result<PipelineHandle, StartError> {
        if let Some(transform) = &config.object.spec.transform {
            crate::check_transform(transform).map_err(StartError::Transform)?;
        }
        Ok(PipelineHandle {})
    }
}

/// A pipeline that runs.
pub struct PipelineHandle {}

impl PipelineHandle {
    /// Stops taking records, sends what is pending, waits for acknowledgements at most as long as
    /// [`PipelineConfig::drain`] says, notes how far it came, and closes. What was not acknowledged is read again at
    /// the next start.
    pub async fn stop(self) {}
}
