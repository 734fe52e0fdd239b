//! Windows as runs of panes.

/// The time between two neighbouring cuts is a pane: after the first, up to and including the second. All windows
/// together are cut at their beginnings and ends.
#[derive(Debug)]
pub(crate) struct Panes {
    cuts: Vec<i64>,
    /// For each window its first pane, and the one after its last. Neither decreases.
    windows: Vec<(usize, usize)>,
}

impl Panes {
    /// Windows that end at the steps, which increase.
    pub(crate) fn new(steps: &[i64], window_ms: i64) -> Self {
        let starts = steps.iter().map(|step| step - window_ms);
        let mut cuts: Vec<i64> = starts.chain(steps.iter().copied()).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let at = |cut: i64| cuts.partition_point(|other| *other < cut);
        let windows = steps.iter().map(|step| (at(step - window_ms), at(*step))).collect();
        Self { cuts, windows }
    }

    pub(crate) fn len(&self) -> usize {
        self.cuts.len() - 1
    }

    pub(crate) fn windows(&self) -> &[(usize, usize)] {
        &self.windows
    }

    /// After which time, and up to and including which, all panes lie.
    pub(crate) fn span(&self) -> (i64, i64) {
        (self.cuts[0], self.cuts[self.cuts.len() - 1])
    }

    /// The pane of a time in the span. `guess` is where the sample before was.
    pub(crate) fn find(&self, time: i64, guess: usize) -> usize {
        for pane in guess..(guess + 2).min(self.len()) {
            if time > self.cuts[pane] && time <= self.cuts[pane + 1] {
                return pane;
            }
        }
        self.cuts.partition_point(|cut| *cut < time) - 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_in_the_panes_of_its_windows(
            start in -1000_i64..1000, count in 1_i64..20, step in 1_i64..50, window in 1_i64..200,
            offset in 1_i64..1200, guess in 0_usize..40,
        ) {
            let steps: Vec<_> = (0..count).map(|index| start + index * step).collect();
            let panes = Panes::new(&steps, window);
            let (from, to) = panes.span();
            prop_assert_eq!((from, to), (start - window, start + (count - 1) * step));
            let time = from + 1 + (offset - 1) % (to - from);
            let pane = panes.find(time, guess);
            for (step, (first, end)) in steps.iter().zip(panes.windows()) {
                prop_assert_eq!(time > step - window && time <= *step, (*first..*end).contains(&pane));
            }
        }
    }
}
