//! What the operator says of itself: `taffrail_operator_…`.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The operator's own metrics.
#[derive(Debug, Clone)]
pub struct OperatorMetrics {
    reconciles: Family<Labels<1>, Counter>,
    failures: Family<Labels<2>, Counter>,
    seconds: Family<Labels<1>, Histogram, fn() -> Histogram>,
    writes: Family<Labels<1>, Counter>,
    watch_failures: Counter,
    poll_failures: Counter,
    reviews: Family<Labels<1>, Counter>,
    leader: Gauge,
    queued: Gauge,
}

impl OperatorMetrics {
    /// Registers the metrics, in a registry whose prefix is `taffrail_operator`.
    pub fn new(registry: &mut Registry) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0]);
        let own = Self {
            reconciles: Family::default(),
            failures: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            writes: Family::default(),
            watch_failures: Counter::default(),
            poll_failures: Counter::default(),
            reviews: Family::default(),
            leader: Gauge::default(),
            queued: Gauge::default(),
        };
        registry.register("reconciles", "Looks at an object, by controller", own.reconciles.clone());
        registry.register("reconcile_failures", "Looks that failed, by controller and reason", own.failures.clone());
        registry.register("reconcile_seconds", "How long looks took, by controller", own.seconds.clone());
        registry.register("writes", "Writes to the API server but for the Lease, by verb", own.writes.clone());
        registry.register("watch_failures", "Watches that broke off and were begun again", own.watch_failures.clone());
        registry.register("poll_failures", "Workers that did not say what they have loaded", own.poll_failures.clone());
        registry.register("reviews", "Objects that the webhook was asked about, by answer", own.reviews.clone());
        registry.register("leader", "1 while this replica leads", own.leader.clone());
        registry.register("queued", "Objects that wait to be looked at", own.queued.clone());
        own
    }

    pub(crate) fn reconciled(&self, controller: &'static str, took: Duration, failure: Option<&'static str>) {
        let labels = [("controller", controller)];
        self.reconciles.get_or_create(&labels).inc();
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
        if let Some(reason) = failure {
            self.failures.get_or_create(&[("controller", controller), ("reason", reason)]).inc();
        }
    }

    pub(crate) fn wrote(&self, verb: &'static str) {
        self.writes.get_or_create(&[("verb", verb)]).inc();
    }

    pub(crate) fn watch_failed(&self) {
        self.watch_failures.inc();
    }

    pub(crate) fn poll_failed(&self) {
        self.poll_failures.inc();
    }

    pub(crate) fn reviewed(&self, answer: &'static str) {
        self.reviews.get_or_create(&[("answer", answer)]).inc();
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    pub(crate) fn queued(&self, queued: usize) {
        self.queued.set(i64::try_from(queued).unwrap_or(i64::MAX));
    }
}
