//! Leaf: what the node counts. Plain numbers of one shard, copied out on request; nothing here is shared or locked.

pub mod heap;
pub mod memory;
pub mod text;

use crate::disconnect::Disconnect;

/// One shard's counters. All but the gauges only ever rise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused because the shard was full or out of descriptors.
    pub accepts_refused: u64,
    /// Upgrades that got a 101.
    pub upgraded: u64,
    /// Bytes read from peers.
    pub bytes_received: u64,
    /// Bytes written to peers.
    pub bytes_sent: u64,
    /// Text and binary messages from peers.
    pub messages_received: u64,
    /// Publications that this shard numbered.
    pub published: u64,
    /// Publications refused with `overloaded`.
    pub overloaded: u64,
    /// Publications written or queued to subscribers.
    pub delivered: u64,
    /// Walks over a subscriber list.
    pub passes: u64,
    /// Publications of those walks: more than one of a batch share a write.
    pub pass_publications: u64,
    /// Writes that did not take everything, so that a queue began.
    pub short_writes: u64,
    /// Pings sent.
    pub pings: u64,
    /// Gaps announced.
    pub gaps: u64,
    /// Clients that came back to a channel and have missed nothing of it.
    pub recovered: u64,
    /// Publications given to clients that came back.
    pub replayed: u64,
    /// Commands answered with an error.
    pub errors: u64,
    /// Panics caught while serving one connection.
    pub panics: u64,
    /// Turns of the reactor.
    pub turns: u64,
    /// Ends by reason, in the order of [`Disconnect::ALL`].
    pub disconnects: [u64; Disconnect::ALL.len()],
    /// Gauge: connections.
    pub connections: u64,
    /// Gauge: subscriptions.
    pub subscriptions: u64,
    /// Gauge: channels followed here.
    pub channels: u64,
    /// Gauge: channels numbered here.
    pub channels_owned: u64,
    /// Gauge: bytes of publications kept here.
    pub history_bytes: u64,
    /// Gauge: publications kept here.
    pub history_publications: u64,
}
