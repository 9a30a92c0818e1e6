//! Rates: differences between the counters of two looks, divided by the time between them. Must never know what is shown of
//! them.

use crate::limits::STATUS_RATE_MS_MIN;
use crate::metrics::Counters;

/// Two looks to measure rates from.
#[derive(Debug, Default)]
pub struct Pace {
    older: Totals,
    newer: Totals,
}

/// The counters of each shard at one look; None where it was silent.
#[derive(Debug, Clone, Default)]
struct Totals {
    at_ms: u64,
    shards: Vec<Option<Count>>,
}

/// What rates are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) received: u64,
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
}

/// What was counted between two looks.
#[derive(Debug)]
pub(super) struct Growth {
    /// The time between them, in milliseconds.
    pub(super) over_ms: u64,
    /// By shard; nothing where it was silent at either look.
    shards: Vec<Count>,
}

impl Pace {
    /// A node begins at `at_ms`, in milliseconds on its own clock, with nothing counted.
    #[must_use]
    pub fn since_start(at_ms: u64, shards: usize) -> Self {
        let nothing = Totals { at_ms, shards: vec![Some(Count::default()); shards] };
        Self { older: nothing.clone(), newer: nothing }
    }

    /// What was counted since the latest look that is long enough ago to tell a rate. However often somebody looks, rates are
    /// taken over no less.
    pub(super) fn growth(&mut self, at_ms: u64, shards: &[Option<&Counters>]) -> Growth {
        let now = Totals { at_ms, shards: shards.iter().map(|counters| counters.map(Count::of)).collect() };
        let is_late = at_ms >= self.newer.at_ms + STATUS_RATE_MS_MIN;
        let base = if is_late { &self.newer } else { &self.older };
        let both = now.shards.iter().zip(&base.shards);
        let grown = both.map(|pair| match pair {
            (Some(now), Some(before)) => now.since(*before),
            (None, _) | (_, None) => Count::default(),
        });
        let growth = Growth { over_ms: at_ms.saturating_sub(base.at_ms).max(1), shards: grown.collect() };
        if is_late {
            self.older = std::mem::replace(&mut self.newer, now);
        }
        growth
    }
}

impl Count {
    fn of(counters: &Counters) -> Self {
        Self {
            received: counters.messages_received,
            published: counters.published,
            delivered: counters.delivered,
            bytes_received: counters.bytes_received,
            bytes_sent: counters.bytes_sent,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            received: self.received - before.received,
            published: self.published - before.published,
            delivered: self.delivered - before.delivered,
            bytes_received: self.bytes_received - before.bytes_received,
            bytes_sent: self.bytes_sent - before.bytes_sent,
        }
    }
}

impl Growth {
    /// Of all shards, to a tenth.
    pub(super) fn per_second(&self, read: fn(&Count) -> u64) -> f64 {
        self.rate(self.shards.iter().map(read).sum())
    }

    /// Of one shard, to a tenth.
    pub(super) fn per_second_of(&self, shard: usize, read: fn(&Count) -> u64) -> f64 {
        self.rate(self.shards.get(shard).map_or(0, read))
    }

    fn rate(&self, count: u64) -> f64 {
        (count as f64 * 10_000.0 / self.over_ms as f64).round() / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(published: u64) -> Counters {
        Counters { published, ..Counters::default() }
    }

    fn published(pace: &mut Pace, at_ms: u64, counts: [Option<u64>; 2]) -> (u64, f64) {
        let counters = counts.map(|count| count.map(counters));
        let growth = pace.growth(at_ms, &counters.each_ref().map(Option::as_ref));
        (growth.over_ms, growth.per_second(|count| count.published))
    }

    #[test]
    fn the_first_rate_is_the_mean_since_the_start_and_the_next_that_since_the_look_before() {
        let mut pace = Pace::since_start(10_000, 2);
        assert_eq!(published(&mut pace, 30_000, [Some(40), Some(2)]), (20_000, 2.1));
        assert_eq!(published(&mut pace, 31_000, [Some(47), Some(3)]), (1_000, 8.0));
        assert_eq!(published(&mut pace, 32_500, [Some(47), Some(3)]), (1_500, 0.0));
    }

    #[test]
    fn whoever_looks_often_does_not_shorten_the_time_that_rates_are_taken_over() {
        let mut pace = Pace::since_start(0, 2);
        published(&mut pace, 10_000, [Some(0), Some(0)]);
        published(&mut pace, 11_000, [Some(100), Some(0)]);
        for at_ms in (11_100..11_900).step_by(100) {
            let (over_ms, rate) = published(&mut pace, at_ms, [Some(100), Some(0)]);
            assert_eq!(over_ms, at_ms - 10_000);
            assert!((50.0..100.0).contains(&rate), "a hundred since the look at 10,000: {rate}");
        }
        assert_eq!(published(&mut pace, 11_900, [Some(109), Some(0)]), (900, 10.0));
    }

    #[test]
    fn a_shard_that_was_silent_at_either_look_adds_nothing() {
        let mut pace = Pace::since_start(0, 2);
        assert_eq!(published(&mut pace, 1_000, [Some(5), None]), (1_000, 5.0));
        assert_eq!(published(&mut pace, 2_000, [Some(9), Some(1_000_000)]), (1_000, 4.0));
        assert_eq!(published(&mut pace, 3_000, [None, Some(1_000_006)]), (1_000, 6.0));
    }
}
