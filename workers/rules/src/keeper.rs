//! The keeper: the one task that owns all rules. It follows the board, starts what is due, and takes in what comes of it.
//!
//! One round: take changes of objects, start evaluations that are due, write down what has changed, start deliveries,
//! report. Nobody is told of anything that is not written down: a process that ends at any time goes on where it was.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::Client;
use taffrail_crds::{AlertRule, Kind, Object, ObjectKey, Receiver};
use taffrail_query::{EngineError, InstantSeries, MetricsEngine};
use taffrail_runtime::{Board, Change, Subscription};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Millis, timestamp};
use crate::compile::{Compiled, Fault, compile};
use crate::journal::Journal;
use crate::machine::Reason;
use crate::notice::Notification;
use crate::outbox::{Letter, MOST_WAITING, Number, Outbox};
use crate::receivers::alertmanager::REMIND_EVERY;
use crate::receivers::{self, Outcome};
use crate::rule::{Dispatch, RuleState};
use crate::schedule::{self, Queue};
use crate::status::{Facets, Readiness};
use crate::telemetry::{OwnMetrics, Share};
use crate::worker::{FLUSH, RuleWorkerConfig};

/// Evaluations that run at the same time.
const EVALUATIONS: usize = 16;

/// How long rules of the last run that are not on the board are waited for before they count as deleted.
const GRACE: Millis = 5_000;

/// A clock that shows less than before by more than this was set back.
const SET_BACK: Millis = 1_000;

/// What the keeper keeps of one rule.
struct Rule {
    object: Arc<AlertRule>,
    /// The version that runs.
    compiled: Option<Arc<Compiled>>,
    /// Why the newest version does not.
    fault: Option<Fault>,
    state: RuleState,
    /// Counts versions, so that what an old one asked is not taken for an answer to the new one.
    version: u64,
    running: Option<AbortHandle>,
    evaluated: Option<Millis>,
    error: Option<String>,
    /// What is wrong with telling receivers, by receiver.
    delivery: BTreeMap<String, String>,
    /// When those who forget were reminded last.
    reminded: Millis,
    readiness: Readiness,
    share: Share,
}

/// An evaluation that runs.
#[derive(Clone)]
struct Run {
    key: ObjectKey,
    version: u64,
    at: Millis,
}

enum Failure {
    Engine(EngineError),
    Timeout(Duration),
    Broken(String),
}

type Found = Result<Vec<InstantSeries>, Failure>;

pub(crate) struct Keeper {
    board: Board,
    changes: Subscription,
    engine: Arc<dyn MetricsEngine>,
    clock: Arc<dyn Clock>,
    default_receivers: Vec<Receiver>,
    own: OwnMetrics,
    client: Client,
    journal: Arc<Mutex<Journal>>,
    rules: BTreeMap<ObjectKey, Rule>,
    /// What rules of the last run left, until they are seen again.
    leftovers: BTreeMap<ObjectKey, RuleState>,
    sweep_at: Option<Millis>,
    /// When rules are evaluated next.
    due: Queue,
    /// When rules have something to tell next.
    telling: Queue,
    /// Evaluations that wait for room.
    ready: VecDeque<(Millis, ObjectKey)>,
    running: JoinSet<(Found, Duration)>,
    runs: HashMap<Id, Run>,
    outbox: Outbox,
    deliveries: JoinSet<Outcome>,
    on_the_way: HashMap<Id, (Number, Letter)>,
    /// What is to be written down.
    unwritten: BTreeMap<String, Option<String>>,
    /// Rules whose status is to be reported.
    unreported: BTreeSet<ObjectKey>,
    probes: Vec<oneshot::Sender<()>>,
    latest: Millis,
}

