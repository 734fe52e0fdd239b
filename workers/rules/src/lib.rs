//! The rule engine: schedule, alert state, notification.
