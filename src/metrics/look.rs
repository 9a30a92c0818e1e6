//! Leaf: what one shard shows of itself at one look, for the status page. Must never know who asked, nor take a walk.

use super::Counters;

/// One look at one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Its counters and gauges.
    pub counters: Counters,
    /// Connections whose queue is over the soft bound, of those looked at.
    pub over_soft: u64,
    /// There may be more of them: not all queues were looked at.
    pub truncated: bool,
    /// Those with the largest queues, the largest first.
    pub slowest: Vec<Laggard>,
}

/// A connection that has something queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Laggard {
    /// Its id, as `welcome` told it.
    pub session: Box<str>,
    /// Weight of its queue, in bytes.
    pub queued_bytes: u64,
    /// For how long it has been over the soft bound, in milliseconds; None when it is not.
    pub over_soft_ms: Option<u64>,
}
