//! A connection ends. Marks at once, frees at the end of the turn: nothing disappears under a running loop.
//! Must never end a connection without counting why.

use super::Shard;
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::disconnect::{Bound, Disconnect};
use crate::limits::FREE_BUDGET;
use crate::metrics::cause::Cause;
use crate::proto::frame::put_close;
use crate::proto::http::{Refusal, put_refusal_with};

impl<S: Socket> Shard<S> {
    /// Ends a WebSocket with a close frame, or a stream. Only while it is served: the frame goes into `replies`.
    pub(super) fn end(&mut self, now: Now, slot: u32, disconnect: Disconnect) {
        self.end_with(now, slot, disconnect, disconnect.reason());
    }

    /// As [`Shard::end`], with a reason of its own.
    pub(super) fn end_with(&mut self, now: Now, slot: u32, disconnect: Disconnect, reason: &str) {
        if self.conns[slot].phase == Phase::Stream {
            // It has no goodbye: its client comes back, and is told then why it may not.
            return self.linger(now, slot, disconnect);
        }
        put_close(&mut self.replies, disconnect.code(), reason);
        self.linger(now, slot, disconnect);
    }

    /// Answers the peer's close frame with the same code (RFC 6455 §5.5.1).
    pub(super) fn peer_closed(&mut self, now: Now, slot: u32, code: Option<u16>) {
        put_close(&mut self.replies, code.unwrap_or(0), "");
        self.linger(now, slot, Disconnect::PeerClosed);
    }

    /// Answers a request with an HTTP error and ends.
    pub(super) fn refuse(&mut self, now: Now, slot: u32, refusal: &Refusal) {
        self.refuse_as(now, slot, refusal, Disconnect::Refused);
    }

    /// As [`Shard::refuse`], with the reason that is counted.
    pub(super) fn refuse_as(&mut self, now: Now, slot: u32, refusal: &Refusal, disconnect: Disconnect) {
        self.count_failure(refusal.cause);
        let headers = self.cors_headers(slot);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        put_refusal_with(&mut self.replies, refusal, &headers);
        self.linger(now, slot, disconnect);
    }

    /// Ends a connection that does not read: what waits for it is thrown away, but for a frame already begun.
    /// `bound` is the one that it was over.
    pub(super) fn cut_slow(&mut self, now: Now, slot: u32, bound: Bound) {
        self.counters.slow_consumers[bound.index()] += 1;
        if !self.conns[slot].phase.is_websocket() {
            // It comes back by itself, from the last place that it has heard of.
            return self.die_of(slot, Disconnect::SlowConsumer);
        }
        let mut frame = Vec::new();
        put_close(&mut frame, Disconnect::SlowConsumer.code(), Disconnect::SlowConsumer.reason());
        self.conns.change_queue(slot, |out, _| {
            out.truncate_to_frame_begun();
            out.push_owned(frame);
        });
        self.linger(now, slot, Disconnect::SlowConsumer);
    }

    /// Says no more after what is written or queued; waits for their end.
    pub(super) fn linger(&mut self, now: Now, slot: u32, disconnect: Disconnect) {
        self.count_end(slot, disconnect);
        self.leave_all(now, slot);
        self.grants.remove(slot);
        self.enter(slot, Phase::Lingering);
        let conn = &mut self.conns[slot];
        conn.since = now.tick();
        if let Some(active) = &mut conn.active {
            active.head = Vec::new();
            active.body = None;
            active.gathered = Vec::new();
            active.over_soft_since = None;
            active.replays = None;
        }
        if conn.read_closed {
            // No edge of the poll will tell again that the peer has ended its side.
            self.list_again(slot);
        }
        self.hand.expect(now.mono_ms + self.settings.limits.close_timeout_ms);
    }

    /// Nothing more to say or to hear. The slot is freed at the end of the turn.
    pub(super) fn die(&mut self, slot: u32) {
        if self.conns[slot].phase != Phase::Dead {
            self.enter(slot, Phase::Dead);
            self.conns.deactivate(slot);
            self.dead.push(slot);
        }
    }

    /// As [`Shard::die`], with the reason that is counted.
    pub(super) fn die_of(&mut self, slot: u32, disconnect: Disconnect) {
        self.count_end(slot, disconnect);
        self.die(slot);
    }

    /// Counts an end, before the connection has left the phase that it ends in.
    fn count_end(&mut self, slot: u32, disconnect: Disconnect) {
        self.counters.disconnects.count(disconnect, self.conns[slot].phase.transport());
    }

    /// Counts a client that was kept out.
    pub(super) fn count_failure(&mut self, cause: Cause) {
        self.counters.handshake_failures[cause.index()] += 1;
    }

    /// The next phase of a connection's life.
    pub(super) fn enter(&mut self, slot: u32, phase: Phase) {
        let before = std::mem::replace(&mut self.conns[slot].phase, phase);
        if let Some(transport) = before.transport() {
            self.counters.transports[transport.index()] -= 1;
        }
        if let Some(transport) = phase.transport() {
            self.counters.transports[transport.index()] += 1;
        }
    }

    /// Frees some of those that ended: when very many leave at once, the others are not kept waiting.
    pub(super) fn free_dead(&mut self, now: Now) {
        for _ in 0..FREE_BUDGET {
            let Some(slot) = self.dead.pop() else { break };
            self.leave_all(now, slot);
            self.grants.remove(slot);
            drop(self.conns.remove(slot));
        }
    }

    pub(super) fn leave_all(&mut self, now: Now, slot: u32) {
        for subscription in std::mem::take(&mut self.conns[slot].subscriptions).as_slice() {
            self.leave(now, slot, *subscription);
        }
    }
}
