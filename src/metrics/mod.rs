//! Leaf: what the node counts. Plain numbers of one shard, copied out on request; nothing here is shared or locked.

pub mod broker;
pub mod cause;
pub mod ends;
pub mod heap;
pub mod histogram;
pub mod host;
pub mod look;
pub mod memory;
pub mod text;

use crate::disconnect::Bound;
use cause::{Cause, TOKEN_CAUSES};
use ends::Ends;
use histogram::Histogram;
use serde::{Deserialize, Serialize};

/// One shard's counters. All but the gauges only ever rise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused because the shard was full or out of descriptors.
    pub accepts_refused: u64,
    /// Upgrades that got a 101.
    pub upgraded: u64,
    /// Streams of events opened.
    pub streams: u64,
    /// Polls begun.
    pub polls: u64,
    /// Bytes read from peers.
    pub bytes_received: u64,
    /// Bytes written to peers.
    pub bytes_sent: u64,
    /// Text and binary messages from peers.
    pub messages_received: u64,
    /// Publications that this shard numbered.
    pub published: u64,
    /// Publications that came with the id of an earlier one, and were answered with its place.
    pub repeated: u64,
    /// Publications refused with `overloaded`.
    pub overloaded: u64,
    /// Publications written or queued to subscribers.
    pub delivered: u64,
    /// Walks over a subscriber list.
    pub passes: u64,
    /// Publications of those walks: more than one of a batch share a write.
    pub pass_publications: u64,
    /// Those walks by how many publications they carried: up to 1, 2, 4 and so on up to 1,024, and more.
    pub pass_sizes: [u64; PASS_SIZES],
    /// Writes that did not take everything, so that a queue began.
    pub short_writes: u64,
    /// Pings sent.
    pub pings: u64,
    /// Gaps announced.
    pub gaps: u64,
    /// Publications that those gaps cover.
    pub gap_publications: u64,
    /// Subscriptions put behind, because their client reads slowly or is hidden.
    pub paused: u64,
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
    /// What turns took, from the moment that the poll returned, without the wait for the next.
    pub turn_times: Histogram,
    /// What walks took, from the moment that they were lined up to the end of the turn of their last write.
    pub pass_times: Histogram,
    /// How late turns began that a moment had been set for.
    pub lags: Histogram,
    /// Ends by reason and transport.
    pub disconnects: Ends,
    /// Clients that were kept out, by what they failed at, in the order of [`Cause::ALL`].
    pub handshake_failures: [u64; Cause::ALL.len()],
    /// Tokens refused, by the reason against them, in the order of [`TOKEN_CAUSES`].
    pub token_refusals: [u64; TOKEN_CAUSES.len()],
    /// Clients told to go by a drain.
    pub drained: u64,
    /// Slow consumers cut, by the bound that they were over, in the order of [`Bound::ALL`].
    pub slow_consumers: [u64; Bound::ALL.len()],
    /// Announcements of how many follow a channel.
    pub presence_events: u64,
    /// Ids of publications forgotten before their time for want of room.
    pub ids_evicted: u64,
    /// Gauge: connections.
    pub connections: u64,
    /// Gauge: those of them that speak in one way or another, in the order of [`Transport::ALL`].
    pub transports: [u64; Transport::ALL.len()],
    /// Gauge: weight of what is queued to connections, in bytes; see [`crate::conn::out_queue::OutQueue::weight`].
    pub queued_bytes: u64,
    /// Gauge: connections that have something queued.
    pub queues: u64,
    /// Gauge: what the largest of those queues weighs at most, in bytes: the next power of two, less one.
    pub queue_largest_bytes: u64,
    /// Gauge: connections that are signed in.
    pub signed_in: u64,
    /// Gauge: clients that a drain under way has still to tell.
    pub drain_left: u64,
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
    /// Gauge: channels numbered here whose followers are counted.
    pub presence_channels: u64,
    /// Gauge: ids of publications remembered here.
    pub ids: u64,
}

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A WebSocket.
    WebSocket,
    /// A stream of events.
    Sse,
    /// Requests one behind the other, polls most of them: one is held, or the next one is waited for.
    Poll,
}

impl Transport {
    /// All variants, for metrics.
    pub const ALL: [Self; 3] = [Self::WebSocket, Self::Sse, Self::Poll];

    /// The value of the `transport` label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
            Self::Poll => "poll",
        }
    }

    /// The place in [`Transport::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl Counters {
    /// Counts a walk over a subscriber list that carried so many publications.
    pub fn count_pass(&mut self, publications: usize) {
        self.passes += 1;
        self.pass_publications += publications as u64;
        let size = publications.max(1).next_power_of_two().ilog2() as usize;
        self.pass_sizes[size.min(PASS_SIZES - 1)] += 1;
    }

    /// Counts a gap that a client is told of: the offsets `from..=to`, or 1 to 0 where nothing was published in a new epoch.
    pub fn count_gap(&mut self, from: u64, to: u64) {
        self.gaps += 1;
        self.gap_publications += to + 1 - from;
    }
}

/// Sizes of walks that are told apart: eleven powers of two, and beyond.
pub const PASS_SIZES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_counts_where_its_size_is_the_most_that_fits() {
        let mut counters = Counters::default();
        [1, 2, 3, 4, 5, 1024, 1025, 70_000].into_iter().for_each(|size| counters.count_pass(size));
        assert_eq!(counters.pass_sizes, [1, 1, 2, 1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(
            (counters.passes, counters.pass_publications),
            (8, 1 + 2 + 3 + 4 + 5 + 1024 + 1025 + 70_000)
        );
    }
}
