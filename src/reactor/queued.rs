//! What is queued in the whole node: each shard's part, and the sum. Must never be asked or told more than once a turn, and
//! never decide what is done about it: that is the shards'.
//!
//! Whoever takes the sum over the budget rings for those who must make room, because they may be asleep. Nobody is missed:
//! a part is written before it is added, so whoever finds that its addition crossed the budget sees the parts of all who added
//! before; and who adds afterwards finds the sum over the budget itself.

use crate::hub::ShardId;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The books of all shards.
#[derive(Debug)]
pub struct Queued {
    total_bytes_max: usize,
    parts: Vec<AtomicUsize>,
    total: AtomicUsize,
}

impl Queued {
    /// Nothing is queued by so many shards, who may queue so many bytes together.
    #[must_use]
    pub fn new(shards: usize, total_bytes_max: usize) -> Self {
        let parts = (0..shards).map(|_| AtomicUsize::new(0)).collect();
        Self { total_bytes_max, parts, total: AtomicUsize::new(0) }
    }

    /// Notes what a shard has queued now; it alone says so. True when this took the node over its budget.
    pub fn note(&self, shard: ShardId, bytes: usize) -> bool {
        let part = &self.parts[usize::from(shard.0)];
        let before = part.load(Ordering::Relaxed);
        if before == bytes {
            return false;
        }
        part.store(bytes, Ordering::Relaxed);
        // Wraps where it shrinks, as the addition does.
        let change = bytes.wrapping_sub(before);
        let total = self.total.fetch_add(change, Ordering::AcqRel);
        total <= self.total_bytes_max && total.wrapping_add(change) > self.total_bytes_max
    }

    /// What the shards other than this one have queued.
    #[must_use]
    pub fn elsewhere(&self, shard: ShardId) -> usize {
        let part = self.parts[usize::from(shard.0)].load(Ordering::Relaxed);
        self.total.load(Ordering::Acquire).saturating_sub(part)
    }

    /// Shards that have more than their share queued, by index.
    pub fn over_share(&self) -> impl Iterator<Item = usize> {
        let share_bytes = self.total_bytes_max / self.parts.len().max(1);
        let parts = self.parts.iter().enumerate();
        parts.filter(move |(_, part)| part.load(Ordering::Relaxed) > share_bytes).map(|(shard, _)| shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_crosses_the_budget_is_told_and_finds_who_has_more_than_its_share() {
        let queued = Queued::new(2, 100);
        let [first, second] = [ShardId(0), ShardId(1)];
        assert!(!queued.note(first, 100), "all that there is may be one shard's");
        assert_eq!([queued.elsewhere(first), queued.elsewhere(second)], [0, 100]);
        assert!(queued.note(second, 1));
        assert_eq!(queued.over_share().collect::<Vec<_>>(), [0]);
        assert!(!queued.note(second, 40), "it is over the budget already");
        assert!(!queued.note(first, 50));
        assert_eq!([queued.elsewhere(first), queued.elsewhere(second)], [40, 50]);
        assert_eq!(queued.over_share().count(), 0);
        assert!(queued.note(second, 51));
        assert_eq!(queued.over_share().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn the_sum_is_exact_whoever_adds_at_the_same_time() {
        let queued = Queued::new(4, 3 * 999);
        std::thread::scope(|scope| {
            for shard in 0..4u16 {
                let queued = &queued;
                scope.spawn(move || (0..1_000).for_each(|bytes| _ = queued.note(ShardId(shard), bytes)));
            }
        });
        assert_eq!((0..4).map(|shard| queued.elsewhere(ShardId(shard))).collect::<Vec<_>>(), [3 * 999; 4]);
        assert_eq!(queued.over_share().count(), 4);
    }
}
