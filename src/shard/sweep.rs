//! Heartbeat and timeouts without timers: a clock hand walks the connection table at a constant pace and reads one
//! coarse moment in each slot. Must never visit more than its budget in one turn.

use super::Shard;
use crate::clock::{Now, TICK_MS};
use crate::conn::socket::Socket;
use crate::conn::{Conn, Phase};
use crate::disconnect::Disconnect;
use crate::limits::{Limits, SWEEP_BUDGET};
use crate::proto::frame::{Opcode, put_frame};
use crate::proto::http::Refusal;

/// Where the hand stands. It goes round once a period, and rests while nothing can be due.
#[derive(Debug)]
pub(super) struct Hand {
    period_ms: u64,
    /// The next slot.
    slot: usize,
    /// When the round under way began.
    began_ms: u64,
    /// The earliest moment that anything seen in this round, or announced since, is due.
    due_ms: u64,
    /// Between two rounds.
    resting: bool,
    /// Milliseconds for which each connection has one ping to spare.
    spread_ms: u64,
    /// What was earned for pings by now, [`Hand::spread_ms`] a ping, and when.
    credit: u64,
    earned_ms: u64,
}

impl Hand {
    pub(super) fn new(limits: &Limits) -> Self {
        let shortest = limits.ping_interval_ms.min(limits.handshake_timeout_ms).min(limits.close_timeout_ms);
        let period_ms = (shortest / 4).clamp(TICK_MS, PERIOD_MS_MAX);
        // Whoever is pinged last still has time to answer before it counts as gone.
        let answer_ms = limits.idle_timeout_ms.saturating_sub(limits.ping_interval_ms);
        let spread_ms = limits.ping_interval_ms.min(answer_ms * 5 / 7).max(1);
        let (slot, began_ms, due_ms, resting) = (0, 0, u64::MAX, true);
        Self { period_ms, slot, began_ms, due_ms, resting, spread_ms, credit: 0, earned_ms: 0 }
    }

    /// The pace of pings: as many as keep all alive, and no more, so that those who all spoke at the same moment are not all
    /// pinged at the same moment for ever.
    fn earn(&mut self, now: Now, conns: usize) {
        let elapsed_ms = now.mono_ms.saturating_sub(std::mem::replace(&mut self.earned_ms, now.mono_ms));
        let a_ms = (conns as u64).max(PINGS_STEP_MIN * self.spread_ms / STEP_MS_MIN);
        self.credit = self.credit.saturating_add(a_ms.saturating_mul(elapsed_ms)).min(a_ms * 2 * TICK_MS);
    }

    /// Whether one more ping may go out now.
    fn spend(&mut self) -> bool {
        let enough = self.credit >= self.spread_ms;
        self.credit -= if enough { self.spread_ms } else { 0 };
        enough
    }

    /// Announces that something will be due.
    pub(super) fn expect(&mut self, due_ms: u64) {
        self.due_ms = self.due_ms.min(due_ms);
    }

    /// The slot that the hand should have reached by now. A small table is seen in one step.
    fn target(&self, now: Now, slots: usize) -> usize {
        let elapsed_ms = now.mono_ms.saturating_sub(self.began_ms).min(self.period_ms);
        (slots as u64 * elapsed_ms / self.period_ms) as usize + STEP_SLOTS
    }

    /// Milliseconds from one step to the next: short enough that pings go out as a stream and not in bursts, unless
    /// there are so few slots that nobody could tell.
    fn step_ms(&self, slots: usize) -> u64 {
        (self.period_ms * STEP_SLOTS as u64 / slots.max(1) as u64).clamp(STEP_MS_MIN, TICK_MS)
    }
}

