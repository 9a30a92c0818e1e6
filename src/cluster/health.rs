//! How the broker is, for probes and metrics. Must never be waited for.

use super::line::Line;
use crate::metrics::broker::Broker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What the broker's thread counts. Any thread may look.
#[derive(Debug, Clone)]
pub struct Health {
    counts: Arc<Counts>,
    line: Line,
}

#[derive(Debug, Default)]
struct Counts {
    up: AtomicBool,
    connects: AtomicU64,
    incoming: AtomicU64,
    published: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    followed: AtomicU64,
    nodes: AtomicU64,
}

impl Health {
    pub(super) fn new(line: Line) -> Self {
        Self { counts: Arc::default(), line }
    }

    /// How it is now.
    #[must_use]
    pub fn look(&self) -> Broker {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Broker {
            up: self.is_up(),
            connects: count(&self.counts.connects),
            incoming: count(&self.counts.incoming),
            published: count(&self.counts.published),
            refused: count(&self.counts.refused),
            unknown: count(&self.counts.unknown),
            followed: count(&self.counts.followed),
            nodes: count(&self.counts.nodes),
            waiting_bytes: self.line.bytes() as u64,
        }
    }

    /// Whether the broker is there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.counts.up.load(Ordering::Relaxed)
    }

    pub(super) fn set_up(&self, up: bool) {
        self.counts.up.store(up, Ordering::Relaxed);
        if up {
            self.counts.connects.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_incoming(&self, more: usize) {
        self.counts.incoming.fetch_add(more as u64, Ordering::Relaxed);
    }

    pub(super) fn count_published(&self) {
        self.counts.published.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_unknown(&self) {
        self.counts.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// How many other nodes live, as far as is known: none while the broker is away.
    #[must_use]
    pub fn others(&self) -> usize {
        if self.is_up() { self.counts.nodes.load(Ordering::Relaxed).saturating_sub(1) as usize } else { 0 }
    }

    pub(super) fn set_nodes(&self, nodes: usize) {
        self.counts.nodes.store(nodes as u64, Ordering::Relaxed);
    }

    pub(super) fn set_followed(&self, followed: usize) {
        self.counts.followed.store(followed as u64, Ordering::Relaxed);
    }
}
