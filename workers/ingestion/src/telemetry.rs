//! The worker's own metrics.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use taffrail_runtime::Telemetry;

use crate::lane::Ledger;
use crate::status::State;

/// The metrics of all pipelines of a process, named `taffrail_ingestion_…`, each with a label `pipeline`. They are read
/// off the pipelines when somebody asks: a partition that is no longer ours has no series.
#[derive(Clone, Default)]
pub struct IngestionMetrics {
    pipelines: Arc<Mutex<Vec<Weak<State>>>>,
}

impl fmt::Debug for IngestionMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestionMetrics").finish_non_exhaustive()
    }
}

impl IngestionMetrics {
    /// Registers the metrics. Once per process.
    #[must_use]
    pub fn new(telemetry: &Telemetry) -> Self {
        let metrics = Self::default();
        telemetry.register("taffrail_ingestion", |registry| registry.register_collector(Box::new(metrics.clone())));
        metrics
    }

    pub(crate) fn add(&self, state: &Arc<State>) {
        let mut pipelines = self.pipelines.lock();
        pipelines.retain(|pipeline| pipeline.strong_count() > 0);
        pipelines.push(Arc::downgrade(state));
    }

    /// Whether the pipelines' sources are alive.
    ///
    /// # Errors
    /// With what is wrong, where only a new process can help.
    pub fn alive(&self) -> Result<(), String> {
        let now = std::time::Instant::now();
        let alive = |state: Arc<State>| {
            state.health.pulse.check(now).map_err(|why| format!("pipeline {}: {why}", state.pipeline))
        };
        self.states().into_iter().try_for_each(alive)
    }

    fn states(&self) -> Vec<Arc<State>> {
        self.pipelines.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

fn outcomes(ledger: Ledger) -> [(&'static str, u64); 4] {
    [
        ("indexed", ledger.indexed),
        ("deduplicated", ledger.deduplicated),
        ("dead_lettered", ledger.dead_lettered),
        ("filtered", ledger.filtered),
    ]
}

/// A counter of a pipeline, and how it is read.
type PipelineCounter = (&'static str, &'static str, fn(&State) -> u64);

const COUNTERS: [PipelineCounter; 9] = [
    ("consumed", "Records taken from the source and accounted for", |state| state.books.total().consumed()),
    ("retried_records", "Records written again because the log store did not take them", |state| {
        state.counters.retried.load(Ordering::Relaxed)
    }),
    ("writes", "Writes that the log store answered", |state| state.counters.writes.load(Ordering::Relaxed)),
    ("failed_writes", "Writes that failed as a whole", |state| state.counters.failed_writes.load(Ordering::Relaxed)),
    ("written_bytes", "Bytes of logs that the log store acknowledged", |state| {
        state.counters.bytes.load(Ordering::Relaxed)
    }),
    (
        "redirected_records",
        "Records that went to the failure store of a data stream, and to the dead letters",
        |state| state.health.redirected(),
    ),
    ("underivable", "Matching logs without a value that a derived metric could take", |state| {
        state.derived.without_value.load(Ordering::Relaxed)
    }),
    ("source_restarts", "Times that the source was made anew because it had records and gave none", |state| {
        state.health.pulse.restarts()
    }),
    ("overflowed", "Deltas counted in a series of overflow, because a derived metric has its maxSeries", |state| {
        state.derived.overflowed.load(Ordering::Relaxed)
    }),
];

impl Collector for IngestionMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let states = self.states();
        if states.is_empty() {
            return Ok(());
        }
        for (name, help, read) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for state in &states {
                let labels = [("pipeline", state.pipeline.as_str())];
                family.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], u64, u64>(&read(state), None)?;
            }
        }
        let help = "Records accounted for, by what became of them";
        let mut family = encoder.encode_descriptor("records", help, None, MetricType::Counter)?;
        for state in &states {
            for (outcome, count) in outcomes(state.books.total()) {
                let labels = [("pipeline", state.pipeline.as_str()), ("outcome", outcome)];
                family.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], u64, u64>(&count, None)?;
            }
        }
        let help = "Records accounted for, by what became of them, of each part of the source that is read now";
        let mut family = encoder.encode_descriptor("partition_records", help, None, MetricType::Counter)?;
        for state in &states {
            for book in state.books.list() {
                for (outcome, count) in outcomes(book.ledger()) {
                    let labels = [
                        ("pipeline", state.pipeline.as_str()),
                        ("topic", book.topic.as_str()),
                        ("partition", &book.partition.to_string()),
                        ("outcome", outcome),
                    ];
                    family.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], u64, u64>(&count, None)?;
                }
            }
        }
        let help = "Records that Kafka's retention removed before they were read, of each partition that is read now";
        let mut family = encoder.encode_descriptor("lost_by_kafka", help, None, MetricType::Counter)?;
        for state in states.iter().filter(|state| state.is_partitioned) {
            for book in state.books.list() {
                let labels = [
                    ("pipeline", state.pipeline.as_str()),
                    ("topic", book.topic.as_str()),
                    ("partition", &book.partition.to_string()),
                ];
                let lost = book.ledger().lost;
                family.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], u64, u64>(&lost, None)?;
            }
        }
        let help = "Records in the source that are not yet accounted for";
        let mut family = encoder.encode_descriptor("lag", help, None, MetricType::Gauge)?;
        for state in &states {
            for book in state.books.list() {
                if let Some(lag) = book.lag() {
                    let labels = [
                        ("pipeline", state.pipeline.as_str()),
                        ("topic", book.topic.as_str()),
                        ("partition", &book.partition.to_string()),
                    ];
                    family.encode_family(&labels)?.encode_gauge(&i64::try_from(lag).unwrap_or(i64::MAX))?;
                }
            }
        }
        let help = "Event time up to which logs were delivered, seconds since 1970";
        let mut family = encoder.encode_descriptor("watermark_seconds", help, None, MetricType::Gauge)?;
        for state in &states {
            if let Some(millis) = state.books.watermark() {
                let labels = [("pipeline", state.pipeline.as_str())];
                #[allow(clippy::cast_precision_loss, reason = "milliseconds of any year fit")]
                family.encode_family(&labels)?.encode_gauge(&(millis as f64 / 1_000.0))?;
            }
        }
        let help = "Whether the pipeline takes and delivers logs";
        let mut family = encoder.encode_descriptor("ready", help, None, MetricType::Gauge)?;
        for state in &states {
            let labels = [("pipeline", state.pipeline.as_str())];
            family.encode_family(&labels)?.encode_gauge(&i64::from(state.health.problem().is_none()))?;
        }
        Ok(())
    }
}
