//! What the metrics store says of itself: `taffrail_metrics_…`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use taffrail_runtime::Telemetry;

type Labels = [(&'static str, &'static str); 1];

/// The store's own metrics.
#[derive(Debug, Clone)]
pub(crate) struct OwnMetrics {
    pub(crate) samples: Counter,
    pub(crate) refused: Family<Labels, Counter>,
    pub(crate) batches_seen: Counter,
    pub(crate) series: Gauge,
    pub(crate) log_bytes: Gauge,
    pub(crate) failures: Family<Labels, Counter>,
    pub(crate) queries: Family<Labels, Counter>,
    pub(crate) query_seconds: Histogram,
}

impl OwnMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let own = Self {
            samples: Counter::default(),
            refused: Family::default(),
            batches_seen: Counter::default(),
            series: Gauge::default(),
            log_bytes: Gauge::default(),
            failures: Family::default(),
            queries: Family::default(),
            query_seconds: Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0]),
        };
        telemetry.register("taffrail_metrics", |registry| {
            registry.register("samples", "Samples stored", own.samples.clone());
            registry.register("samples_refused", "Samples refused, by reason", own.refused.clone());
            registry.register(
                "batches_seen",
                "Batches left out because they had been counted before",
                own.batches_seen.clone(),
            );
            registry.register("series", "Series in the store", own.series.clone());
            registry.register(
                "log_bytes",
                "Bytes in the write-ahead log that no checkpoint holds yet",
                own.log_bytes.clone(),
            );
            registry.register(
                "write_failures",
                "Writes to the data directory that failed, by what was written",
                own.failures.clone(),
            );
            registry.register("queries", "Queries, by outcome", own.queries.clone());
            registry.register("query_seconds", "How long queries took", own.query_seconds.clone());
        });
        own
    }

    pub(crate) fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    pub(crate) fn fail(&self, what: &'static str) {
        self.failures.get_or_create(&[("what", what)]).inc();
    }

    pub(crate) fn query(&self, outcome: &'static str, seconds: f64) {
        self.queries.get_or_create(&[("outcome", outcome)]).inc();
        self.query_seconds.observe(seconds);
    }
}
