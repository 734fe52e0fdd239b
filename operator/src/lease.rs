//! Leadership of one among the operator's replicas, by a Lease.
//!
//! A replica leads while it renews the Lease. Whether another's Lease has run out is judged by this machine's own
//! clock: from when its last renewal was seen, for as long as the Lease holds. Clocks of two machines are never
//! compared. A leader that can't renew stops before anybody else may begin.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio_util::sync::CancellationToken;

use crate::FIELD_MANAGER;
use crate::config::{Config, LeaseTimes};

/// The Lease's name.
pub const LEASE: &str = "taffrail-operator";

/// What was seen of the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Who holds it; nobody when it was given back.
    pub(crate) holder: Option<String>,
    /// For how long it holds from each renewal on.
    pub(crate) duration: Duration,
    /// When its last renewal was first seen, by this machine's clock.
    pub(crate) since: Instant,
}

/// What to do about the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nobody has it: take it.
    Take,
    /// It is ours: renew it.
    Renew,
    /// Somebody has it: look again after a while.
    Wait(Duration),
}

/// What to do about the Lease as it was seen; nothing was seen where there is none.
pub(crate) fn decide(seen: Option<&Seen>, now: Instant, me: &str) -> Step {
    let Some(seen) = seen else { return Step::Take };
    match seen.holder.as_deref() {
        None | Some("") => Step::Take,
        Some(holder) if holder == me => Step::Renew,
        Some(_) => match (seen.since + seen.duration).checked_duration_since(now) {
            Some(left) if !left.is_zero() => Step::Wait(left),
            _ => Step::Take,
        },
    }
}

/// The Lease, from one replica's point of view.
pub(crate) struct Candidate {
    api: Api<Lease>,
    me: String,
    times: LeaseTimes,
    /// The Lease as it was seen last, with its version.
    last: Option<(Lease, Seen)>,
}

impl Candidate {
    pub(crate) fn new(client: Client, config: &Config) -> Self {
        let api = Api::namespaced(client, &config.own_namespace);
        Self { api, me: config.identity.clone(), times: config.lease, last: None }
    }

