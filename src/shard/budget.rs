//! The node has more queued than it may: the largest lags are acted on first. Must never search the connection table for
//! them, and never take a shard below its share.
//!
//! A shard knows exactly what is queued here, and from whoever drives it what was queued elsewhere when it was told last. Shares
//! are equal, so while the node is over its budget at least one shard is over its share: whatever the others do, it cuts. It
//! stops at its share, or once the node is in bounds as far as it knows. Shards that are told the same at the same time may all
//! cut for it; then the node ends a little lower than it had to.
//!
//! What is queued here is the weight of all queues: shared bytes count for everyone who waits for them, also where they are in
//! memory once. So the memory is less than what is counted, and how much less depends on what is published.

use super::conn_table::Token;
use super::{Settings, Shard};
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::disconnect::Bound;
use crate::limits::CUT_BUDGET;

/// What may be queued, and what the shard knows of the others.
#[derive(Debug)]
pub(super) struct Budget {
    /// For all shards together, in bytes.
    total_bytes: usize,
    /// Each shard's equal part.
    share_bytes: usize,
    /// Queued by all other shards.
    elsewhere_bytes: usize,
    /// The last turn left some to be cut.
    cutting: bool,
}

impl Budget {
    pub(super) fn new(settings: &Settings) -> Self {
        let total_bytes = settings.limits.queue_total_bytes;
        let share_bytes = total_bytes / usize::from(settings.shards.max(1));
        Self { total_bytes, share_bytes, elsewhere_bytes: 0, cutting: false }
    }

    /// Whether room must be made before anything else is queued: nothing is handed out until then, so that what one turn can
    /// queue is all that the node is ever over its budget.
    pub(super) fn is_cutting(&self) -> bool {
        self.cutting
    }

    fn is_over(&self, here_bytes: usize) -> bool {
        here_bytes > self.share_bytes && here_bytes.saturating_add(self.elsewhere_bytes) > self.total_bytes
    }
}

impl<S: Socket> Shard<S> {
    /// The weight of all queues here, in bytes; see [`crate::conn::out_queue::OutQueue::weight`].
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.conns.lags().bytes()
    }

    /// The weight of what waits for one connection, in bytes; 0 where the token is stale.
    #[must_use]
    pub fn queued_to(&self, token: Token) -> usize {
        let active = self.conns.find(token).and_then(|conn| conn.active.as_ref());
        active.map_or(0, |active| active.out().weight())
    }

    /// Notes the weight of all queues of the other shards.
    pub fn set_queued_elsewhere(&mut self, bytes: usize) {
        self.budget.elsewhere_bytes = bytes;
    }

    /// Whether the node has more queued than it may, as far as is known here, and this shard more than its share: its next
    /// turn cuts.
    #[must_use]
    pub fn is_over_total(&self) -> bool {
        self.budget.is_over(self.queued_bytes())
    }

    /// Acts on the largest lags, within a budget. True while there is more to do.
    pub(super) fn cut_largest(&mut self, now: Now) -> bool {
        for _ in 0..CUT_BUDGET {
            if !self.is_over_total() {
                break;
            }
            let Some(slot) = self.conns.lags().largest() else { break };
            self.cut_lag(now, slot);
        }
        self.budget.cutting = self.is_over_total();
        self.budget.cutting
    }

    fn cut_lag(&mut self, now: Now, slot: u32) {
        let conn = &self.conns[slot];
        if conn.corked {
            // This may be no lag at all: it waits for owners, and is written now.
            return self.uncork(now, slot);
        }
        match conn.phase {
            Phase::Live
            | Phase::Echo
            | Phase::Stream
            | Phase::Head
            | Phase::Poll
            | Phase::Body
            | Phase::Call
            | Phase::Kept => self.cut_slow(now, slot, Bound::Total),
            // It was told to go, and what is left for it, down to a frame begun, is more than anybody else has.
            Phase::Lingering | Phase::Dead => self.die(slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_the_node_is_over_its_budget_some_shard_is_over_its_share() {
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..10_000 {
            let shards = rng.usize(1..20);
            let total_bytes = rng.usize(0..1_000);
            let parts: Vec<usize> = (0..shards).map(|_| rng.usize(..=2 * total_bytes / shards + 1)).collect();
            let sum: usize = parts.iter().sum();
            let over = parts.iter().any(|&part| {
                let (share_bytes, elsewhere_bytes) = (total_bytes / shards, sum - part);
                Budget { total_bytes, share_bytes, elsewhere_bytes, cutting: false }.is_over(part)
            });
            assert_eq!(over, sum > total_bytes, "{parts:?} of {total_bytes}");
        }
    }
}