impl Keeper {
    pub(crate) fn new(config: RuleWorkerConfig<'_>, journal: Journal, own: OwnMetrics, client: Client) -> Self {
        let now = config.clock.now().as_millisecond();
        let mut leftovers = BTreeMap::new();
        let mut outbox = Outbox::default();
        for (key, value) in journal.values() {
            let taken = match read_key(key) {
                Some(Written::Rule(key)) => serde_json::from_str(value).map(|state| drop(leftovers.insert(key, state))),
                Some(Written::Letter(number)) => {
                    serde_json::from_str(value).map(|letter| outbox.restore(number, letter))
                }
                None => Ok(()),
            };
            if let Err(error) = taken {
                tracing::error!("the state of rules holds `{key}`, which can't be read: {error}");
            }
        }
        Self {
            changes: config.board.subscribe(&[Kind::AlertRule, Kind::Secret]),
            board: config.board,
            engine: config.engine,
            clock: config.clock,
            default_receivers: config.default_receivers,
            own,
            client,
            journal: Arc::new(Mutex::new(journal)),
            rules: BTreeMap::new(),
            sweep_at: (!leftovers.is_empty()).then(|| now.saturating_add(GRACE)),
            leftovers,
            due: Queue::default(),
            telling: Queue::default(),
            ready: VecDeque::new(),
            running: JoinSet::new(),
            runs: HashMap::new(),
            outbox,
            deliveries: JoinSet::new(),
            on_the_way: HashMap::new(),
            unwritten: BTreeMap::new(),
            unreported: BTreeSet::new(),
            probes: Vec::new(),
            latest: now,
        }
    }

    fn now(&self) -> Millis {
        self.clock.now().as_millisecond()
    }

    pub(crate) async fn run(mut self, stop: CancellationToken, mut probes: mpsc::Receiver<oneshot::Sender<()>>) {
        while !stop.is_cancelled() {
            while let Some(change) = self.changes.try_next() {
                self.follow(change);
            }
            let now = self.now();
            self.wake(now);
            self.start_evaluations();
            self.write().await;
            self.start_deliveries();
            self.report(now);
            if self.is_settled() {
                for probe in self.probes.drain(..) {
                    // Whoever asked may be gone.
                    let _ = probe.send(());
                }
            }
            let clock = Arc::clone(&self.clock);
            let next = self.next().map(timestamp);
            let sleep = async {
                match next {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                change = self.changes.next() => self.follow(change),
                Some(done) = self.running.join_next_with_id(), if !self.running.is_empty() => self.evaluated(done),
                Some(done) = self.deliveries.join_next_with_id(), if !self.deliveries.is_empty() => self.delivered(done),
                Some(probe) = probes.recv() => self.probes.push(probe),
                () = sleep => {}
            }
            // What is done by now is written down at once.
            while let Some(done) = self.running.try_join_next_with_id() {
                self.evaluated(done);
            }
            while let Some(done) = self.deliveries.try_join_next_with_id() {
                self.delivered(done);
            }
        }
        self.flush().await;
    }

    /// Delivers what can be delivered right now.
    async fn flush(&mut self) {
        self.running.abort_all();
        self.write().await;
        let end = tokio::time::Instant::now() + FLUSH;
        loop {
            self.start_deliveries();
            let next = tokio::time::timeout_at(end, self.deliveries.join_next_with_id()).await;
            let Ok(Some(done)) = next else { break };
            self.delivered(done);
            self.write().await;
        }
    }

    /// Whether nothing can be done before time passes or something changes.
    fn is_settled(&self) -> bool {
        let idle = self.running.is_empty() && self.ready.is_empty() && self.deliveries.is_empty();
        idle && self.next().is_none_or(|at| at > self.now())
    }

    fn next(&self) -> Option<Millis> {
        let times = [self.due.next(), self.telling.next(), self.outbox.next(), self.sweep_at];
        times.into_iter().flatten().min()
    }

    fn wake(&mut self, now: Millis) {
        if now < self.latest.saturating_sub(SET_BACK) {
            tracing::warn!("the clock was set back; rules are evaluated by the new time");
            for (key, rule) in &self.rules {
                let interval = rule.compiled.as_ref().filter(|rule| !rule.suspended).map(|rule| rule.facts.interval);
                if rule.running.is_none() {
                    self.due.set(key, interval.map(|interval| schedule::next(key, interval, now)));
                }
            }
            self.outbox.clock_set_back(now);
        }
        self.latest = now;
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
        }
        while let Some((at, key)) = self.due.take(now) {
            self.ready.push_back((at, key));
        }
        while let Some((_, key)) = self.telling.take(now) {
            self.tell(&key, now);
        }
    }

