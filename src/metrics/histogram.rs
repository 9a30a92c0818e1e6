//! Leaf: how long something took, counted in buckets. Must never know a clock: durations are told.

use std::ops::AddAssign;

/// Durations of one kind: plain numbers of one writer, a few nanoseconds a count, copied when somebody asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Those up to each bound and over the one before, then those over the last.
    buckets: [u64; BOUNDS_US.len() + 1],
    /// All of them together, in microseconds.
    sum_us: u64,
}

impl Histogram {
    /// Counts a duration, in microseconds.
    pub fn observe(&mut self, us: u64) {
        self.buckets[BOUNDS_US.partition_point(|&bound_us| bound_us < us)] += 1;
        self.sum_us += us;
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together, in seconds.
    #[must_use]
    pub fn sum_s(&self) -> f64 {
        seconds(self.sum_us)
    }

    /// The buckets for the text format: the bound of each, in seconds, and how many are in it alone.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_US.iter().map(|&us| seconds(us)).chain([f64::INFINITY]);
        bounds.zip(self.buckets).collect()
    }
}

impl AddAssign for Histogram {
    fn add_assign(&mut self, other: Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(mine, theirs)| *mine += theirs);
        self.sum_us += other.sum_us;
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// Upper bounds of the buckets, in microseconds: a turn without work takes tens of them, a pass over a million clients seconds.
const BOUNDS_US: [u64; 19] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_under_the_least_bound_that_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        [0, 10, 11, 1_000, 1_001, 10_000_000, 10_000_001].into_iter().for_each(|us| histogram.observe(us));
        let filled: Vec<(f64, u64)> =
            histogram.buckets().into_iter().filter(|&(_, count)| count > 0).collect();
        let expected = [(1e-5, 2), (2.5e-5, 1), (1e-3, 1), (2.5e-3, 1), (10.0, 1), (f64::INFINITY, 1)];
        assert_eq!(filled, expected);
        assert_eq!((histogram.count(), histogram.sum_s()), (7, 20.002_023));
    }

    #[test]
    fn two_histograms_are_one_of_all_that_both_have_counted() {
        let [mut left, mut right, mut both] = [Histogram::default(); 3];
        for us in [3, 70, 70_000] {
            left.observe(us);
            right.observe(us * us);
            both.observe(us);
            both.observe(us * us);
        }
        left += right;
        assert_eq!(left, both);
    }
}
