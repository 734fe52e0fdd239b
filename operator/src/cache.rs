//! What the API server has, as far as the watches have told, ordered by namespace and name.
//!
//! What the operator writes itself is put here at once, so that the watch's word of it is no news, and causes no work.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use kube::Resource;
use kube::runtime::watcher::Event;
use parking_lot::RwLock;

/// Namespace and name.
pub(crate) type Key = (String, String);

/// An object that has changed: as it was, and as it is.
pub(crate) type Change<T> = (Option<Arc<T>>, Option<Arc<T>>);

/// Objects of one kind.
pub(crate) struct Cache<T> {
    state: RwLock<State<T>>,
}

struct State<T> {
    objects: BTreeMap<Key, Arc<T>>,
    /// What a list in progress has brought, by the scope of the watch.
    listed: BTreeMap<Option<String>, BTreeSet<Key>>,
    /// What was put here since a list began, which the list may not have.
    written: BTreeSet<Key>,
    /// Scopes whose first list is complete.
    synced: BTreeSet<Option<String>>,
    /// Scopes that can't be listed for lack of the right to.
    refused: BTreeSet<Option<String>>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        let state = State {
            objects: BTreeMap::new(),
            listed: BTreeMap::new(),
            written: BTreeSet::new(),
            synced: BTreeSet::new(),
            refused: BTreeSet::new(),
        };
        Self { state: RwLock::new(state) }
    }
}

impl<T: Resource> Cache<T> {
    /// An object.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.state.read().objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// The objects of a namespace, by name.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let from = Bound::Included((namespace.to_owned(), String::new()));
        let state = self.state.read();
        let rest = state.objects.range((from, Bound::Unbounded));
        rest.take_while(|((its, _), _)| its == namespace).map(|(_, object)| object.clone()).collect()
    }

    /// All objects.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.state.read().objects.values().cloned().collect()
    }

    /// Whether the first list of a scope is complete, or was refused; nothing while it is under way.
    pub(crate) fn listed(&self, scope: &Option<String>) -> Option<bool> {
        let state = self.state.read();
        let is_synced = state.synced.contains(scope);
        (is_synced || state.refused.contains(scope)).then_some(is_synced)
    }

    /// Notes that a scope can't be listed for lack of the right to. A list that succeeds takes that back.
    pub(crate) fn refuse(&self, scope: Option<&str>) {
        self.state.write().refused.insert(scope.map(str::to_owned));
    }

    /// Puts an object here as the API server has just returned it.
    pub(crate) fn put(&self, object: T) {
        let key = key_of(&object);
        let mut state = self.state.write();
        state.written.insert(key);
        state.insert(object);
    }

    /// Forgets everything, when nobody watches any more.
    pub(crate) fn clear(&self) {
        let mut state = self.state.write();
        state.objects.clear();
        state.synced.clear();
        state.refused.clear();
    }

    /// Takes in an event of a watch over a namespace, or over all, and says what has changed by it.
    pub(crate) fn take_in(&self, scope: Option<&str>, event: Event<T>) -> Vec<Change<T>> {
        let scope = scope.map(str::to_owned);
        let mut state = self.state.write();
        match event {
            Event::Init => {
                state.written.retain(|key| scope.as_ref().is_some_and(|scope| key.0 != *scope));
                state.listed.insert(scope, BTreeSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                state.listed.entry(scope).or_default().insert(key_of(&object));
                state.insert(object).into_iter().collect()
            }
            Event::Apply(object) => state.insert(object).into_iter().collect(),
            Event::Delete(object) => state.remove(&object).into_iter().collect(),
            Event::InitDone => {
                let listed = state.listed.remove(&scope).unwrap_or_default();
                let is_gone = |key: &&Key| {
                    scope.as_ref().is_none_or(|scope| key.0 == *scope)
                        && !listed.contains(*key)
                        && !state.written.contains(*key)
                };
                let gone: Vec<_> = state.objects.keys().filter(is_gone).cloned().collect();
                state.refused.remove(&scope);
                state.synced.insert(scope);
                gone.iter().filter_map(|key| Some((Some(state.objects.remove(key)?), None))).collect()
            }
        }
    }
}

