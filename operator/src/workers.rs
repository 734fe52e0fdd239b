//! What the workers say they have loaded: each is asked at its pod's address, `GET /api/v1/status`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::child::{Child, ChildKind};
use crate::context::Context;
use crate::queue::Work;
use crate::resources::{COMPONENT, Component, INSTANCE};

/// How often is looked whether a worker is due.
const TICK: Duration = Duration::from_secs(1);
/// After so many ticks, what is kept of objects that are gone is let go.
const FORGET_EVERY: u64 = 60;
/// How long a worker may take for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many workers are asked at a time.
const AT_ONCE: usize = 32;
/// How long an answer may be: that of a worker with a thousand objects is half of it.
const LONGEST: usize = 2 << 20;
/// After so many answers that did not come, what was said before counts no more.
const FORGIVEN: u32 = 3;

/// What a worker says of one object.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Reported {
    kind: String,
    namespace: String,
    name: String,
    /// The generation that it has loaded.
    #[serde(default)]
    pub(crate) generation: Option<i64>,
    /// The object's status as this worker sees it.
    #[serde(default)]
    pub(crate) status: Value,
}

#[derive(Deserialize)]
struct Answer {
    objects: Vec<Reported>,
}

/// What all workers have said, by the UIDs of their pods.
#[derive(Default)]
pub(crate) struct Reports {
    pods: Mutex<BTreeMap<String, Pod>>,
    /// Pods that somebody waits for: they are asked more often.
    awaited: Mutex<BTreeSet<String>>,
    /// Since when a generation of an object is known, by the object's UID.
    known: Mutex<HashMap<String, (Option<i64>, std::time::Instant)>>,
}

#[derive(Default)]
struct Pod {
    asked: Option<Instant>,
    failures: u32,
    objects: Option<Vec<Reported>>,
}

impl Reports {
    /// What a pod says of an object.
    pub(crate) fn of(&self, pod: &str, kind: &str, name: &str) -> Option<Reported> {
        let pods = self.pods.lock();
        let mut objects = pods.get(pod)?.objects.iter().flatten();
        objects.find(|object| object.kind == kind && object.name == name).cloned()
    }

    /// Whether a pod that runs has not had the time yet to say anything.
    ///
    /// What a worker says is not known when the operator starts. What was said of an object before holds until then.
    pub(crate) fn is_undecided(&self, pod: &Child) -> bool {
        let Some(uid) = pod.metadata.uid.as_deref().filter(|_| address(pod).is_some()) else { return false };
        let pods = self.pods.lock();
        pods.get(uid).is_none_or(|pod| pod.objects.is_none() && pod.failures < FORGIVEN)
    }

    /// Says whether somebody waits for a pod to say something else.
    pub(crate) fn await_pod(&self, pod: &str, is_awaited: bool) {
        let mut awaited = self.awaited.lock();
        if is_awaited {
            awaited.insert(pod.to_owned());
        } else {
            awaited.remove(pod);
        }
    }

    /// How much longer a worker may take to say something of a generation of an object.
    pub(crate) fn patience(
        &self,
        uid: &str,
        generation: Option<i64>,
        now: std::time::Instant,
        all: Duration,
    ) -> Duration {
        let mut known = self.known.lock();
        let entry = known.entry(uid.to_owned()).or_insert((generation, now));
        if entry.0 != generation {
            *entry = (generation, now);
        }
        (entry.1 + all).saturating_duration_since(now)
    }

    fn is_due(&self, pod: &str, interval: Duration) -> bool {
        let is_awaited = self.awaited.lock().contains(pod);
        let pods = self.pods.lock();
        let Some(known) = pods.get(pod) else { return true };
        let hurry = is_awaited || (known.objects.is_none() && known.failures < FORGIVEN);
        known.asked.is_none_or(|asked| hurry || asked.elapsed() + TICK / 2 >= interval)
    }

    /// Takes in an answer, or that there was none. Returns the names of the objects of which something new is said.
    fn take_in(&self, pod: &str, answer: Option<Vec<Reported>>) -> BTreeSet<String> {
        let mut pods = self.pods.lock();
        let known = pods.entry(pod.to_owned()).or_default();
        known.asked = Some(Instant::now());
        let answer = match answer {
            Some(objects) => {
                known.failures = 0;
                Some(objects)
            }
            None => {
                known.failures += 1;
                if known.failures < FORGIVEN {
                    return BTreeSet::new();
                }
                None
            }
        };
        let before = std::mem::replace(&mut known.objects, answer);
        let (before, after) = (before.unwrap_or_default(), known.objects.as_deref().unwrap_or_default());
        let only_in = |some: &[Reported], others: &[Reported]| -> Vec<String> {
            some.iter().filter(|object| !others.contains(object)).map(|object| object.name.clone()).collect()
        };
        only_in(after, &before).into_iter().chain(only_in(&before, after)).collect()
    }

    /// Forgets pods that are gone.
    fn retain(&self, pods: &BTreeSet<String>) {
        self.pods.lock().retain(|pod, _| pods.contains(pod));
        self.awaited.lock().retain(|pod| pods.contains(pod));
    }

    /// Forgets objects that are gone.
    pub(crate) fn retain_objects(&self, is_there: impl Fn(&str) -> bool) {
        self.known.lock().retain(|uid, _| is_there(uid));
    }
}

