//! Where newcomers go: away from shards that are full, and nowhere once the node is. Must never refuse a client itself.

use crate::hub::ShardId;
use crate::hub::owned::ShardSet;
use crate::sys::reuseport::{spread, steer};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the shards know of each other's room.
#[derive(Debug)]
pub struct Steering {
    shards: u16,
    conns_max: usize,
    conns: AtomicUsize,
    full: Mutex<ShardSet>,
}

impl Steering {
    /// For `shards` shards with nobody in them, which may hold `conns_max` connections together.
    #[must_use]
    pub fn new(shards: u16, conns_max: usize) -> Self {
        Self { shards, conns_max, conns: AtomicUsize::new(0), full: Mutex::new(ShardSet::default()) }
    }

    /// Takes one of the node's places, if one is left: however many shards ask at once, no more come in than the node
    /// may hold.
    #[must_use]
    pub fn enter(&self) -> bool {
        let one_more = |conns| (conns < self.conns_max).then_some(conns + 1);
        self.conns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Gives the place back that [`Steering::enter`] took.
    pub fn leave(&self) {
        self.conns.fetch_sub(1, Ordering::Relaxed);
    }

    /// A shard had `before` connections when it last said so, and has `after` now.
    pub fn recount(&self, before: usize, after: usize) {
        // Wrapping: one addition serves both directions.
        self.conns.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    /// A shard became full, or has room again: the group of listeners follows.
    pub fn set_full(&self, shard: ShardId, full: bool, listener: &impl AsFd) {
        // Held over the system call, so that the last word in the kernel is the last word here.
        let mut set = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        if full {
            set.insert(shard)
        } else {
            set.remove(shard)
        }
        let open: Vec<u16> = (0..self.shards).filter(|&place| !set.contains(ShardId(place))).collect();
        let steered = match open.len() {
            // Everyone is full: whoever comes is refused wherever it lands.
            0 => Ok(()),
            all if all == usize::from(self.shards) => spread(listener),
            _ => steer(listener, &open),
        };
        if let Err(error) = steered {
            tracing::warn!(shard = shard.0, full, %error, "newcomers cannot be steered: a full shard answers 503");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn however_many_ask_at_once_no_more_enter_than_the_node_may_hold() {
        const CONNS_MAX: usize = 1000;
        let steering = Steering::new(4, CONNS_MAX);
        let entered: usize = thread::scope(|scope| {
            let ask = || (0..CONNS_MAX).filter(|_| steering.enter()).count();
            let shards: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            shards.into_iter().map(|shard| shard.join().unwrap()).sum()
        });
        assert_eq!(entered, CONNS_MAX);
        steering.leave();
        assert!(steering.enter() && !steering.enter());
        // A shard that counted a hundred has ninety left.
        steering.recount(100, 90);
        assert_eq!((0..100).filter(|_| steering.enter()).count(), 10);
    }
}