    /// Ends the alerts of rules that were deleted while nobody was looking.
    fn sweep(&mut self, now: Millis) {
        // A rule in a file that can't be read is not gone.
        if !self.board.problems().is_empty() {
            self.sweep_at = Some(now.saturating_add(GRACE));
            return;
        }
        self.sweep_at = None;
        for (key, mut state) in std::mem::take(&mut self.leftovers) {
            let dispatches = state.end(now, Reason::RuleDeleted);
            self.post(dispatches, now);
            self.unwritten.insert(rule_key(&key), None);
        }
    }

    fn follow(&mut self, change: Change) {
        match change {
            Change::Applied(Object::AlertRule(rule)) => self.apply(rule),
            Change::Deleted(key) if key.kind == Kind::AlertRule => self.delete(&key),
            Change::Applied(object) => self.secret_changed(&object.key()),
            Change::Deleted(key) => self.secret_changed(&key),
        }
    }

    fn apply(&mut self, object: Arc<AlertRule>) {
        let key = Object::AlertRule(object.clone()).key();
        let now = self.now();
        let board = self.board.clone();
        let compiled = compile(&object, &self.default_receivers, |name| board.secret(&key.namespace, name));
        let suspended = object.spec.suspend;
        let rule = self.rules.entry(key.clone()).or_insert_with(|| Rule {
            object: object.clone(),
            compiled: None,
            fault: None,
            state: self.leftovers.remove(&key).unwrap_or_default(),
            version: 0,
            running: None,
            evaluated: None,
            error: None,
            delivery: BTreeMap::new(),
            reminded: Millis::MIN,
            readiness: None,
            share: Share::default(),
        });
        rule.object = object;
        self.unreported.insert(key.clone());
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(fault) => {
                tracing::warn!(rule = %key, reason = fault.reason, "the rule can't be used: {}", fault.message);
                rule.fault = Some(fault);
                // Whoever suspends a rule wants quiet, whatever else is wrong with it.
                if suspended {
                    rule.halt();
                    rule.compiled = None;
                    let dispatches = rule.state.end(now, Reason::RuleSuspended);
                    self.due.set(&key, None);
                    self.after(&key, dispatches, now);
                }
                return;
            }
        };
        rule.halt();
        rule.fault = None;
        rule.error = None;
        let dispatches = rule.state.adopt(&compiled, now);
        rule.delivery.retain(|receiver, _| compiled.receivers.iter().any(|known| receiver_key(known) == *receiver));
        rule.compiled = Some(Arc::new(compiled));
        self.due.set(&key, (!suspended).then_some(now));
        self.after(&key, dispatches, now);
    }

    fn delete(&mut self, key: &ObjectKey) {
        let now = self.now();
        self.leftovers.remove(key);
        let Some(mut rule) = self.rules.remove(key) else { return };
        rule.halt();
        self.own.share(&mut rule.share, Share::default());
        let dispatches = rule.state.end(now, Reason::RuleDeleted);
        self.post(dispatches, now);
        self.due.set(key, None);
        self.telling.set(key, None);
        self.unreported.remove(key);
        self.note(rule_key(key), None);
    }

    /// A secret is what is wrong with a rule, or is so no longer.
    fn secret_changed(&mut self, secret: &ObjectKey) {
        let uses = |rule: &Rule| {
            let receivers = rule.object.spec.notify.iter().chain(&self.default_receivers);
            receivers.filter_map(receivers::secret_name).any(|name| name == secret.name)
        };
        let users = self.rules.iter().filter(|(key, rule)| key.namespace == secret.namespace && uses(rule));
        let users: Vec<_> = users.map(|(_, rule)| rule.object.clone()).collect();
        users.into_iter().for_each(|object| self.apply(object));
        self.outbox.retry(&secret.namespace, &secret.name);
    }

    fn start_evaluations(&mut self) {
        while self.running.len() < EVALUATIONS {
            let Some((at, key)) = self.ready.pop_front() else { return };
            // Edited or deleted since it was due.
            let Some(rule) = self.rules.get_mut(&key).filter(|rule| rule.running.is_none()) else { continue };
            let Some(compiled) = rule.compiled.clone().filter(|rule| !rule.suspended) else { continue };
            let (interval, now) = (compiled.facts.interval, self.clock.now().as_millisecond());
            let missed = now.saturating_sub(at) / interval;
            // Of those that were missed, the last one is made up for.
            let at = if missed > 0 { schedule::last(&key, interval, now).max(at) } else { at };
            self.own.missed.inc_by(u64::try_from(missed).unwrap_or(0));
            let engine = Arc::clone(&self.engine);
            let task = self.running.spawn(async move {
                let start = Instant::now();
                let end = at.saturating_sub(compiled.eval_delay);
                let patience = compiled.patience();
                let asked = engine.instant(&compiled.query, compiled.window, end);
                let found = match tokio::time::timeout(patience, asked).await {
                    Ok(found) => found.map_err(Failure::Engine),
                    Err(_) => Err(Failure::Timeout(patience)),
                };
                (found, start.elapsed())
            });
            self.runs.insert(task.id(), Run { key, version: rule.version, at });
            rule.running = Some(task);
        }
    }

    fn evaluated(&mut self, done: Result<(Id, (Found, Duration)), JoinError>) {
        let (id, found) = match done {
            Ok((id, (found, took))) => {
                self.own.seconds.observe(took.as_secs_f64());
                (id, found)
            }
            Err(error) => (error.id(), Err(Failure::Broken(error.to_string()))),
        };
        let Some(Run { key, version, at }) = self.runs.remove(&id) else { return };
        let now = self.now();
        let Some(rule) = self.rules.get_mut(&key).filter(|rule| rule.version == version) else { return };
        let Some(compiled) = rule.compiled.clone() else { return };
        rule.running = None;
        rule.evaluated = Some(at);
        self.own.evaluations.inc();
        if rule.state.nobody_knows() {
            rule.reminded = now;
        }
        let mut dispatches = match found {
            Ok(found) => {
                rule.error = None;
                rule.state.evaluate(&compiled, at, now, &found)
            }
            Err(failure) => {
                let (reason, message) = failure.words();
                self.own.evaluation_failed(reason);
                if rule.error.is_none() {
                    tracing::warn!(rule = %key, reason, "the rule can't be evaluated: {message}");
                }
                rule.error = Some(message);
                rule.state.tell(&compiled, now)
            }
        };
        let reminder = compiled.receivers.iter().any(|receiver| receiver.alertmanager.is_some())
            && now.saturating_sub(rule.reminded) >= REMIND_EVERY;
        let reminder = if reminder { rule.state.reminder(&compiled) } else { None };
        self.due.set(&key, Some(schedule::next(&key, compiled.facts.interval, at)));
        if let Some(message) = reminder {
            rule.reminded = now;
            for receiver in compiled.receivers.iter().filter(|receiver| receiver.alertmanager.is_some()) {
                let notification = Notification::new(&compiled.facts, message.clone(), &receiver_key(receiver), now);
                let letter = Letter { receiver: receiver.clone(), notification, reminder: true };
                if !self.outbox.has_reminder(&letter) {
                    self.put(letter);
                }
            }
        }
        self.after(&key, std::mem::take(&mut dispatches), now);
    }

    fn tell(&mut self, key: &ObjectKey, now: Millis) {
        let Some(rule) = self.rules.get_mut(key) else { return };
        let Some(compiled) = rule.compiled.clone() else { return };
        let dispatches = rule.state.tell(&compiled, now);
        self.after(key, dispatches, now);
    }

    /// What follows from a change of a rule's state.
    fn after(&mut self, key: &ObjectKey, dispatches: Vec<Dispatch>, now: Millis) {
        self.post(dispatches, now);
        let Some(rule) = self.rules.get(key) else { return };
        let grouping = rule.compiled.as_ref().and_then(|rule| rule.grouping.as_ref());
        self.telling.set(key, rule.state.next(grouping));
        // States hold nothing that JSON can't carry.
        let value = if rule.state.is_blank() { None } else { serde_json::to_string(&rule.state).ok() };
        self.unreported.insert(key.clone());
        self.note(rule_key(key), value);
    }

    /// Notes what is to be written down, unless it is written already.
    fn note(&mut self, key: String, value: Option<String>) {
        if self.journal.lock().values().get(&key) == value.as_ref() {
            self.unwritten.remove(&key);
        } else {
            self.unwritten.insert(key, value);
        }
    }

    fn post(&mut self, dispatches: Vec<Dispatch>, now: Millis) {
        for Dispatch { receiver, facts, message } in dispatches {
            let notification = Notification::new(&facts, message, &receiver_key(&receiver), now);
            self.put(Letter { receiver, notification, reminder: false });
        }
    }

    fn put(&mut self, letter: Letter) {
        let written = if letter.reminder { None } else { serde_json::to_string(&letter).ok() };
        let (number, dropped) = self.outbox.push(letter);
        if let Some(value) = written {
            self.unwritten.insert(letter_key(number), Some(value));
        }
        if let Some((number, letter)) = dropped {
            self.note(letter_key(number), None);
            self.own.not_delivered(receivers::kind(&letter.receiver), "overflow");
            let message = format!("more than {MOST_WAITING} notifications wait, and the oldest was dropped");
            self.complain(&letter, &message);
        }
    }

    fn start_deliveries(&mut self) {
        let now = self.clock.now();
        while let Some((number, letter)) = self.outbox.take(now.as_millisecond()) {
            let secrets = receivers::secrets(&letter.receiver, |name| {
                self.board.secret(&letter.notification.facts.namespace, name)
            });
            let (client, sent) = (self.client.clone(), letter.clone());
            let task = self.deliveries.spawn(async move {
                receivers::deliver(&client, &sent.receiver, secrets, &sent.notification, now).await
            });
            self.on_the_way.insert(task.id(), (number, letter));
        }
        self.own.waiting.set(i64::try_from(self.outbox.len()).unwrap_or(i64::MAX));
    }

    fn delivered(&mut self, done: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match done {
            Ok(done) => done,
            Err(error) => {
                let message = format!("the attempt broke off: {error}");
                (error.id(), Outcome::Again { reason: "broken", message, after: None })
            }
        };
        let Some((number, letter)) = self.on_the_way.remove(&id) else { return };
        let kind = receivers::kind(&letter.receiver);
        match outcome {
            Outcome::Delivered => {
                self.own.delivered(kind);
                self.settle(number, &letter);
                self.with_rule(&letter, |rule| rule.delivery.remove(&receiver_key(&letter.receiver)).is_some());
            }
            Outcome::Refused { reason, message } => {
                self.own.not_delivered(kind, reason);
                self.settle(number, &letter);
                self.complain(&letter, &format!("it is not tried again: {message}"));
            }
            Outcome::Again { reason, message, after } => {
                self.own.not_delivered(kind, reason);
                let (failures, pause) = self.outbox.failed(&letter, self.now(), after);
                let seconds = (pause + 999) / 1_000;
                let message = format!("attempt {failures} failed, the next follows within {seconds} s: {message}");
                self.complain(&letter, &message);
            }
        }
    }

    fn settle(&mut self, number: Number, letter: &Letter) {
        self.outbox.done(letter);
        if !letter.reminder {
            self.note(letter_key(number), None);
        }
    }

    /// Says that a notification did not reach its receiver.
    fn complain(&mut self, letter: &Letter, message: &str) {
        let facts = &letter.notification.facts;
        let kind = receivers::kind(&letter.receiver);
        let (rule, namespace, id) = (&facts.name, &facts.namespace, &letter.notification.id);
        tracing::warn!(rule, namespace, receiver = kind, id, "a notification was not delivered: {message}");
        let message = format!("a notification to a receiver of kind {kind} was not delivered; {message}");
        self.with_rule(letter, |rule| {
            rule.delivery.insert(receiver_key(&letter.receiver), message.clone()) != Some(message)
        });
    }

    /// Does something with the rule of a letter, and reports it when that made a difference.
    fn with_rule(&mut self, letter: &Letter, change: impl FnOnce(&mut Rule) -> bool) {
        let facts = &letter.notification.facts;
        let (namespace, name) = (facts.namespace.clone(), facts.name.clone());
        let key = ObjectKey { kind: Kind::AlertRule, namespace, name };
        if self.rules.get_mut(&key).is_some_and(change) {
            self.unreported.insert(key);
        }
    }

    /// Writes down what has changed. Alerting goes on without, and it is tried again.
    async fn write(&mut self) {
        if self.unwritten.is_empty() && !self.journal.lock().is_broken() {
            return;
        }
        let changes = std::mem::take(&mut self.unwritten).into_iter().collect();
        let journal = Arc::clone(&self.journal);
        let written = tokio::task::spawn_blocking(move || journal.lock().commit(changes)).await;
        let error = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        self.own.write_failures.inc();
        tracing::error!("the state of rules could not be written, and a restart now would lose some of it: {error}");
    }

    fn report(&mut self, now: Millis) {
        for key in std::mem::take(&mut self.unreported) {
            let Some(rule) = self.rules.get_mut(&key) else { continue };
            let facets = Facets {
                generation: rule.object.metadata.generation,
                compiled: rule.compiled.as_deref(),
                fault: rule.fault.as_ref(),
                state: &rule.state,
                evaluated: rule.evaluated,
                error: rule.error.as_deref(),
                delivery: rule.delivery.values().cloned().collect(),
            };
            let status = facets.status(&mut rule.readiness, now);
            self.own.share(&mut rule.share, rule.state.machine.share(rule.readiness.map(|(ready, _)| ready)));
            if let Ok(status) = serde_json::to_value(status) {
                self.board.report(&key, status);
            }
        }
    }
}