/// Asks all workers, again and again.
pub(crate) async fn poll(context: Arc<Context>) {
    let client = match reqwest::Client::builder().timeout(PATIENCE).no_proxy().build() {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "could not make an HTTP client: no worker will be asked what it has loaded");
            return;
        }
    };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for round in 1_u64.. {
        ticks.tick().await;
        if round.is_multiple_of(FORGET_EVERY) {
            context.forget_what_is_gone();
        }
        let pods: Vec<_> =
            context.children(ChildKind::Pod).all().into_iter().filter_map(|pod| Target::of(&pod)).collect();
        context.reports.retain(&pods.iter().map(|target| target.uid.clone()).collect());
        let due = pods.into_iter().filter(|target| context.reports.is_due(&target.uid, context.config.poll_interval));
        let asking = due.map(|target| ask(&context, &client, target));
        futures::stream::iter(asking).buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
    }
}

/// A worker that can be asked.
struct Target {
    uid: String,
    address: IpAddr,
    namespace: String,
    component: Component,
    instance: String,
}

/// Where the worker in a pod is asked, if it runs.
fn address(pod: &Child) -> Option<IpAddr> {
    let text = |key: &str| pod.status.get(key).and_then(Value::as_str);
    text("podIP").filter(|_| text("phase") == Some("Running"))?.parse().ok()
}

impl Target {
    fn of(pod: &Child) -> Option<Self> {
        // Rule workers write what they have to say themselves, and of metrics workers nothing is to be known.
        let component = match pod.label(COMPONENT)? {
            name if name == Component::Ingestion.name() => Component::Ingestion,
            name if name == Component::Dashboard.name() => Component::Dashboard,
            _ => return None,
        };
        Some(Self {
            uid: pod.metadata.uid.clone()?,
            address: address(pod)?,
            namespace: pod.metadata.namespace.clone()?,
            component,
            instance: pod.label(INSTANCE)?.to_owned(),
        })
    }

    /// Whether the worker has a say about an object: it takes input from anybody, and so is believed of its own only.
    fn may_speak_of(&self, object: &Reported) -> bool {
        object.namespace == self.namespace
            && match self.component {
                Component::Ingestion => object.kind == "LogPipeline" && object.name == self.instance,
                Component::Dashboard => object.kind == "Dashboard",
                Component::Rules | Component::Metrics => false,
            }
    }
}

async fn ask(context: &Context, client: &reqwest::Client, target: Target) {
    let address = SocketAddr::new(target.address, context.config.worker_port);
    let answer = match fetch(client, address).await {
        Ok(objects) => Some(objects.into_iter().filter(|object| target.may_speak_of(object)).collect()),
        Err(error) => {
            context.metrics.poll_failed();
            tracing::debug!(%error, %address, "a worker did not say what it has loaded");
            None
        }
    };
    for name in context.reports.take_in(&target.uid, answer) {
        let namespace = target.namespace.clone();
        let work = match target.component {
            Component::Ingestion => Work::Pipeline { namespace, name },
            _ => Work::Dashboard { namespace, name },
        };
        context.queue.add(work, Duration::ZERO);
    }
}

#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the answer is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the answer can't be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

async fn fetch(client: &reqwest::Client, address: SocketAddr) -> Result<Vec<Reported>, PollError> {
    let mut response = client.get(format!("http://{address}/api/v1/status")).send().await?.error_for_status()?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LONGEST {
            return Err(PollError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(serde_json::from_slice::<Answer>(&body)?.objects)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(name: &str, consumed: u64) -> Reported {
        serde_json::from_value(json!({
            "kind": "LogPipeline", "namespace": "n", "name": name, "generation": 1, "status": {"consumed": consumed},
        }))
        .expect("a report")
    }

    fn names(names: BTreeSet<String>) -> Vec<String> {
        names.into_iter().collect()
    }

    #[test]
    fn only_news_causes_work() {
        let reports = Reports::default();
        assert_eq!(names(reports.take_in("pod", Some(vec![report("a", 1), report("b", 1)]))), ["a", "b"]);
        assert_eq!(names(reports.take_in("pod", Some(vec![report("a", 1), report("b", 1)]))), [""; 0]);
        assert_eq!(names(reports.take_in("pod", Some(vec![report("a", 2), report("b", 1)]))), ["a"]);
        assert_eq!(names(reports.take_in("pod", Some(vec![report("a", 2)]))), ["b"]);
        assert_eq!(reports.of("pod", "LogPipeline", "a"), Some(report("a", 2)));
    }

    #[test]
    fn a_worker_that_is_silent_for_a_moment_is_still_believed() {
        let reports = Reports::default();
        reports.take_in("pod", Some(vec![report("a", 1)]));
        for _ in 1..FORGIVEN {
            assert_eq!(names(reports.take_in("pod", None)), [""; 0]);
        }
        assert!(reports.of("pod", "LogPipeline", "a").is_some());
        assert_eq!(names(reports.take_in("pod", None)), ["a"]);
        assert!(reports.of("pod", "LogPipeline", "a").is_none());
        assert_eq!(names(reports.take_in("pod", None)), [""; 0]);
    }

    #[test]
    fn a_worker_speaks_of_its_own_objects_only() {
        let target = Target {
            uid: "u".to_owned(),
            address: [127, 0, 0, 1].into(),
            namespace: "n".to_owned(),
            component: Component::Ingestion,
            instance: "a".to_owned(),
        };
        assert!(target.may_speak_of(&report("a", 1)));
        assert!(!target.may_speak_of(&report("b", 1)));
        assert!(!target.may_speak_of(&Reported { namespace: "other".to_owned(), ..report("a", 1) }));
    }
}
