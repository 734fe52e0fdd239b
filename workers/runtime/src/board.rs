//! The board: where objects, their status and what is wrong with their files meet within one process.
//!
//! Sources (a watched directory, the Kubernetes watch) put objects on it, workers subscribe to them and report status
//! back, and the dashboard reads all of it. A subscriber that is slow sees the latest state of each object, not each
//! step on the way: what waits for it is bounded by the number of objects.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use taffrail_crds::manifest::Problem;
use taffrail_crds::{Kind, Object, ObjectKey, SecretData, secret_data};
use tokio::sync::{Notify, watch};

/// What happened to an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is new, or its spec is.
    Applied(Object),
    /// It is gone.
    Deleted(ObjectKey),
}

/// An object and what its worker says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The object. Its `metadata.generation` counts the changes of its spec, from 1.
    pub object: Object,
    /// Its status as its worker reported it last.
    pub status: Option<Value>,
}

/// Something in a file that could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadProblem {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

impl LoadProblem {
    /// What is wrong in a file, with the field that it is about.
    #[must_use]
    pub fn new(file: &Path, problem: &Problem) -> Self {
        let message = match problem.path.as_str() {
            "" => problem.message.clone(),
            field => format!("{field}: {}", problem.message),
        };
        Self { file: file.display().to_string(), line: problem.line, column: problem.column, message }
    }
}

#[derive(Default)]
struct State {
    entries: BTreeMap<ObjectKey, Entry>,
    /// By origin, a file or a directory.
    problems: BTreeMap<String, Vec<LoadProblem>>,
    subscribers: Vec<Weak<Mailbox>>,
}

struct Mailbox {
    kinds: Vec<Kind>,
    /// The latest change of each object that the subscriber has not seen yet, in order of keys.
    waiting: Mutex<BTreeMap<ObjectKey, Change>>,
    arrived: Notify,
}

/// The changes of objects of some kinds, starting with all that are there.
pub struct Subscription {
    mailbox: Arc<Mailbox>,
}

impl Subscription {
    /// The next change. Safe to drop and call again.
    pub async fn next(&mut self) -> Change {
        loop {
            if let Some((_, change)) = self.mailbox.waiting.lock().pop_first() {
                return change;
            }
            self.mailbox.arrived.notified().await;
        }
    }

    /// The next change, if there is one already.
    pub fn try_next(&mut self) -> Option<Change> {
        self.mailbox.waiting.lock().pop_first().map(|(_, change)| change)
    }
}

/// Where objects, their status and what is wrong with their files meet. Cheap to clone.
#[derive(Clone, Default)]
pub struct Board {
    state: Arc<Mutex<State>>,
    reported: Arc<watch::Sender<()>>,
}

impl Board {
    /// An empty board.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an object on the board, or replaces it, and counts its generations. Nothing happens, and nobody is told, when
    /// it says what it said before.
    pub fn apply(&self, object: Object) {
        let mut state = self.state.lock();
        let generation = match state.entries.get(&object.key()) {
            Some(entry) if same_content(&entry.object, &object) => return,
            Some(entry) => entry.object.metadata().generation.unwrap_or(0) + 1,
            None => 1,
        };
        state.put(with_generation(object, generation));
    }

    /// Puts an object on the board, or replaces it, whose source counts its generations. Nothing happens, and nobody is
    /// told, when it says what it said before.
    pub fn apply_counted(&self, object: Object) {
        let mut state = self.state.lock();
        if state.entries.get(&object.key()).is_none_or(|entry| entry.object != object) {
            state.put(object);
        }
    }

    /// Takes an object off the board.
    pub fn delete(&self, key: &ObjectKey) {
        let mut state = self.state.lock();
        if state.entries.remove(key).is_some() {
            state.tell(key, &Change::Deleted(key.clone()));
        }
    }

