//! AlertRules: their worker watches them itself, and says how they are. What is left to say is whether it is there.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::DeserializeGuard;
use serde_json::json;
use taffrail_crds::AlertRule;

use super::{Subject, find, secret_not_found, trouble, write_status};
use crate::child::ChildKind;
use crate::context::Context;
use crate::error::Error;
use crate::resources::{Component, SHARED};
use crate::secrets;
use crate::status::{AS_EXPECTED, Verdict, Why};

/// How long the worker may take to say something of a new version before the operator says that it has not.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of a rule's worker.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    /// Whether the worker runs.
    is_there: bool,
    /// What the API server refuses of it, or of the metrics worker.
    refused: Option<Why>,
    /// What keeps it from running.
    trouble: Option<Why>,
    /// Whether it has said something of this version of the rule.
    has_spoken: bool,
    /// Secrets that the rule's receivers need and that are not there.
    missing: Vec<String>,
}

pub(super) async fn reconcile(context: &Context, namespace: &str, name: &str) -> Result<Option<Duration>, Error> {
    let Some((object, subject)) = find::<AlertRule>(context, namespace, name).await? else { return Ok(None) };
    let DeserializeGuard(Ok(rule)) = object.as_ref() else { return Ok(None) };
    let facts = dereference(context, rule, &subject);
    if facts.is_there && !facts.has_spoken {
        let left = context.reports.patience(&subject.uid, subject.generation, Instant::now(), PATIENCE);
        if !left.is_zero() {
            return Ok(Some(left));
        }
    }
    let verdict = judge(&facts);
    let before = rule.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let after = verdict.conditions(&before, subject.generation, Timestamp::now());
    if after.iter().all(|condition| is_said(&before, condition)) {
        return Ok(None);
    }
    let status = json!({"conditions": after});
    write_status::<AlertRule>(context, &subject, &status, &before, &after).await?;
    Ok(None)
}

fn is_said(before: &[Condition], condition: &Condition) -> bool {
    before.contains(condition)
}

fn dereference(context: &Context, rule: &AlertRule, subject: &Subject) -> Facts {
    let names = secrets::of_rule(&rule.spec, &context.config.receivers);
    let namespace = subject.namespace.as_str();
    let deployment = context.children(ChildKind::Deployment).get(namespace, &Component::Rules.shared_name());
    let pods = context.pods(namespace, Component::Rules, SHARED);
    let observed = rule.status.as_ref().and_then(|status| status.observed_generation);
    Facts {
        is_there: deployment.is_some_and(|deployment| deployment.count("availableReplicas") > 0),
        refused: context.trouble(namespace, Component::Rules),
        trouble: pods.iter().find_map(|pod| trouble(pod)),
        has_spoken: observed.is_some() && observed == subject.generation,
        missing: context.secrets.missing(namespace, &names),
    }
}

/// What the operator has to say of a rule. Of whether it is ready it speaks only while its worker does not.
fn judge(facts: &Facts) -> Verdict {
    let trouble = facts.trouble.clone().filter(|_| !facts.is_there);
    let wrong = secret_not_found(&facts.missing).or_else(|| facts.refused.clone()).or(trouble);
    let degraded = match &wrong {
        Some(why) => (true, why.clone()),
        None => (false, Why::new(AS_EXPECTED, "nothing is wrong with its worker and its secrets")),
    };
    let obstacle = facts.refused.as_ref().or(facts.trouble.as_ref());
    let progressing = match (facts.is_there, facts.has_spoken, obstacle) {
        (true, true, _) => (false, Why::new("Loaded", "the rules worker has loaded this version")),
        (true, false, _) => (true, Why::new("NotLoaded", "the rules worker has not said anything of this version yet")),
        (false, _, Some(why)) => (false, why.clone()),
        (false, _, None) => (true, Why::new("WorkerNotReady", "the rules worker is about to start")),
    };
    let ready = (!facts.has_spoken).then(|| (false, progressing.1.clone()));
    Verdict { ready, progressing, degraded }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::loaded(true, true, None, &[], "-", "False Loaded", "False AsExpected")]
    #[case::not_loaded(true, false, None, &[], "False NotLoaded", "True NotLoaded", "False AsExpected")]
    #[case::worker_starts(false, false, None, &[], "False WorkerNotReady", "True WorkerNotReady", "False AsExpected")]
    #[case::worker_can_not_start(false, false, Some("ImagePullFailed"), &[], "False ImagePullFailed", "False ImagePullFailed", "True ImagePullFailed")]
    #[case::worker_starts_anew(false, true, None, &[], "-", "True WorkerNotReady", "False AsExpected")]
    #[case::secret_missing(true, true, None, &["slack"], "-", "False Loaded", "True SecretNotFound")]
    fn what_is_said_follows_from_the_worker(
        #[case] is_there: bool,
        #[case] has_spoken: bool,
        #[case] trouble: Option<&str>,
        #[case] missing: &[&str],
        #[case] ready: &str,
        #[case] progressing: &str,
        #[case] degraded: &str,
    ) {
        let trouble = trouble.map(|reason| Why::new(reason, "because"));
        let missing = missing.iter().map(|name| (*name).to_owned()).collect();
        let verdict = judge(&Facts { is_there, refused: None, trouble, has_spoken, missing });
        let say = |(status, why): &(bool, Why)| format!("{} {}", if *status { "True" } else { "False" }, why.reason);
        let first = verdict.ready.as_ref().map_or_else(|| "-".to_owned(), say);
        let said = [first, say(&verdict.progressing), say(&verdict.degraded)];
        assert_eq!(said, [ready, progressing, degraded].map(str::to_owned));
    }
}