impl Rule {
    /// Gives up the evaluation that runs.
    fn halt(&mut self) {
        self.version += 1;
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

impl Failure {
    fn words(self) -> (&'static str, String) {
        match self {
            Self::Engine(error) => {
                let reason = match error {
                    EngineError::Unavailable(_) => "unavailable",
                    EngineError::TooLarge(_) => "too_large",
                    EngineError::Invalid(_) => "invalid",
                };
                (reason, error.to_string())
            }
            Self::Timeout(patience) => {
                ("timeout", format!("the metrics engine did not answer within {} s", patience.as_secs()))
            }
            Self::Broken(error) => ("broken", format!("the evaluation broke off: {error}")),
        }
    }
}

fn receiver_key(receiver: &Receiver) -> String {
    serde_json::to_string(receiver).unwrap_or_default()
}

/// What a key of the journal stands for.
enum Written {
    Rule(ObjectKey),
    Letter(Number),
}

fn rule_key(key: &ObjectKey) -> String {
    format!("rule/{}/{}", key.namespace, key.name)
}

/// With as many digits as there may be, so that their order is that of the numbers.
fn letter_key(number: Number) -> String {
    format!("letter/{number:020}")
}

fn read_key(key: &str) -> Option<Written> {
    let (kind, rest) = key.split_once('/')?;
    match kind {
        "rule" => {
            let (namespace, name) = rest.split_once('/')?;
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            Some(Written::Rule(ObjectKey { kind: Kind::AlertRule, namespace, name }))
        }
        "letter" => rest.parse().ok().map(Written::Letter),
        _ => None,
    }
}