    /// The object and its status.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<Entry> {
        self.state.lock().entries.get(key).cloned()
    }

    /// All objects of a kind, by namespace and name.
    #[must_use]
    pub fn list(&self, kind: Kind) -> Vec<Entry> {
        let state = self.state.lock();
        state.entries.iter().filter(|(key, _)| key.kind == kind).map(|(_, entry)| entry.clone()).collect()
    }

    /// The values of a secret.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str) -> Option<SecretData> {
        let key = ObjectKey { kind: Kind::Secret, namespace: namespace.to_owned(), name: name.to_owned() };
        match self.state.lock().entries.get(&key)?.object {
            Object::Secret(ref secret) => Some(secret_data(secret)),
            _ => None,
        }
    }

    /// Notes what a worker says of an object; nothing when the object is gone.
    pub fn report(&self, key: &ObjectKey, status: Value) {
        let mut state = self.state.lock();
        let Some(entry) = state.entries.get_mut(key) else { return };
        if entry.status.as_ref() != Some(&status) {
            entry.status = Some(status);
            self.reported.send_replace(());
        }
    }

    /// Says when any status has become another one.
    #[must_use]
    pub fn reports(&self) -> watch::Receiver<()> {
        self.reported.subscribe()
    }

    /// Replaces what is wrong with the files of one origin.
    pub fn set_problems(&self, origin: &str, problems: Vec<LoadProblem>) {
        let mut state = self.state.lock();
        if problems.is_empty() {
            state.problems.remove(origin);
        } else {
            state.problems.insert(origin.to_owned(), problems);
        }
    }

    /// What is wrong with any file.
    #[must_use]
    pub fn problems(&self) -> Vec<LoadProblem> {
        self.state.lock().problems.values().flatten().cloned().collect()
    }

    /// The changes of objects of these kinds, starting with all that are there.
    #[must_use]
    pub fn subscribe(&self, kinds: &[Kind]) -> Subscription {
        let mut state = self.state.lock();
        let waiting = state
            .entries
            .iter()
            .filter(|(key, _)| kinds.contains(&key.kind))
            .map(|(key, entry)| (key.clone(), Change::Applied(entry.object.clone())))
            .collect();
        let mailbox = Arc::new(Mailbox { kinds: kinds.to_vec(), waiting: Mutex::new(waiting), arrived: Notify::new() });
        state.subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        state.subscribers.push(Arc::downgrade(&mailbox));
        Subscription { mailbox }
    }
}

impl State {
    /// Status outlives an edit.
    fn put(&mut self, object: Object) {
        let key = object.key();
        let status = self.entries.get(&key).and_then(|entry| entry.status.clone());
        self.entries.insert(key.clone(), Entry { object: object.clone(), status });
        self.tell(&key, &Change::Applied(object));
    }

    fn tell(&self, key: &ObjectKey, change: &Change) {
        for mailbox in self.subscribers.iter().filter_map(Weak::upgrade) {
            if mailbox.kinds.contains(&key.kind) {
                mailbox.waiting.lock().insert(key.clone(), change.clone());
                mailbox.arrived.notify_one();
            }
        }
    }
}

/// Whether two objects say the same, whatever their source counts as their generation.
fn same_content(one: &Object, other: &Object) -> bool {
    with_generation(one.clone(), 0) == with_generation(other.clone(), 0)
}

fn with_generation(mut object: Object, generation: i64) -> Object {
    let metadata = match &mut object {
        Object::LogPipeline(object) => &mut Arc::make_mut(object).metadata,
        Object::AlertRule(object) => &mut Arc::make_mut(object).metadata,
        Object::Dashboard(object) => &mut Arc::make_mut(object).metadata,
        Object::Secret(object) => &mut Arc::make_mut(object).metadata,
    };
    metadata.generation = Some(generation);
    object
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use taffrail_crds::{Dashboard, DashboardSpec};

    use super::*;

    fn dashboard(name: &str, title: &str) -> Object {
        let spec = serde_json::from_value::<DashboardSpec>(serde_json::json!({"title": title})).expect("spec");
        Object::Dashboard(Arc::new(Dashboard::new(name, spec)))
    }

    #[tokio::test]
    async fn a_subscriber_sees_what_is_there_and_then_the_latest_of_each() {
        let board = Board::new();
        board.apply(dashboard("a", "one"));
        let mut changes = board.subscribe(&[Kind::Dashboard]);
        board.apply(dashboard("a", "two"));
        board.apply(dashboard("b", "one"));
        board.delete(&dashboard("b", "").key());
        let Change::Applied(first) = changes.next().await else { panic!("applied") };
        assert_eq!((first.key().name.as_str(), first.metadata().generation), ("a", Some(2)));
        assert_eq!(changes.next().await, Change::Deleted(dashboard("b", "").key()));
        assert_eq!(changes.try_next(), None);
    }

    #[test]
    fn the_same_content_is_no_change_and_status_outlives_an_edit() {
        let board = Board::new();
        let key = dashboard("a", "").key();
        board.apply(dashboard("a", "one"));
        board.report(&key, serde_json::json!({"url": "here"}));
        let mut changes = board.subscribe(&[Kind::Dashboard]);
        assert!(changes.try_next().is_some());
        board.apply(dashboard("a", "one"));
        assert_eq!(changes.try_next(), None);
        board.apply(dashboard("a", "two"));
        let entry = board.get(&key).expect("there");
        assert_eq!(entry.object.metadata().generation, Some(2));
        assert_eq!(entry.status, Some(serde_json::json!({"url": "here"})));
    }
}
