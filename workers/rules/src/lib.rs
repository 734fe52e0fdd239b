//! The rule engine: schedule, alert state, notification.
//!
//! [`RuleWorker`] follows the `AlertRule`s on the board, evaluates them, tells receivers of alerts and reports status
//! back. What decides is pure: `compile` checks a rule, `machine` makes alerts of values, `desk` says what receivers are to
//! be told, `rule` puts the three together and says what an edit does, `schedule` says when, and `outbox` what is tried
//! next. `keeper` is the one task that owns all of it; evaluations and deliveries run beside it. Whatever changes is in the
//! `journal` before anybody hears of it.

#![forbid(unsafe_code)]

mod clock;
mod compile;
mod desk;
mod journal;
mod keeper;
mod machine;
mod notice;
mod outbox;
mod pairs;
mod receivers;
mod rule;
mod schedule;
mod status;
mod telemetry;
mod template;
#[cfg(test)]
mod testing;
mod worker;

pub use clock::{Clock, SystemClock, TestClock};
pub use compile::{Fault, check};
pub use journal::JournalError;
pub use worker::{RuleWorker, RuleWorkerConfig, StartError};
