//! Conditions: what they say, and when they last changed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// `Ready`: the workers do what this generation of the object asks.
pub(crate) const READY: &str = "Ready";
/// `Progressing`: something is under way that needs nobody's help.
pub(crate) const PROGRESSING: &str = "Progressing";
/// `Degraded`: something is wrong that does not pass by itself.
pub(crate) const DEGRADED: &str = "Degraded";

/// The reasons that the operator gives, and what each means. Workers give others of their own, which it passes on.
pub const REASONS: [(&str, &str); 19] = [
    (AS_EXPECTED, "nothing is wrong"),
    ("Running", "as many workers as are wanted have loaded this version"),
    ("RollingOut", "workers of this version are starting, or those of the version before are stopping"),
    ("ScaledToZero", "no worker is wanted"),
    ("Loaded", "the worker has loaded this version"),
    ("NotLoaded", "the worker has not said anything of this version yet"),
    ("WorkerNotReady", "the worker is about to start"),
    ("SecretNotFound", "a Secret that the object names is not there"),
    ("InvalidSpec", "the object can't be read, or asks for what a cluster can't do"),
    ("InvalidName", "the object's name is too long, or no name for its workers"),
    ("InvalidTemplate", "the pod template does not fit over what is rendered"),
    ("NameTaken", "somebody else's object has the name of one that is needed"),
    ("Forbidden", "the API server does not allow it: a right, a quota or a policy is in the way"),
    ("Refused", "the API server does not take it"),
    ("Unschedulable", "a pod finds no node"),
    ("CrashLooping", "a container ends again and again"),
    ("ImagePullFailed", "an image can't be pulled"),
    ("ContainerFailed", "a container can't be made"),
    ("Unknown", "the worker gives a reason that is none"),
];

/// The reason of a condition about which there is nothing to say.
pub(crate) const AS_EXPECTED: &str = "AsExpected";
/// What the API server takes as a message.
const LONGEST_MESSAGE: usize = 4_096;

/// A reason, which is a word that never changes, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Why {
    pub(crate) fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// What is said of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether `Ready` is true; nothing where another worker says so.
    pub(crate) ready: Option<(bool, Why)>,
    pub(crate) progressing: (bool, Why),
    pub(crate) degraded: (bool, Why),
}

impl Verdict {
    /// All is well.
    pub(crate) fn ready(why: Why) -> Self {
        let progressing = (false, why.clone());
        Self { ready: Some((true, why)), progressing, degraded: (false, Why::new(AS_EXPECTED, "nothing is wrong")) }
    }

    /// It is not ready yet, but will be.
    pub(crate) fn progressing(why: Why) -> Self {
        Self {
            ready: Some((false, why.clone())),
            progressing: (true, why),
            degraded: (false, Why::new(AS_EXPECTED, "nothing is wrong")),
        }
    }

    /// It is not ready, and somebody must do something.
    pub(crate) fn degraded(why: Why) -> Self {
        Self { ready: Some((false, why.clone())), progressing: (false, why.clone()), degraded: (true, why) }
    }

    /// The conditions that say so. Those that `before` has with the same status keep their time.
    pub(crate) fn conditions(&self, before: &[Condition], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
        let ready = self.ready.iter().map(|(status, why)| (READY, *status, why));
        let others = [(PROGRESSING, &self.progressing), (DEGRADED, &self.degraded)];
        let all = ready.chain(others.into_iter().map(|(kind, (status, why))| (kind, *status, why)));
        all.map(|(kind, status, why)| {
            let status = if status { "True" } else { "False" };
            let same = before.iter().find(|condition| condition.type_ == kind && condition.status == status);
            Condition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: why.reason.clone(),
                message: shorten(&why.message),
                observed_generation: generation,
                last_transition_time: same.map_or_else(|| whole_second(now), |same| same.last_transition_time.clone()),
            }
        })
        .collect()
    }
}

