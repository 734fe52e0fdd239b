//! Which series there are, and which of them a query means.
//!
//! An inverted index as in full-text search: for each value of each label the sorted list of the series that have it.

use std::collections::BTreeSet;
use std::hash::Hasher;

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use taffrail_query::{Labels, MatchOp, Matcher};

use crate::model::Kind;
use crate::symbols::{Symbol, Symbols};

/// The number of a series. Numbers of dropped series are given to new ones.
pub(crate) type SeriesId = u32;

const NONE: SeriesId = SeriesId::MAX;

#[derive(Debug)]
struct Entry {
    kind: Kind,
    metric: Symbol,
    /// Sorted by name.
    labels: Box<[(Symbol, Symbol)]>,
    /// See [`identity`].
    identity: u64,
    /// Another series with the same identity.
    next: SeriesId,
}

/// The series of a metric.
#[derive(Debug)]
struct Metric {
    kind: Kind,
    /// Sorted.
    ids: Vec<SeriesId>,
}

/// A series that a query means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selected {
    pub(crate) id: SeriesId,
    /// Tells whether the number was given to another series in the meantime.
    pub(crate) identity: u64,
}

/// Series that are made one number.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) labels: Labels,
    pub(crate) series: Vec<Selected>,
}

/// Which series there are.
#[derive(Debug, Default)]
pub(crate) struct Index {
    symbols: Symbols,
    entries: Vec<Option<Entry>>,
    by_identity: FxHashMap<u64, SeriesId>,
    metrics: FxHashMap<Symbol, Metric>,
    /// Label name, label value, sorted series.
    postings: FxHashMap<Symbol, FxHashMap<Symbol, Vec<SeriesId>>>,
    live: usize,
}

/// A hash of a series' name and labels. Two series may have the same one.
pub(crate) fn identity<'a>(metric: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    let mut hasher = FxHasher::default();
    // Lengths keep `ab` + `c` apart from `a` + `bc`.
    let mut write = |text: &str| {
        hasher.write_usize(text.len());
        hasher.write(text.as_bytes());
    };
    write(metric);
    for (name, value) in labels {
        write(name);
        write(value);
    }
    hasher.finish()
}

impl Index {
    /// Number of series.
    pub(crate) const fn len(&self) -> usize {
        self.live
    }

    /// Number of different names and values.
    pub(crate) fn symbols(&self) -> usize {
        self.symbols.len()
    }

    fn entry(&self, id: SeriesId) -> Option<&Entry> {
        self.entries.get(id as usize)?.as_ref()
    }

