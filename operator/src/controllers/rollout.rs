//! What to say of an object whose workers are pods: how many have loaded it, and what keeps the others.

use crate::resources::Component;
use crate::status::{Verdict, Why};

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Replica {
    /// Whether it was started with what the object asks for now.
    pub(crate) is_current: bool,
    /// What keeps its pod from running.
    pub(crate) trouble: Option<Why>,
    /// Whether it does what this generation of the object asks, in its own words; nothing until it has loaded it.
    pub(crate) says: Option<(bool, Why)>,
    /// What it warns of while it does its work.
    pub(crate) warns: Option<Why>,
}

/// What to say when so many workers are wanted.
pub(crate) fn judge(component: Component, wanted: usize, replicas: &[Replica]) -> Verdict {
    if wanted == 0 {
        return Verdict::ready(Why::new("ScaledToZero", "no worker is wanted, and so none runs"));
    }
    let current: Vec<_> = replicas.iter().filter(|replica| replica.is_current).collect();
    let well = current.iter().filter(|replica| matches!(replica.says, Some((true, _)))).count();
    let counted = format!("{well} of {wanted} {} workers have loaded this version", component.name());
    let broken = current.iter().find_map(|replica| match &replica.says {
        Some((well, why)) => (!well).then_some(why),
        None => replica.trouble.as_ref(),
    });
    if let Some(why) = broken {
        return Verdict::degraded(Why::new(why.reason.clone(), format!("{}; {counted}", why.message)));
    }
    if well >= wanted {
        let is_rolling = current.len() < replicas.len();
        let mut verdict = Verdict::ready(Why::new("Running", counted));
        if let Some(why) = current.iter().find_map(|replica| replica.warns.clone()) {
            verdict.degraded = (true, why);
        }
        if is_rolling {
            verdict.progressing = (true, Why::new("RollingOut", "workers of the version before are stopping"));
        }
        return verdict;
    }
    Verdict::progressing(Why::new("RollingOut", counted))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn replica(is_current: bool, says: Option<bool>, trouble: Option<&str>) -> Replica {
        let why = |reason: &str| Why::new(reason, "because");
        Replica {
            is_current,
            trouble: trouble.map(why),
            says: says.map(|well| (well, why(if well { "Running" } else { "SinkAuthFailed" }))),
            warns: None,
        }
    }

    fn warning() -> Replica {
        Replica { warns: Some(Why::new("MappingConflict", "because")), ..replica(true, Some(true), None) }
    }

    #[rstest]
    #[case::none_wanted(0, &[], "True ScaledToZero", "False ScaledToZero", "False AsExpected")]
    #[case::none_there_yet(1, &[], "False RollingOut", "True RollingOut", "False AsExpected")]
    #[case::one_of_two(2, &[replica(true, Some(true), None), replica(true, None, None)], "False RollingOut", "True RollingOut", "False AsExpected")]
    #[case::all(2, &[replica(true, Some(true), None), replica(true, Some(true), None)], "True Running", "False Running", "False AsExpected")]
    #[case::one_that_warns(2, &[replica(true, Some(true), None), warning()], "True Running", "False Running", "True MappingConflict")]
    #[case::an_old_one_still_there(1, &[replica(true, Some(true), None), replica(false, Some(true), None)], "True Running", "True RollingOut", "False AsExpected")]
    #[case::only_an_old_one(1, &[replica(false, Some(true), None)], "False RollingOut", "True RollingOut", "False AsExpected")]
    #[case::the_worst_counts(2, &[replica(true, Some(true), None), replica(true, Some(false), None)], "False SinkAuthFailed", "False SinkAuthFailed", "True SinkAuthFailed")]
    #[case::a_pod_that_fails(1, &[replica(true, None, Some("ImagePullFailed"))], "False ImagePullFailed", "False ImagePullFailed", "True ImagePullFailed")]
    #[case::an_old_pod_that_fails(1, &[replica(true, Some(true), None), replica(false, None, Some("CrashLooping"))], "True Running", "True RollingOut", "False AsExpected")]
    fn a_verdict_follows_from_the_workers(
        #[case] wanted: usize,
        #[case] replicas: &[Replica],
        #[case] ready: &str,
        #[case] progressing: &str,
        #[case] degraded: &str,
    ) {
        let verdict = judge(Component::Ingestion, wanted, replicas);
        let say = |(status, why): &(bool, Why)| format!("{} {}", if *status { "True" } else { "False" }, why.reason);
        let said =
            [verdict.ready.as_ref().map(say).unwrap_or_default(), say(&verdict.progressing), say(&verdict.degraded)];
        assert_eq!(said, [ready, progressing, degraded].map(str::to_owned));
    }
}
