//! Sums that keep what rounding would lose, as Neumaier's variant of Kahan's does.

/// A compensated sum; [`Sum::total`] adds the compensation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    pub(crate) sum: f64,
    pub(crate) lost: f64,
}

impl Sum {
    /// The sum after one more term. What rounding loses is found as Knuth's TwoSum does it: it is exact whichever of the
    /// two is larger, so that there is nothing to decide.
    #[inline]
    pub(crate) fn plus(self, term: f64) -> Self {
        let sum = self.sum + term;
        let of_term = sum - self.sum;
        let rounded = (self.sum - (sum - of_term)) + (term - of_term);
        // Beside the largest number a difference may overflow although the sum does not: half its last digit is let go.
        let rounded = if rounded.is_finite() { rounded } else { 0.0 };
        let lost = if sum.is_infinite() {
            0.0
        } else {
            self.lost + rounded
        };
        Self { sum, lost }
    }

    /// The sum of both.
    pub(crate) fn join(self, later: Self) -> Self {
        let mut sum = self.plus(later.sum);
        if sum.sum.is_finite() {
            sum.lost += later.lost;
        }
        sum
    }

    /// Sum and compensation together.
    pub(crate) fn total(self) -> f64 {
        self.sum + self.lost
    }

    /// Both parts multiplied.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self {
            sum: self.sum * factor,
            lost: self.lost * factor,
        }
    }
}

/// An average that sums first and divides once, and turns to a running mean only when the sum overflows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mean {
    count: f64,
    sum: Sum,
    running: bool,
}

impl Mean {
    /// The average after one more value.
    pub(crate) fn plus(mut self, value: f64) -> Self {
        self.count += 1.0;
        if self.count == 1.0 {
            self.sum.sum = value;
            return self;
        }
        if !self.running {
            let next = self.sum.plus(value);
            if !next.sum.is_infinite() {
                self.sum = next;
                return self;
            }
            self.running = true;
            let before = self.count - 1.0;
            self.sum = Sum {
                sum: self.sum.sum / before,
                lost: self.sum.lost / before,
            };
        }
        let keep = (self.count - 1.0) / self.count;
        self.sum = self.sum.scaled(keep).plus(value / self.count);
        self
    }

    /// The average of both.
    pub(crate) fn join(self, later: Self) -> Self {
        if self.count == 0.0 || later.count == 0.0 {
            return if self.count == 0.0 { later } else { self };
        }
        let count = self.count + later.count;
        if !self.running && !later.running {
            let sum = self.sum.join(later.sum);
            if !sum.sum.is_infinite() {
                return Mean {
                    count,
                    sum,
                    running: false,
                };
            }
        }
        let share = |mean: Mean| {
            let of_all = if mean.running {
                mean.count / count
            } else {
                1.0 / count
            };
            mean.sum.scaled(of_all)
        };
        Mean {
            count,
            sum: share(self).join(share(later)),
            running: true,
        }
    }

    /// The average; `None` of nothing.
    pub(crate) fn value(self) -> Option<f64> {
        if self.count == 0.0 {
            None
        } else if self.running {
            Some(self.sum.total())
        } else {
            Some(self.sum.sum / self.count + self.sum.lost / self.count)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_survive_large_ones() {
        let sum = [1.0, 1e100, 1.0, -1e100]
            .into_iter()
            .fold(Sum::default(), Sum::plus);
        assert_eq!(sum.total(), 2.0);
    }

    #[test]
    fn beside_the_largest_number_a_sum_is_still_one() {
        // Half way between two floats: the sum rounds to where it is that far from the term.
        let ulp = f64::MAX - f64::MAX.next_down();
        let sum = [-1.5 * ulp, f64::MAX].into_iter().fold(Sum::default(), Sum::plus);
        assert_eq!((sum.sum, sum.lost), (f64::MAX - ulp, 0.0));
        let infinite = sum.plus(f64::MAX);
        assert_eq!((infinite.sum, infinite.lost), (f64::INFINITY, 0.0));
        assert!(infinite.plus(f64::NEG_INFINITY).total().is_nan());
    }

    #[test]
    fn an_average_of_huge_values_does_not_overflow() {
        let mean = [f64::MAX, f64::MAX, f64::MAX]
            .into_iter()
            .fold(Mean::default(), Mean::plus);
        let relative = (mean.value().unwrap() / f64::MAX - 1.0).abs();
        assert!(relative < 1e-12, "{relative}");
        assert_eq!(Mean::default().value(), None);
    }
}
