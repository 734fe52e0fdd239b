//! The keeper: the one task that owns all rules. It follows the board, starts what is due, and takes in what comes of it.
//!
//! One round: take changes of objects, start evaluations that are due, write down what has changed, start deliveries,
//! report. Nobody is told of anything that is not written down: a process that ends at any time goes on where it was.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Client;
use taffrail_crds::{AlertRule, Kind, ObjectKey, Receiver};
use taffrail_query::MetricsEngine;
use taffrail_runtime::{Board, Subscription};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio_util::sync::CancellationToken;

use self::evaluate::{Found, Run};
use crate::clock::{Clock, Millis, timestamp};
use crate::compile::{Compiled, Fault};
use crate::journal::Journal;
use crate::machine::Reason;
use crate::outbox::{Letter, Number, Outbox};
use crate::receivers::Outcome;
use crate::rule::RuleState;
use crate::schedule::{self, Queue};
use crate::status::{Facets, Readiness};
use crate::telemetry::{OwnMetrics, Share};
use crate::worker::{FLUSH, RuleWorkerConfig};

mod deliver;
mod evaluate;
mod load;

/// How long rules of the last run that are not on the board are waited for before they count as deleted.
const GRACE: Millis = 5_000;

/// A clock that shows less than before by more than this was set back.
const SET_BACK: Millis = 1_000;

/// How long it takes until a write that failed is tried again.
const WRITE_AGAIN: Millis = 1_000;

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
    running: JoinSet<(Found, Duration)>,
    runs: HashMap<Id, Run>,
    outbox: Outbox,
    deliveries: JoinSet<Outcome>,
    on_the_way: HashMap<Id, (Number, Letter)>,
    /// What is to be written down.
    unwritten: BTreeMap<String, Option<String>>,
    /// After a write that failed, the next one is not before this.
    write_after: Millis,
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
            match read(key, value) {
                Ok(Some(Written::Rule(key, state))) => {
                    leftovers.insert(key, state);
                }
                Ok(Some(Written::Letter(number, letter))) => outbox.restore(number, letter),
                Ok(None) => {}
                Err(error) => tracing::error!("the state of rules holds `{key}`, which can't be read: {error}"),
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
            running: JoinSet::new(),
            runs: HashMap::new(),
            outbox,
            deliveries: JoinSet::new(),
            on_the_way: HashMap::new(),
            unwritten: BTreeMap::new(),
            write_after: Millis::MIN,
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
            self.start_evaluations(now);
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
        self.write_after = Millis::MIN;
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
        let idle = self.running.is_empty() && self.deliveries.is_empty();
        idle && self.next().is_none_or(|at| at > self.now())
    }

    fn next(&self) -> Option<Millis> {
        // What is due while there is no room for it is started when something else is done.
        let due = self.due.next().filter(|_| self.has_room());
        let times = [due, self.telling.next(), self.outbox.next(), self.sweep_at];
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

    /// Notes what is to be written down, unless it is written already.
    fn note(&mut self, key: String, value: Option<String>) {
        if self.journal.lock().values().get(&key) == value.as_ref() {
            self.unwritten.remove(&key);
        } else {
            self.unwritten.insert(key, value);
        }
    }

    /// Writes down what has changed. Alerting goes on without, and it is tried again.
    async fn write(&mut self) {
        let broken = self.journal.lock().is_broken();
        let nothing_to_do = if broken { self.now() < self.write_after } else { self.unwritten.is_empty() };
        if nothing_to_do {
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
        self.write_after = self.now().saturating_add(WRITE_AGAIN);
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

/// What there is in the journal.
enum Written {
    Rule(ObjectKey, RuleState),
    Letter(Number, Letter),
}

fn rule_key(key: &ObjectKey) -> String {
    format!("rule/{}/{}", key.namespace, key.name)
}

/// With as many digits as there may be, so that their order is that of the numbers.
fn letter_key(number: Number) -> String {
    format!("letter/{number:020}")
}

/// Reads what was written under [`rule_key`] and [`letter_key`]; nothing where it is something else.
fn read(key: &str, value: &str) -> Result<Option<Written>, serde_json::Error> {
    let mut parts = key.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("rule"), Some(namespace), Some(name)) => {
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            let key = ObjectKey { kind: Kind::AlertRule, namespace, name };
            serde_json::from_str(value).map(|state| Some(Written::Rule(key, state)))
        }
        (Some("letter"), Some(number), None) => match number.parse() {
            Ok(number) => serde_json::from_str(value).map(|letter| Some(Written::Letter(number, letter))),
            Err(_) => Ok(None),
        },
        _ => Ok(None),
    }
}
