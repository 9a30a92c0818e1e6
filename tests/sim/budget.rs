//! What is queued to clients, as a look at every one of them finds it, against what the shards keep of it and against what the
//! node may have queued.
//!
//! At the end of its turn a shard is at its share, or the node is in bounds as far as the shard was told. Of all shards over
//! their share the one whose turn was the last knew of the others' parts, so they and it were in bounds together; since then the
//! others have come to their shares at most. So the node never has more than its budget and all shares but one: the budget where
//! there is one shard, and below twice the budget however late a shard wakes. Within a turn it is what the turn has queued so
//! far; that is gone when the turn ends.

use crate::world::World;
use roost::limits::QUEUE_TOTAL_BYTES_MAX;

impl World {
    /// Held after every step.
    pub(crate) fn check_queues(&self) {
        let max = self.limits.queue_total_bytes;
        let (shards, share) = (self.node.len(), max / self.node.len());
        let mut total = 0;
        for (id, shard) in self.node.shards.iter().enumerate() {
            let here = self.clients.iter().filter(|client| client.shard == id);
            let lags: Vec<usize> = here.map(|client| shard.queued_to(client.token)).collect();
            let (sum, most) = (lags.iter().sum::<usize>(), lags.iter().copied().max().unwrap_or(0));
            let queues = lags.iter().filter(|&&lag| lag > 0).count();
            let counters = shard.counters();
            assert_eq!(shard.queued_bytes(), sum, "bytes queued by shard {id}");
            assert_eq!((counters.queued_bytes, counters.queues), (sum as u64, queues as u64), "shard {id}");
            let largest = (most + 1).next_power_of_two() - 1;
            assert_eq!(counters.queue_largest_bytes, largest as u64, "the largest queue of shard {id}");
            total += sum;
        }
        // A turn may end before a crowd is cut, and then goes on at once.
        let cutting = self.node.shards.iter().any(|shard| shard.is_over_total());
        assert!(
            cutting || total <= max.saturating_add((shards - 1) * share),
            "{total} bytes queued of {max}"
        );
        if total > max {
            let acts = |id: &usize| {
                self.node.shards[*id].queued_bytes() > share && self.node.has_cause(*id, self.now)
            };
            assert!((0..shards).any(|id| acts(&id)), "{total} bytes queued of {max}, and nobody cuts");
        }
    }

    /// Held whenever nothing is under way.
    pub(crate) fn check_within_budget(&self) {
        let total: usize = self.node.shards.iter().map(|shard| shard.queued_bytes()).sum();
        let max = self.limits.queue_total_bytes;
        assert!(total <= max, "{total} bytes queued of {max}");
    }

    pub(crate) fn has_tight_total(&self) -> bool {
        self.limits.queue_total_bytes < QUEUE_TOTAL_BYTES_MAX
    }
}