    fn has<'a>(&self, entry: &Entry, metric: &str, mut labels: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
        self.symbols.text(entry.metric) == metric
            && self.pairs(entry).all(|(name, value)| labels.next() == Some((name, value)))
            && labels.next().is_none()
    }

    fn pairs<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = (&'a str, &'a str)> {
        entry.labels.iter().map(|(name, value)| (self.symbols.text(*name), self.symbols.text(*value)))
    }

    /// The series with a name and labels (sorted by name), and its kind.
    pub(crate) fn find<'a>(
        &self,
        identity: u64,
        metric: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Option<(SeriesId, Kind)> {
        let mut id = *self.by_identity.get(&identity)?;
        while let Some(entry) = self.entry(id) {
            if self.has(entry, metric, labels.clone()) {
                return Some((id, entry.kind));
            }
            id = entry.next;
        }
        None
    }

    /// The kind that a metric's series have.
    pub(crate) fn kind(&self, metric: &str) -> Option<Kind> {
        Some(self.metrics.get(&self.symbols.get(metric)?)?.kind)
    }

    /// Whether a number is taken.
    pub(crate) fn contains(&self, id: SeriesId) -> bool {
        self.entry(id).is_some()
    }

    /// Adds a series under a free number; its labels are sorted by name.
    pub(crate) fn insert<'a>(
        &mut self,
        id: SeriesId,
        kind: Kind,
        metric: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> u64 {
        let identity = identity(metric, labels.clone());
        let metric = self.symbols.acquire(metric);
        let labels: Box<[_]> =
            labels.map(|(name, value)| (self.symbols.acquire(name), self.symbols.acquire(value))).collect();
        insert_sorted(&mut self.metrics.entry(metric).or_insert_with(|| Metric { kind, ids: Vec::new() }).ids, id);
        for (name, value) in &labels {
            insert_sorted(self.postings.entry(*name).or_default().entry(*value).or_default(), id);
        }
        let next = self.by_identity.insert(identity, id).unwrap_or(NONE);
        if self.entries.len() <= id as usize {
            self.entries.resize_with(id as usize + 1, || None);
        }
        self.entries[id as usize] = Some(Entry { kind, metric, labels, identity, next });
        self.live += 1;
        identity
    }

    /// Forgets series.
    pub(crate) fn remove(&mut self, ids: &[SeriesId]) {
        let gone: FxHashSet<SeriesId> = ids.iter().copied().filter(|id| self.contains(*id)).collect();
        let mut metrics = FxHashSet::default();
        let mut pairs = FxHashSet::default();
        for &id in &gone {
            self.unlink(id);
            let Some(entry) = self.entry(id) else { continue };
            metrics.insert(entry.metric);
            pairs.extend(entry.labels.iter().copied());
        }
        self.live -= gone.len();
        for metric in metrics {
            if let Some(found) = self.metrics.get_mut(&metric) {
                found.ids.retain(|id| !gone.contains(id));
                if found.ids.is_empty() {
                    self.metrics.remove(&metric);
                }
            }
        }
        for (name, value) in pairs {
            let Some(values) = self.postings.get_mut(&name) else { continue };
            if let Some(list) = values.get_mut(&value) {
                list.retain(|id| !gone.contains(id));
                if list.is_empty() {
                    values.remove(&value);
                }
            }
            if values.is_empty() {
                self.postings.remove(&name);
            }
        }
        for id in gone {
            let Some(entry) = self.entries[id as usize].take() else { continue };
            self.symbols.release(entry.metric);
            for (name, value) in &entry.labels {
                self.symbols.release(*name);
                self.symbols.release(*value);
            }
        }
    }

    /// Takes a series out of the chain of those with its identity.
    fn unlink(&mut self, id: SeriesId) {
        let Some((identity, next)) = self.entry(id).map(|entry| (entry.identity, entry.next)) else { return };
        let Some(&first) = self.by_identity.get(&identity) else { return };
        if first == id {
            if next == NONE {
                self.by_identity.remove(&identity);
            } else {
                self.by_identity.insert(identity, next);
            }
            return;
        }
        let mut at = first;
        while let Some(Some(entry)) = self.entries.get_mut(at as usize) {
            if entry.next == id {
                entry.next = next;
                return;
            }
            at = entry.next;
        }
    }

    /// The names of all metrics, sorted.
    pub(crate) fn metric_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.metrics.keys().map(|symbol| self.symbols.text(*symbol).to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// All metrics with their kind and number of series, sorted by name.
    pub(crate) fn metrics(&self) -> Vec<(String, Kind, usize)> {
        let mut metrics: Vec<_> = self
            .metrics
            .iter()
            .map(|(name, metric)| (self.symbols.text(*name).to_owned(), metric.kind, metric.ids.len()))
            .collect();
        metrics.sort_unstable();
        metrics
    }

    /// The names of all labels with the number of their values, sorted by name.
    pub(crate) fn label_names(&self) -> Vec<(String, usize)> {
        let mut names: Vec<_> =
            self.postings.iter().map(|(name, values)| (self.symbols.text(*name).to_owned(), values.len())).collect();
        names.sort_unstable();
        names
    }

    /// The values of a label on a metric, or on any, sorted.
    pub(crate) fn label_values(&self, metric: Option<&str>, label: &str) -> Vec<String> {
        let Some(name) = self.symbols.get(label) else { return Vec::new() };
        let mut values: BTreeSet<&str> = BTreeSet::new();
        if let Some(metric) = metric {
            for id in self.ids_of(metric) {
                let Some(entry) = self.entry(*id) else { continue };
                values.extend(entry.labels.iter().find(|pair| pair.0 == name).map(|pair| self.symbols.text(pair.1)));
            }
        } else {
            let all = self.postings.get(&name).into_iter().flat_map(FxHashMap::keys);
            values.extend(all.map(|value| self.symbols.text(*value)));
        }
        values.into_iter().map(str::to_owned).collect()
    }

    fn ids_of(&self, metric: &str) -> &[SeriesId] {
        let found = self.symbols.get(metric).and_then(|symbol| self.metrics.get(&symbol));
        found.map_or(&[], |metric| &metric.ids)
    }

    /// All series of a metric.
    pub(crate) fn series_of(&self, metric: &str) -> Vec<SeriesId> {
        self.ids_of(metric).to_vec()
    }

    /// Name and labels of a series.
    pub(crate) fn describe(&self, id: SeriesId) -> Option<(&str, impl Iterator<Item = (&str, &str)>)> {
        let entry = self.entry(id)?;
        Some((self.symbols.text(entry.metric), self.pairs(entry)))
    }

    /// The series of a metric that fit all matchers, sorted.
    pub(crate) fn select(&self, metric: &str, matchers: &[Matcher]) -> Vec<Selected> {
        let mut ids = self.ids_of(metric);
        let mut rest: Vec<MemoMatcher<'_>> = Vec::new();
        for matcher in matchers {
            let is_list = matches!(matcher.op, MatchOp::Equal) && !matcher.value.is_empty();
            if is_list {
                let list = self.with_label(&matcher.label, &matcher.value);
                // The shortest list drives; the matchers of the others are checked for each series in it.
                if list.len() < ids.len() {
                    ids = list;
                }
            }
            rest.push(MemoMatcher { matcher, label: self.symbols.get(&matcher.label), known: FxHashMap::default() });
        }
        let Some(metric) = self.symbols.get(metric) else { return Vec::new() };
        ids.iter()
            .filter_map(|&id| {
                let entry = self.entry(id)?;
                let fits = entry.metric == metric && rest.iter_mut().all(|matcher| matcher.fits(entry, &self.symbols));
                fits.then_some(Selected { id, identity: entry.identity })
            })
            .collect()
    }

    fn with_label(&self, name: &str, value: &str) -> &[SeriesId] {
        let list = || {
            let values = self.postings.get(&self.symbols.get(name)?)?;
            values.get(&self.symbols.get(value)?)
        };
        list().map_or(&[], Vec::as_slice)
    }

    /// Series by their values of some labels, sorted by these; a label that a series does not have is left out.
    pub(crate) fn group(&self, selected: Vec<Selected>, by: &[String]) -> Vec<Group> {
        if selected.is_empty() {
            return Vec::new();
        }
        if by.is_empty() {
            return vec![Group { labels: Labels::new(), series: selected }];
        }
        let names: Vec<Option<Symbol>> = by.iter().map(|name| self.symbols.get(name)).collect();
        let mut groups: FxHashMap<Vec<Option<Symbol>>, Vec<Selected>> = FxHashMap::default();
        for series in selected {
            let Some(entry) = self.entry(series.id) else { continue };
            let value = |name: &Option<Symbol>| name.and_then(|name| value_of(entry, name));
            groups.entry(names.iter().map(value).collect()).or_default().push(series);
        }
        let mut groups: Vec<Group> = groups
            .into_iter()
            .map(|(values, series)| {
                let pairs = by.iter().zip(values);
                let labels =
                    pairs.filter_map(|(name, value)| Some((name.clone(), self.symbols.text(value?).to_owned())));
                Group { labels: labels.collect(), series }
            })
            .collect();
        groups.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        groups
    }
}

