//! Quantiles of the samples of each window.

use super::Collect;
use super::panes::Panes;
use crate::sketch::Sketch;

#[derive(Debug, Clone, Copy)]
struct Entry {
    value: f64,
    count: u32,
    pane: u32,
}

/// The values of each pane.
pub(crate) struct Quantiles<'a> {
    panes: &'a Panes,
    entries: Vec<Entry>,
    guess: usize,
}

impl<'a> Quantiles<'a> {
    pub(crate) const fn new(panes: &'a Panes) -> Self {
        Self { panes, entries: Vec::new(), guess: 0 }
    }

    /// The quantile of each window, none where it is empty; as in PromQL interpolated between the two nearest values: the
    /// one of rank `quantile * (n - 1)`.
    ///
    /// All values are sorted once. A tree of counts over them takes in what the window comes to and gives up what it
    /// leaves, and finds a rank in as many steps as it is high: P. Fenwick, "A New Data Structure for Cumulative Frequency
    /// Tables", Software: Practice and Experience 24(3), 1994.
    pub(crate) fn evaluate(mut self, quantile: f64) -> Vec<Option<f64>> {
        self.entries.sort_unstable_by(|a, b| a.value.total_cmp(&b.value));
        let order = self.by_pane();
        let mut counts = Counts::new(self.entries.len());
        let mut total = 0_u64;
        // The panes that are in the tree.
        let (mut first_in, mut end_in) = (0, 0);
        let mut answer = Vec::with_capacity(self.panes.windows().len());
        for &(first, end) in self.panes.windows() {
            for pane in end_in..end {
                for &at in &order.entries[order.range(pane)] {
                    let count = u64::from(self.entries[at as usize].count);
                    counts.change(at as usize, count);
                    total += count;
                }
            }
            for pane in first_in..first {
                for &at in &order.entries[order.range(pane)] {
                    let count = u64::from(self.entries[at as usize].count);
                    counts.change(at as usize, count.wrapping_neg());
                    total -= count;
                }
            }
            (first_in, end_in) = (first, end);
            answer.push((total > 0).then(|| {
                let rank = quantile * (total - 1) as f64;
                let below = rank.floor();
                let low = self.entries[counts.find(below as u64)].value;
                let part = rank - below;
                if part == 0.0 {
                    return low;
                }
                let high = self.entries[counts.find(below as u64 + 1)].value;
                low * (1.0 - part) + high * part
            }));
        }
        answer
    }

    /// Which entries are in each pane.
    fn by_pane(&self) -> ByPane {
        let mut starts = vec![0_u32; self.panes.len() + 1];
        for entry in &self.entries {
            starts[entry.pane as usize + 1] += 1;
        }
        for pane in 0..self.panes.len() {
            starts[pane + 1] += starts[pane];
        }
        let mut next = starts.clone();
        let mut entries = vec![0; self.entries.len()];
        for (at, entry) in self.entries.iter().enumerate() {
            let place = &mut next[entry.pane as usize];
            entries[*place as usize] = at as u32;
            *place += 1;
        }
        ByPane { starts, entries }
    }
}

struct ByPane {
    starts: Vec<u32>,
    entries: Vec<u32>,
}

impl ByPane {
    fn range(&self, pane: usize) -> std::ops::Range<usize> {
        self.starts[pane] as usize..self.starts[pane + 1] as usize
    }
}

impl Collect for Quantiles<'_> {
    fn sample(&mut self, time: i64, value: f64, _: u32) {
        self.guess = self.panes.find(time, self.guess);
        self.entries.push(Entry { value, count: 1, pane: self.guess as u32 });
    }

    fn dense(&mut self, time: i64, sketch: &Sketch, _: u32) {
        let pane = self.panes.find(time, self.guess) as u32;
        self.entries.extend(sketch.values().map(|(value, count)| Entry { value, count, pane }));
    }
}

/// Counts at places, with the sums of the counts before each.
struct Counts {
    /// From 1: the sum of the counts of as many places, up to this one, as its lowest set bit says.
    tree: Vec<u64>,
}

impl Counts {
    fn new(places: usize) -> Self {
        Self { tree: vec![0; places + 1] }
    }

    /// Adds to a place; to take away, adds the opposite modulo 2^64.
    fn change(&mut self, place: usize, by: u64) {
        let mut at = place + 1;
        while at < self.tree.len() {
            self.tree[at] = self.tree[at].wrapping_add(by);
            at += at & at.wrapping_neg();
        }
    }

    /// The place of the thing with this rank, counted from 0.
    fn find(&self, rank: u64) -> usize {
        let mut left = rank;
        let mut at = 0;
        let mut step = (self.tree.len() - 1).next_power_of_two();
        while step > 0 {
            if at + step < self.tree.len() && self.tree[at + step] <= left {
                at += step;
                left -= self.tree[at];
            }
            step /= 2;
        }
        at
    }
}
