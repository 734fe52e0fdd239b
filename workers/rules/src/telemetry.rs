//! What the rule worker says of itself: `taffrail_rules_…`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use taffrail_runtime::Telemetry;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The worker's own metrics.
#[derive(Debug, Clone)]
pub(crate) struct OwnMetrics {
    pub(crate) evaluations: Counter,
    failures: Family<Labels<1>, Counter>,
    pub(crate) missed: Counter,
    pub(crate) seconds: Histogram,
    alerts: Family<Labels<1>, Gauge>,
    rules: Family<Labels<1>, Gauge>,
    sent: Family<Labels<1>, Counter>,
    failed: Family<Labels<2>, Counter>,
    pub(crate) waiting: Gauge,
    pub(crate) write_failures: Counter,
}

/// What one rule adds to the gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) pending: i64,
    pub(crate) firing: i64,
    /// Nothing while the rule has not been reported.
    pub(crate) ready: Option<bool>,
}

impl OwnMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let own = Self {
            evaluations: Counter::default(),
            failures: Family::default(),
            missed: Counter::default(),
            seconds: Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0]),
            alerts: Family::default(),
            rules: Family::default(),
            sent: Family::default(),
            failed: Family::default(),
            waiting: Gauge::default(),
            write_failures: Counter::default(),
        };
        telemetry.register("taffrail_rules", |registry| {
            registry.register("evaluations", "Evaluations", own.evaluations.clone());
            registry.register("evaluation_failures", "Evaluations that failed, by reason", own.failures.clone());
            registry.register(
                "evaluations_missed",
                "Evaluations left out because the one before took too long, or the process was asleep",
                own.missed.clone(),
            );
            registry.register("evaluation_seconds", "How long evaluations took", own.seconds.clone());
            registry.register("alerts", "Alerts, by state", own.alerts.clone());
            registry.register("rules", "Rules, by whether they are ready", own.rules.clone());
            registry.register("notifications", "Notifications delivered, by kind of receiver", own.sent.clone());
            registry.register(
                "notifications_failed",
                "Attempts to deliver that failed, by kind of receiver and reason",
                own.failed.clone(),
            );
            registry.register("notifications_waiting", "Notifications not delivered yet", own.waiting.clone());
            registry.register("write_failures", "Writes of the state that failed", own.write_failures.clone());
        });
        own
    }

    pub(crate) fn evaluation_failed(&self, reason: &'static str) {
        self.failures.get_or_create(&[("reason", reason)]).inc();
    }

    pub(crate) fn delivered(&self, receiver: &'static str) {
        self.sent.get_or_create(&[("receiver", receiver)]).inc();
    }

    pub(crate) fn not_delivered(&self, receiver: &'static str, reason: &'static str) {
        self.failed.get_or_create(&[("receiver", receiver), ("reason", reason)]).inc();
    }

    /// Replaces what a rule adds to the gauges.
    pub(crate) fn share(&self, before: &mut Share, now: Share) {
        let alerts = |state, change: i64| {
            if change != 0 {
                self.alerts.get_or_create(&[("state", state)]).inc_by(change);
            }
        };
        alerts("pending", now.pending - before.pending);
        alerts("firing", now.firing - before.firing);
        if now.ready != before.ready {
            let gauge = |ready| self.rules.get_or_create_owned(&[("ready", if ready { "true" } else { "false" })]);
            before.ready.map(|ready| gauge(ready).dec());
            now.ready.map(|ready| gauge(ready).inc());
        }
        *before = now;
    }
}
