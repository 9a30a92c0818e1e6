//! Latencies of one kind in one histogram, in nanoseconds. Must never know what was timed.

use hdrhistogram::Histogram;

use crate::limits::BENCH_LATENCY_NS_MAX;

/// Latencies from a microsecond to two minutes, told apart to three digits; some 200 KiB however many there are.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub(super) fn new() -> Self {
        // Cannot fail: the bounds are constants in the order that the histogram asks for.
        let histogram = Histogram::new_with_bounds(NS_MIN, BENCH_LATENCY_NS_MAX, DIGITS);
        Self(histogram.expect("constant bounds in order"))
    }

    /// Those of all threads together.
    pub(super) fn over<'a>(threads: impl Iterator<Item = &'a Self>) -> Self {
        let mut all = Self::new();
        threads.for_each(|latencies| all.merge(latencies));
        all
    }

    /// Adds one. What lies above the histogram counts as its end.
    pub(super) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Adds those of another thread.
    pub(super) fn merge(&mut self, other: &Self) {
        // Cannot fail: all have the same bounds.
        self.0.add(&other.0).expect("equal bounds");
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that the share `quantile` (0 to 1) does not exceed, in microseconds; 0 without any.
    pub(super) fn at_us(&self, quantile: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.value_at_quantile(quantile) as f64 / 1e3 }
    }

    /// The longest, in microseconds; 0 without any.
    pub(super) fn max_us(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }
}

const NS_MIN: u64 = 1_000;
const DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_three_digits() {
        let mut latencies = Latencies::new();
        (1..=1000).for_each(|ms| latencies.record(ms * 1_000_000));
        for (quantile, expected_us) in [(0.5, 500e3), (0.99, 990e3), (0.999, 999e3)] {
            let found = latencies.at_us(quantile);
            assert!((found / expected_us - 1.0).abs() < 0.001, "{quantile}: {found}");
        }
        assert!((latencies.max_us() / 1000e3 - 1.0).abs() < 0.001);
    }

    #[test]
    fn threads_add_up_and_extremes_are_kept_within_the_bounds() {
        let (mut one, mut two) = (Latencies::new(), Latencies::new());
        one.record(0);
        two.record(u64::MAX);
        one.merge(&two);
        assert_eq!(one.count(), 2);
        assert!(one.max_us() >= 120e6);
        assert_eq!(Latencies::new().at_us(0.99), 0.0);
    }
}