impl<S: Socket> Shard<S> {
    /// Moves the hand to where it should be. Returns when it wants to move again; never while there is nobody.
    pub(super) fn sweep(&mut self, now: Now) -> Option<u64> {
        if self.conns.is_empty() {
            self.hand = Hand::new(&self.settings.limits);
            return None;
        }
        if self.hand.resting {
            if self.hand.due_ms > now.mono_ms {
                return Some(self.hand.due_ms);
            }
            let hand = &mut self.hand;
            (hand.slot, hand.began_ms, hand.due_ms, hand.resting) = (0, now.mono_ms, u64::MAX, false);
        }
        self.hand.earn(now, self.conns.len());
        let slots = self.conns.slots();
        let target = self.hand.target(now, slots).min(slots).min(self.hand.slot + SWEEP_BUDGET);
        while self.hand.slot < target {
            let slot = self.hand.slot as u32;
            self.hand.slot += 1;
            if self.conns.in_slot(slot).is_some() {
                let due_ms = self.visit(now, slot);
                self.hand.expect(due_ms);
            }
        }
        self.hand.resting = self.hand.slot >= slots;
        if self.hand.resting {
            Some(self.hand.due_ms.max(now.mono_ms + 1))
        } else {
            Some(now.mono_ms + self.hand.step_ms(slots))
        }
    }

    /// Does what is due for one connection; returns when something will be.
    fn visit(&mut self, now: Now, slot: u32) -> u64 {
        let limits = &self.settings.limits;
        let (idle_timeout_ms, ping_interval_ms) = (limits.idle_timeout_ms, limits.ping_interval_ms);
        let (handshake_timeout_ms, close_timeout_ms) = (limits.handshake_timeout_ms, limits.close_timeout_ms);
        let Conn { phase, pinged, since, .. } = self.conns[slot];
        let (elapsed_ms, since_ms) = (since.elapsed_ms(now), since.start_ms());
        match phase {
            Phase::Head if elapsed_ms >= handshake_timeout_ms => {
                let timeout = Disconnect::HandshakeTimeout;
                self.serve(now, slot, |shard| shard.refuse_as(now, slot, &too_slow(), timeout));
                now.mono_ms + close_timeout_ms
            }
            Phase::Head => since_ms + handshake_timeout_ms,
            Phase::Live | Phase::Echo if elapsed_ms >= idle_timeout_ms => {
                self.serve(now, slot, |shard| shard.end(now, slot, Disconnect::Idle));
                now.mono_ms + close_timeout_ms
            }
            Phase::Live | Phase::Echo => {
                if let Some(due_ms) = self.visit_slow(now, slot) {
                    return due_ms;
                }
                if elapsed_ms < ping_interval_ms {
                    since_ms + ping_interval_ms
                } else if pinged {
                    since_ms + idle_timeout_ms
                } else if self.hand.spend() {
                    self.ping(now, slot);
                    since_ms + idle_timeout_ms
                } else {
                    now.mono_ms + STEP_MS_MIN
                }
            }
            Phase::Lingering if elapsed_ms >= close_timeout_ms => {
                self.die(slot);
                u64::MAX
            }
            Phase::Lingering => since_ms + close_timeout_ms,
            Phase::Dead => u64::MAX,
        }
    }

    /// Holds a queue to its soft bound. None when it keeps it.
    fn visit_slow(&mut self, now: Now, slot: u32) -> Option<u64> {
        let since = self.conns[slot].active.as_ref()?.over_soft_since?;
        let limits = &self.settings.limits;
        if since.elapsed_ms(now) < limits.queue_soft_for_ms {
            return Some(since.start_ms() + limits.queue_soft_for_ms);
        }
        let due_ms = now.mono_ms + limits.close_timeout_ms;
        self.cut_slow(now, slot);
        Some(due_ms)
    }

    fn ping(&mut self, now: Now, slot: u32) {
        self.conns[slot].pinged = true;
        self.counters.pings += 1;
        self.serve(now, slot, |shard| put_frame(&mut shard.replies, Opcode::Ping, &[]));
    }
}

fn too_slow() -> Refusal {
    Refusal::new(408, "timeout", "the request head did not arrive in time")
}

/// Slots that the hand looks at in one step at least.
const STEP_SLOTS: usize = 64;
/// Pings that a step may send at least: few connections need no pace.
const PINGS_STEP_MIN: u64 = 8;
/// A step is not shorter than this: each wakes the thread.
const STEP_MS_MIN: u64 = 50;
/// The hand goes round at least this often.
const PERIOD_MS_MAX: u64 = 1000;