impl<T: Resource> State<T> {
    fn insert(&mut self, object: T) -> Option<Change<T>> {
        let key = key_of(&object);
        if self.objects.get(&key).is_some_and(|known| version(known.as_ref()) >= version(&object)) {
            return None;
        }
        let object = Arc::new(object);
        let before = self.objects.insert(key, object.clone());
        Some((before, Some(object)))
    }

    fn remove(&mut self, object: &T) -> Option<Change<T>> {
        let key = key_of(object);
        // It may have been made anew since.
        if self.objects.get(&key).is_some_and(|known| version(known.as_ref()) > version(object)) {
            return None;
        }
        self.written.remove(&key);
        Some((Some(self.objects.remove(&key)?), None))
    }
}

fn key_of<T: Resource>(object: &T) -> Key {
    let metadata = object.meta();
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// Versions of objects of one kind are numbers that ascend.
fn version<T: Resource>(object: &T) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn object(namespace: &str, name: &str, version: u64) -> ConfigMap {
        let metadata = ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn scope(namespace: &str) -> Option<String> {
        Some(namespace.to_owned())
    }

    fn names(cache: &Cache<ConfigMap>) -> Vec<String> {
        let all = cache.all();
        all.iter().filter_map(|object| object.metadata.name.clone()).collect()
    }

    #[test]
    fn what_was_written_here_is_no_news_from_the_watch() {
        let cache = Cache::default();
        cache.put(object("n", "a", 10));
        assert!(cache.take_in(None, Event::Apply(object("n", "a", 10))).is_empty());
        assert!(cache.take_in(None, Event::Apply(object("n", "a", 9))).is_empty());
        assert_eq!(cache.take_in(None, Event::Apply(object("n", "a", 11))).len(), 1);
        assert!(cache.take_in(None, Event::Delete(object("n", "a", 10))).is_empty(), "deleted before it was made anew");
        assert_eq!(cache.take_in(None, Event::Delete(object("n", "a", 12))).len(), 1);
        assert!(names(&cache).is_empty());
    }

    #[test]
    fn a_new_list_takes_away_what_it_does_not_have_within_its_scope() {
        let cache = Cache::default();
        for (namespace, name) in [("n", "stays"), ("n", "goes"), ("other", "is-not-asked")] {
            cache.take_in(None, Event::Apply(object(namespace, name, 1)));
        }
        cache.take_in(Some("n"), Event::Init);
        cache.put(object("n", "new", 5));
        cache.take_in(Some("n"), Event::InitApply(object("n", "stays", 1)));
        // A list of another scope is none of its business.
        cache.take_in(Some("other"), Event::Init);
        assert_eq!(cache.listed(&scope("n")), None);
        assert_eq!(cache.take_in(Some("n"), Event::InitDone).len(), 1);
        assert_eq!((cache.listed(&scope("n")), cache.listed(&scope("other"))), (Some(true), None));
        assert_eq!(names(&cache), ["new", "stays", "is-not-asked"]);
        assert_eq!(cache.in_namespace("n").len(), 2);
        assert_eq!(cache.in_namespace("").len(), 0);
    }

    #[test]
    fn a_scope_is_refused_until_it_may_be_listed() {
        let cache: Cache<ConfigMap> = Cache::default();
        cache.refuse(Some("n"));
        assert_eq!((cache.listed(&scope("n")), cache.listed(&scope("other"))), (Some(false), None));
        cache.take_in(Some("n"), Event::Init);
        cache.take_in(Some("n"), Event::InitDone);
        assert_eq!(cache.listed(&scope("n")), Some(true));
    }
}