    /// Waits until the Lease is ours. `reached` is told after each round whether the API server answered.
    ///
    /// Returns when the Lease was asked for, from which on it holds; nothing when it was told to stop.
    pub(crate) async fn campaign(&mut self, stop: &CancellationToken, reached: impl Fn(bool)) -> Option<Instant> {
        while !stop.is_cancelled() {
            let asked = Instant::now();
            let pause = match tokio::time::timeout(self.times.deadline, self.round()).await {
                Ok(Ok(Step::Take | Step::Renew)) => return Some(asked),
                Ok(Ok(Step::Wait(left))) => {
                    reached(true);
                    left.min(self.times.retry)
                }
                Ok(Err(error)) => {
                    reached(false);
                    tracing::warn!(%error, "could not look at the lease {LEASE}");
                    self.times.retry
                }
                Err(_) => {
                    reached(false);
                    tracing::warn!("could not look at the lease {LEASE}: the API server did not answer in time");
                    self.times.retry
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        None
    }

    /// Renews the Lease for as long as that goes well, or until it is told to stop.
    pub(crate) async fn hold(&mut self, since: Instant, stop: &CancellationToken) {
        let mut renewed = since;
        loop {
            let deadline = renewed + self.times.deadline;
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.times.retry.min(left)) => {}
            }
            let asked = Instant::now();
            let round = tokio::time::timeout(deadline.saturating_duration_since(asked), self.round());
            match round.await {
                Ok(Ok(Step::Renew)) => renewed = asked,
                // Somebody took it, or gave it back in our name: it was out of our hands for a moment.
                Ok(Ok(Step::Take | Step::Wait(_))) => {
                    tracing::warn!("somebody else has taken the lease {LEASE}");
                    return;
                }
                Ok(Err(error)) => tracing::warn!(%error, "could not renew the lease {LEASE}"),
                Err(_) => {}
            }
            if Instant::now() >= deadline && renewed != asked {
                tracing::warn!("the lease {LEASE} could not be renewed in time");
                return;
            }
        }
    }

    /// Gives the Lease back, so that another replica need not wait.
    pub(crate) async fn release(&mut self) {
        let Some((lease, seen)) = self.last.take() else { return };
        if seen.holder.as_deref() != Some(self.me.as_str()) {
            return;
        }
        let mut lease = lease;
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let params = write_params();
        let write = self.api.replace(LEASE, &params, &lease);
        if !matches!(tokio::time::timeout(self.times.retry, write).await, Ok(Ok(_))) {
            tracing::info!("the lease {LEASE} could not be given back; it runs out by itself");
        }
    }

    /// Looks at the Lease, and takes or renews it where that is the thing to do.
    async fn round(&mut self) -> Result<Step, kube::Error> {
        let found = self.api.get_opt(LEASE).await?;
        self.saw(found);
        let step = decide(self.last.as_ref().map(|(_, seen)| seen), Instant::now(), &self.me);
        if let Step::Wait(_) = step {
            return Ok(step);
        }
        let mine = self.mine(step == Step::Take);
        let params = write_params();
        // Both fail where somebody else has been quicker.
        let written = match &self.last {
            None => self.api.create(&params, &mine).await,
            Some(_) => self.api.replace(LEASE, &params, &mine).await,
        };
        match written {
            Ok(lease) => {
                self.saw(Some(lease));
                Ok(step)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Step::Wait(self.times.retry)),
            Err(error) => Err(error),
        }
    }

    fn saw(&mut self, found: Option<Lease>) {
        let Some(lease) = found else {
            self.last = None;
            return;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        let since = match &self.last {
            Some((before, seen)) if version(before) == version(&lease) => seen.since,
            _ => Instant::now(),
        };
        let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        let seen = Seen { holder: spec.holder_identity, duration: Duration::from_secs(seconds), since };
        self.last = Some((lease, seen));
    }

    /// The Lease as we would have it.
    fn mine(&self, is_new: bool) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = self.last.as_ref().map(|(lease, _)| lease);
        let spec = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let metadata = before.map_or_else(
            || ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() },
            |lease| ObjectMeta { managed_fields: None, ..lease.metadata.clone() },
        );
        let seconds = i32::try_from(self.times.duration.as_secs()).unwrap_or(i32::MAX).max(1);
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.me.clone()),
                lease_duration_seconds: Some(seconds),
                acquire_time: if is_new { Some(now.clone()) } else { spec.acquire_time },
                renew_time: Some(now),
                lease_transitions: Some(spec.lease_transitions.unwrap_or_default() + i32::from(is_new)),
                ..spec
            }),
        }
    }
}

fn write_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    #[rstest]
    #[case::there_is_none(None, 0, Step::Take)]
    #[case::it_was_given_back(Some(None), 0, Step::Take)]
    #[case::given_back_as_older_libraries_do(Some(Some("")), 0, Step::Take)]
    #[case::it_is_ours(Some(Some("me")), 3, Step::Renew)]
    #[case::ours_and_nobody_took_it(Some(Some("me")), 100, Step::Renew)]
    #[case::another_renewed_it(Some(Some("other")), 5, Step::Wait(Duration::from_secs(10)))]
    #[case::another_let_it_run_out(Some(Some("other")), 15, Step::Take)]
    #[case::long_ago(Some(Some("other")), 1_000, Step::Take)]
    fn a_step_follows_from_what_was_seen(
        #[case] holder: Option<Option<&str>>,
        #[case] seconds_ago: u64,
        #[case] expected: Step,
    ) {
        let since = Instant::now();
        let seen = holder.map(|holder| Seen { holder: holder.map(str::to_owned), duration: DURATION, since });
        assert_eq!(decide(seen.as_ref(), since + Duration::from_secs(seconds_ago), "me"), expected);
    }
}
