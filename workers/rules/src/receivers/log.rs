//! The worker's own log: a line for each alert.

use crate::notice::{Notification, Status};

pub(super) fn deliver(notification: &Notification) {
    let facts = &notification.facts;
    for notice in &notification.notices {
        let json = |labels| serde_json::to_string(labels).unwrap_or_default();
        let (labels, annotations) = (json(&notice.labels), json(&notice.annotations));
        // Two macros, because the level of an event can't be chosen while it runs.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    status = notice.status.word(),
                    rule = facts.title,
                    namespace = facts.namespace,
                    value = notice.value,
                    threshold = facts.threshold,
                    operator = facts.operator.symbol(),
                    query = facts.query,
                    labels,
                    annotations,
                    starts_at = %notice.starts_at,
                    ends_at = notice.ends_at.map(tracing::field::display),
                    reason = notice.reason.map(tracing::field::debug),
                    fingerprint = notice.fingerprint,
                    "alert {} is {}",
                    facts.title,
                    notice.status.word(),
                )
            };
        }
        match notice.status {
            Status::Firing => line!(warn),
            Status::Resolved => line!(info),
        }
    }
}