/// Conditions that are worth an Event: those whose status or reason has changed for the better or the worse.
pub(crate) fn turned<'a>(before: &[Condition], after: &'a [Condition]) -> Vec<&'a Condition> {
    let was = |condition: &Condition| before.iter().find(|before| before.type_ == condition.type_);
    let is_new = |condition: &&Condition| match was(condition) {
        Some(before) => before.status != condition.status || before.reason != condition.reason,
        None => true,
    };
    let tells = |condition: &&Condition| match condition.type_.as_str() {
        READY => condition.status == "True",
        DEGRADED => condition.status == "True" || was(condition).is_some(),
        _ => false,
    };
    after.iter().filter(is_new).filter(tells).collect()
}

/// A time as the API server keeps it.
fn whole_second(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

fn shorten(message: &str) -> String {
    if message.len() <= LONGEST_MESSAGE {
        return message.to_owned();
    }
    let end = (0..=LONGEST_MESSAGE - 4).rev().find(|at| message.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 123_456_789).expect("a time")
    }

    fn times(conditions: &[Condition]) -> Vec<i64> {
        conditions.iter().map(|condition| condition.last_transition_time.0.as_second()).collect()
    }

    #[test]
    fn the_time_of_a_condition_moves_only_when_its_status_flips() {
        let waiting = Verdict::progressing(Why::new("RollingOut", "0 of 1 workers run"));
        let first = waiting.conditions(&[], Some(1), at(100));
        assert_eq!(times(&first), [100, 100, 100]);
        assert_eq!(first[0].last_transition_time.0.subsec_nanosecond(), 0);

        let other = Verdict::progressing(Why::new("RollingOut", "1 of 2 workers run"));
        let second = other.conditions(&first, Some(2), at(200));
        assert_eq!(times(&second), [100, 100, 100]);
        assert_eq!((second[0].message.as_str(), second[0].observed_generation), ("1 of 2 workers run", Some(2)));

        let third = Verdict::ready(Why::new("Running", "all is well")).conditions(&second, Some(2), at(300));
        assert_eq!(times(&third), [300, 300, 100]);
        let fourth = Verdict::degraded(Why::new("SecretNotFound", "no secret")).conditions(&third, Some(2), at(400));
        assert_eq!(times(&fourth), [400, 300, 400]);
    }

    #[test]
    fn events_tell_of_turns_and_of_nothing_else() {
        let told = |before: &[Condition], after: &[Condition]| -> Vec<String> {
            turned(before, after).iter().map(|c| format!("{} {} {}", c.type_, c.status, c.reason)).collect()
        };
        let conditions = |verdict: Verdict| verdict.conditions(&[], Some(1), at(1));
        let waiting = conditions(Verdict::progressing(Why::new("RollingOut", "")));
        let ready = conditions(Verdict::ready(Why::new("Running", "")));
        let broken = conditions(Verdict::degraded(Why::new("SecretNotFound", "")));
        let worse = conditions(Verdict::degraded(Why::new("SinkAuthFailed", "")));
        assert_eq!(told(&[], &waiting), [""; 0]);
        assert_eq!(told(&waiting, &ready), ["Ready True Running"]);
        assert_eq!(told(&ready, &ready), [""; 0]);
        assert_eq!(told(&ready, &broken), ["Degraded True SecretNotFound"]);
        assert_eq!(told(&broken, &worse), ["Degraded True SinkAuthFailed"]);
        assert_eq!(told(&worse, &ready), ["Ready True Running", "Degraded False AsExpected"]);
    }

    #[test]
    fn a_message_is_no_longer_than_is_taken() {
        let verdict = Verdict::degraded(Why::new("X", "ü".repeat(5_000)));
        let message = &verdict.conditions(&[], None, at(1))[0].message;
        assert!(message.len() <= LONGEST_MESSAGE && message.ends_with('…'), "{}", message.len());
    }

    /// Every reason that is written out in the sources, so that the list, and the documentation, have it.
    #[test]
    fn the_list_of_reasons_is_complete() {
        let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut found = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("sources").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                // What tests make up is of no interest.
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                for part in text.split("Why::new(").skip(1) {
                    let Some(reason) = part.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
                    else {
                        continue;
                    };
                    assert!(REASONS.iter().any(|(known, _)| *known == reason), "{reason} in {}", path.display());
                    found += 1;
                }
            }
        }
        assert!(found > 10, "{found}");
    }
}
