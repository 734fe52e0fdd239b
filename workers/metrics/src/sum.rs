//! Sums that do not depend on the order of their terms.

/// A sum with the rounding error of its additions kept beside it, so that the same samples give the same number
/// however they are split over series, chunks and steps.
///
/// The algorithm is that of A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", ZAMM
/// 54, 1974, in the form that adds two such sums.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sum {
    total: f64,
    error: f64,
}

impl Sum {
    pub(crate) const fn new(value: f64) -> Self {
        Self { total: value, error: 0.0 }
    }

    pub(crate) const fn from_parts(total: f64, error: f64) -> Self {
        Self { total, error }
    }

    pub(crate) const fn parts(self) -> (f64, f64) {
        (self.total, self.error)
    }

    pub(crate) fn add(&mut self, value: f64) {
        let total = self.total + value;
        self.error +=
            if self.total.abs() >= value.abs() { (self.total - total) + value } else { (value - total) + self.total };
        self.total = total;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.add(other.total);
        self.error += other.error;
    }

    pub(crate) fn value(self) -> f64 {
        // Beyond the greatest number the error is not a number.
        if self.total.is_finite() { self.total + self.error } else { self.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter() {
        let terms = [1e16, 0.1, -1e16, 0.2, 1.0, 1e-9];
        let sum = |terms: &[f64]| {
            let mut sum = Sum::default();
            for term in terms {
                sum.add(*term);
            }
            sum
        };
        let mut reversed = terms;
        reversed.reverse();
        assert_eq!(sum(&terms).value(), sum(&reversed).value());
        let mut merged = sum(&terms[..3]);
        merged.merge(sum(&terms[3..]));
        assert_eq!(merged.value(), sum(&terms).value());
        assert_eq!(sum(&[f64::MAX, f64::MAX]).value(), f64::INFINITY);
    }
}
