//! What a worker says of itself: its log, and its own metrics.

use std::io::IsTerminal;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

/// The registry of a process's own metrics. Cheap to clone.
#[derive(Clone, Default)]
pub struct Telemetry {
    registry: Arc<Mutex<Registry>>,
}

impl Telemetry {
    /// Registers metrics under a prefix such as `taffrail_ingestion`.
    pub fn register<T>(&self, prefix: &str, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(self.registry.lock().sub_registry_with_prefix(prefix))
    }

    /// All metrics as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = encode(&mut text, &self.registry.lock());
        text
    }
}

/// Starts logging to standard error: JSON lines, or lines for people where a terminal shows them. `LOG_LEVEL` is a
/// level (`debug`, `info`, `warn`, `error`) or a filter such as `info,taffrail_ingestion=debug`; default `default`.
pub fn start_logging(default: &str) {
    let wanted = std::env::var("LOG_LEVEL").unwrap_or_default();
    let wanted = if wanted.trim().is_empty() { default.to_owned() } else { wanted.to_lowercase() };
    // Libraries are as talkative as they like at `debug`; what they have to say is rarely about the user's logs.
    let directives = if wanted.contains(['=', ',']) {
        wanted
    } else {
        format!("{wanted},tantivy=warn,hyper=info,rustls=info,h2=info,reqwest=info,rdkafka=info,librdkafka=warn")
    };
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Ignored where a test has started logging already.
    let _ = if std::io::stderr().is_terminal() {
        builder.compact().with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
}