fn value_of(entry: &Entry, name: Symbol) -> Option<Symbol> {
    entry.labels.iter().find(|pair| pair.0 == name).map(|pair| pair.1)
}

fn insert_sorted(list: &mut Vec<SeriesId>, id: SeriesId) {
    // Numbers mostly grow.
    if list.last().is_none_or(|last| *last < id) {
        list.push(id);
    } else if let Err(at) = list.binary_search(&id) {
        list.insert(at, id);
    }
}

/// A matcher that looks at each value once, however many series have it.
struct MemoMatcher<'a> {
    matcher: &'a Matcher,
    label: Option<Symbol>,
    known: FxHashMap<Option<Symbol>, bool>,
}

impl MemoMatcher<'_> {
    fn fits(&mut self, entry: &Entry, symbols: &Symbols) -> bool {
        let value = self.label.and_then(|label| value_of(entry, label));
        let text = || value.map_or("", |value| symbols.text(value));
        *self.known.entry(value).or_insert_with(|| self.matcher.matches(text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(index: &mut Index, id: SeriesId, metric: &str, labels: &[(&str, &str)]) {
        index.insert(id, Kind::Counter, metric, labels.iter().copied());
    }

    fn ids(index: &Index, query: &str) -> Vec<SeriesId> {
        let query: taffrail_query::ShortQuery = query.parse().expect("valid");
        index.select(&query.metric, &query.matchers).into_iter().map(|series| series.id).collect()
    }

    fn shop() -> Index {
        let mut index = Index::default();
        insert(&mut index, 0, "errors", &[("host", "a"), ("service", "api")]);
        insert(&mut index, 1, "errors", &[("host", "b"), ("service", "api")]);
        insert(&mut index, 2, "errors", &[("service", "web")]);
        insert(&mut index, 3, "other", &[("service", "api")]);
        index
    }

    #[test]
    fn matchers_select() {
        let index = shop();
        for (query, expected) in [
            ("sum errors", &[0, 1, 2][..]),
            ("sum errors service=api", &[0, 1]),
            ("sum errors service=api host=b", &[1]),
            ("sum errors service!=api", &[2]),
            ("sum errors service=~a.i", &[0, 1]),
            ("sum errors service!~\"a.*\"", &[2]),
            ("sum errors host=\"\"", &[2]),
            ("sum errors host!=\"\"", &[0, 1]),
            ("sum errors unknown=x", &[]),
            ("sum errors unknown=\"\"", &[0, 1, 2]),
            ("sum errors service=unknown", &[]),
            ("sum unknown", &[]),
            ("sum api", &[]),
        ] {
            assert_eq!(ids(&index, query), expected, "{query}");
        }
    }

    #[test]
    fn groups_are_sorted_and_leave_absent_labels_out() {
        let index = shop();
        let by = ["service".to_owned(), "host".to_owned()];
        let groups = index.group(index.select("errors", &[]), &by);
        let found: Vec<_> = groups
            .iter()
            .map(|group| {
                let labels: Vec<_> = group.labels.values().map(String::as_str).collect();
                (labels.join(","), group.series.len())
            })
            .collect();
        assert_eq!(found, [("a,api".to_owned(), 1), ("b,api".to_owned(), 1), ("web".to_owned(), 1)]);
        assert_eq!(index.label_values(Some("errors"), "service"), ["api", "web"]);
        assert_eq!(index.label_values(Some("other"), "host"), Vec::<String>::new());
        assert_eq!(index.label_values(None, "host"), ["a", "b"]);
    }

    #[test]
    fn removed_series_leave_nothing_behind() {
        let mut index = shop();
        index.remove(&[1, 3, 7]);
        assert_eq!(ids(&index, "sum errors"), [0, 2]);
        assert_eq!(index.metric_names(), ["errors"]);
        assert_eq!(index.label_values(None, "host"), ["a"]);
        insert(&mut index, 1, "other", &[("service", "api")]);
        assert_eq!(ids(&index, "sum other"), [1]);
        index.remove(&[0, 1, 2]);
        assert_eq!((index.len(), index.symbols()), (0, 0));
        assert!(index.postings.is_empty() && index.by_identity.is_empty());
    }

    #[test]
    fn series_with_the_same_identity_are_kept_apart() {
        let mut index = shop();
        // Forge collisions: all series under one identity.
        let ids_of_all: Vec<_> = (0..4).collect();
        let forged = 42;
        index.by_identity.clear();
        for &id in &ids_of_all {
            let entry = index.entries[id as usize].as_mut().expect("there");
            entry.identity = forged;
            entry.next = index.by_identity.insert(forged, id).unwrap_or(NONE);
        }
        let find = |index: &Index, service: &'static str, metric: &str| {
            index.find(forged, metric, [("service", service)].into_iter()).map(|found| found.0)
        };
        assert_eq!((find(&index, "web", "errors"), find(&index, "api", "other")), (Some(2), Some(3)));
        index.remove(&[1, 3]);
        assert_eq!((find(&index, "web", "errors"), find(&index, "api", "other")), (Some(2), None));
        index.remove(&[0]);
        assert_eq!(find(&index, "web", "errors"), Some(2));
    }
}
