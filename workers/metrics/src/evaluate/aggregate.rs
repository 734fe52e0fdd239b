//! Everything but quantiles: sum, number, least, greatest and latest sample of each window.

use taffrail_query::Function;

use super::Collect;
use super::panes::Panes;
use crate::sketch::Sketch;
use crate::sum::Sum;

/// Some samples. Two of them, one after the other, are one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aggregate {
    sum: Sum,
    count: u64,
    min: f64,
    max: f64,
    /// Time and series of the latest sample, which decides between samples of one time.
    last: (i64, u32),
    last_value: f64,
}

impl Aggregate {
    const EMPTY: Self = Self {
        sum: Sum::from_parts(0.0, 0.0),
        count: 0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        last: (i64::MIN, 0),
        last_value: 0.0,
    };

    fn add(&mut self, time: i64, value: f64, series: u32) {
        self.merge(&Self {
            sum: Sum::new(value),
            count: 1,
            min: value,
            max: value,
            last: (time, series),
            last_value: value,
        });
    }

    fn merge(&mut self, other: &Self) {
        self.sum.merge(other.sum);
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        // Of samples of one series and time the one that is given last.
        if other.last >= self.last {
            self.last = other.last;
            self.last_value = other.last_value;
        }
    }

    /// The function's value; none is *no data*. A counter that is there counts from zero.
    pub(crate) fn finish(&self, function: Function, has_counter: bool, seconds: f64) -> Option<f64> {
        let any = self.count > 0;
        let count = self.count as f64;
        match function {
            Function::Sum => (any || has_counter).then(|| self.sum.value()),
            Function::Count => (any || has_counter).then_some(count),
            Function::Rate if has_counter => Some(self.sum.value() / seconds),
            Function::Rate => any.then(|| count / seconds),
            Function::Avg => any.then(|| self.sum.value() / count),
            Function::Min => any.then_some(self.min),
            Function::Max => any.then_some(self.max),
            Function::Last => any.then_some(self.last_value),
            // Collected by `Quantiles`.
            Function::Quantile(_) => None,
        }
    }
}

/// The samples of each pane.
pub(crate) struct Collected<'a> {
    panes: &'a Panes,
    aggregates: Vec<Aggregate>,
    guess: usize,
}

impl<'a> Collected<'a> {
    pub(crate) fn new(panes: &'a Panes) -> Self {
        Self { panes, aggregates: vec![Aggregate::EMPTY; panes.len()], guess: 0 }
    }

    /// The samples of each window.
    ///
    /// The window slides with two stacks, so that nothing is ever subtracted: K. Tangwongsan, M. Hirzel, S. Schneider,
    /// "Low-Latency Sliding-Window Aggregation in Worst-Case Constant Time", DEBS 2017, section 2 (two-stacks).
    pub(crate) fn evaluate(&self) -> Vec<Aggregate> {
        let mut answer = Vec::with_capacity(self.panes.windows().len());
        // For each pane from `first_suffix` to the turn what it and those after it up to the turn hold.
        let mut suffixes: Vec<Aggregate> = Vec::new();
        let mut first_suffix = 0;
        let mut turn = 0;
        // What the panes from the turn to `end_of_back` hold.
        let mut back = Aggregate::EMPTY;
        let mut end_of_back = 0;
        for &(first, end) in self.panes.windows() {
            if first >= turn {
                (first_suffix, turn, end_of_back, back) = (first, end, end, Aggregate::EMPTY);
                suffixes.clear();
                suffixes.resize(end - first, Aggregate::EMPTY);
                let mut suffix = Aggregate::EMPTY;
                for pane in (first..end).rev() {
                    let mut longer = self.aggregates[pane];
                    longer.merge(&suffix);
                    suffix = longer;
                    suffixes[pane - first] = suffix;
                }
            }
            for pane in end_of_back..end {
                back.merge(&self.aggregates[pane]);
            }
            end_of_back = end;
            let mut window = suffixes[first - first_suffix];
            window.merge(&back);
            answer.push(window);
        }
        answer
    }
}

impl Collect for Collected<'_> {
    fn sample(&mut self, time: i64, value: f64, series: u32) {
        self.guess = self.panes.find(time, self.guess);
        self.aggregates[self.guess].add(time, value, series);
    }

    fn dense(&mut self, time: i64, sketch: &Sketch, series: u32) {
        let pane = self.panes.find(time, self.guess);
        self.aggregates[pane].merge(&Aggregate {
            sum: sketch.sum,
            count: sketch.count,
            min: sketch.min,
            max: sketch.max,
            last: (sketch.last.0, series),
            last_value: sketch.last.1,
        });
    }
}
