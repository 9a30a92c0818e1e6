//! An operator wants connections to be gone: they are counted in a walk ([`super::walk`]), then end one by one. Must never end
//! anybody who was not counted, nor more in one turn than its budget.
//!
//! The n ends of one call are a stream: one in each nth of the time that it may take, at a random moment of it, and in random
//! order, so that clients do not come back in a crowd, nor those of one address or channel together.

use super::Shard;
use super::conn_table::Token;
use crate::api::disconnect::{Kick, Who};
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::disconnect::Disconnect;
use crate::limits::KICK_BUDGET;
use crate::metrics::cause::Cause;
use crate::proto::frame::put_close;
use crate::proto::http::Refusal;

/// Connections that are to end.
#[derive(Debug)]
pub(super) struct Kicking {
    /// Those that have not ended yet.
    tokens: Vec<Token>,
    code: u16,
    began_ms: u64,
    over_ms: u64,
    /// How many there were.
    count: usize,
    /// When the next one ends.
    next_ms: u64,
}

impl<S: Socket> Shard<S> {
    /// Whether one of the connections that `kick` means is in a slot.
    pub(super) fn is_meant(&self, slot: u32, kick: &Kick) -> bool {
        let Some(conn) = self.conns.in_slot(slot).filter(|conn| !conn.phase.is_over()) else { return false };
        match &kick.who {
            Who::Connection(key) => self.key(slot) == *key,
            Who::User(user) => self.grants.get(slot).is_some_and(|grant| grant.user() == &**user),
            Who::Ip(ip) => conn.socket.peer().is_some_and(|peer| peer.ip() == *ip),
            Who::Channel(name) => {
                let id = self.hub.channels.find(name);
                id.is_some_and(|id| conn.subscriptions.find(id).is_some())
            }
        }
    }

    /// Those that were counted end from now on.
    pub(super) fn begin_kick(&mut self, now: Now, kick: &Kick, tokens: Vec<Token>) {
        if tokens.is_empty() {
            return;
        }
        let &Kick { code, over_ms, .. } = kick;
        let (count, began_ms) = (tokens.len(), now.mono_ms);
        let mut kicking = Kicking { tokens, code, began_ms, over_ms, count, next_ms: began_ms };
        kicking.draw_next(&mut self.rng);
        self.kicks.push(kicking);
    }

    /// Ends those whose moment has come. Returns when the next one's does.
    pub(super) fn kick_step(&mut self, now: Now) -> Option<u64> {
        let mut left = KICK_BUDGET;
        let mut kicks = std::mem::take(&mut self.kicks);
        for kicking in &mut kicks {
            while left > 0 && kicking.next_ms <= now.mono_ms && !kicking.tokens.is_empty() {
                let token = kicking.tokens.swap_remove(self.rng.usize(..kicking.tokens.len()));
                kicking.draw_next(&mut self.rng);
                if self.conns.find(token).is_some() {
                    self.kick(now, token.slot, kicking.code);
                    left -= 1;
                }
            }
        }
        kicks.retain(|kicking| !kicking.tokens.is_empty());
        self.kicks = kicks;
        self.kicks.iter().map(|kicking| kicking.next_ms).min()
    }

    fn kick(&mut self, now: Now, slot: u32, code: u16) {
        self.serve(now, slot, |shard| match shard.conns[slot].phase {
            Phase::Live | Phase::Echo => {
                put_close(&mut shard.replies, code, Disconnect::Kicked.reason());
                shard.linger(now, slot, Disconnect::Kicked);
            }
            Phase::Head | Phase::Body | Phase::Poll => {
                shard.refuse_as(now, slot, &kicked(code), Disconnect::Kicked);
            }
            // It hears what became of what it said, and is not kept behind that.
            Phase::Call => shard.conns[slot].keep_alive = false,
            Phase::Stream | Phase::Kept => shard.linger(now, slot, Disconnect::Kicked),
            Phase::Lingering | Phase::Dead => {}
        });
    }
}

impl Kicking {
    /// Draws the moment of the next end.
    fn draw_next(&mut self, rng: &mut fastrand::Rng) {
        let ended = self.count - self.tokens.len();
        let place = (ended as f64 + rng.f64()) / self.count as f64;
        self.next_ms = self.began_ms + (self.over_ms as f64 * place) as u64;
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.tokens.capacity() * size_of::<Token>()
    }
}

/// What a request gets that has no close code: to come back, where the code says so.
fn kicked(code: u16) -> Refusal {
    match code {
        1001 | 1012 | 1013 => Refusal::unavailable(),
        _ => {
            let message = "whoever runs the node has ended this connection";
            Refusal::new(403, "kicked", message).because(Cause::Kicked)
        }
    }
}
