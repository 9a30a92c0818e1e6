//! The node says goodbye: a close frame with a time to come back to everyone. Must never cut anyone without one.

use super::Shard;
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::disconnect::Disconnect;
use crate::limits::DRAIN_BUDGET;
use crate::metrics::cause::Cause;
use crate::proto::http::Refusal;
use crate::proto::sse::put_retry;

/// How far the goodbyes are.
#[derive(Debug)]
pub(super) struct Drain {
    /// Clients are told to come back at a random moment of this long.
    over_ms: u64,
    /// The next slot.
    slot: u32,
}

impl Drain {
    pub(super) fn new(over_ms: u64) -> Self {
        Self { over_ms, slot: 0 }
    }
}

impl<S: Socket> Shard<S> {
    /// Says goodbye to some more. True while there are slots to visit.
    pub(super) fn drain_step(&mut self, now: Now) -> bool {
        let Some(drain) = &self.drain else { return false };
        let over_ms = drain.over_ms;
        let first = drain.slot;
        let slots = self.conns.slots() as u32;
        let last = slots.min(first.saturating_add(DRAIN_BUDGET as u32));
        for slot in first..last {
            if self.conns.in_slot(slot).is_some() {
                self.say_goodbye(now, slot, over_ms);
            }
        }
        self.drain = Some(Drain { over_ms, slot: last });
        last < slots
    }

    fn say_goodbye(&mut self, now: Now, slot: u32, over_ms: u64) {
        let retry_after_ms = self.rng.u64(0..=over_ms);
        self.serve(now, slot, |shard| match shard.conns[slot].phase {
            Phase::Head | Phase::Body => {
                shard.refuse(now, slot, &Refusal::unavailable().because(Cause::Draining));
            }
            Phase::Live | Phase::Echo => {
                let reason = format!("{} retry_after_ms={retry_after_ms}", Disconnect::GoingAway.reason());
                shard.end_with(now, slot, Disconnect::GoingAway, &reason);
            }
            Phase::Stream => {
                put_retry(&mut shard.replies, retry_after_ms);
                shard.linger(now, slot, Disconnect::GoingAway);
            }
            // Its answer says that the connection ends behind it. One that waits for an owner gets it then.
            Phase::Poll if shard.conns[slot].asked == 0 => shard.answer_poll(now, slot),
            Phase::Kept => shard.linger(now, slot, Disconnect::GoingAway),
            Phase::Poll | Phase::Call | Phase::Lingering | Phase::Dead => {}
        });
    }
}
