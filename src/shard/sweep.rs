//! Heartbeat and timeouts without timers: a clock hand walks the connection table at a constant pace and reads one
//! coarse moment in each slot. Must never visit more than its budget in one turn.

use super::Shard;
use crate::clock::{Now, TICK_MS};
use crate::conn::socket::Socket;
use crate::conn::{Conn, Phase};
use crate::disconnect::{Bound, Disconnect};
use crate::limits::{HEARTBEAT_MS, KEEP_ALIVE_MS, Limits, SWEEP_BUDGET};
use crate::metrics::cause::Cause;
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
    ping: PingCycle,
    /// The same for comments on streams of events, which nobody answers.
    heartbeat: PingCycle,
}

/// When who is pinged. Every slot has a moment of its own in a cycle that repeats for ever, and a connection is pinged at the
/// first moment of its slot at which it has been silent for long enough. So pings are a stream, whoever connected or spoke at the
/// same time as others.
///
/// ```text
///    last byte                    silent for long enough      moment of the slot: ping       counts as gone
///        │                                  │  ≤ cycle               │                              │
///        ├──────── interval - cycle / 4 ────┼────────────────────────┼────── time to answer ────────┤
/// ```
#[derive(Debug, Clone, Copy)]
struct PingCycle {
    silence_ms: u64,
    cycle_ms: u64,
    /// Where in the cycle the first slot has its moment, in parts of 2³², and where in the beat of the hand its steps are:
    /// different in every shard, whose small unevennesses would otherwise come at the same time and add up.
    offset: u32,
}

impl PingCycle {
    fn new(limits: &Limits, offset: u32) -> Self {
        // Whoever is pinged last still has time to answer before it counts as gone.
        let answer_ms = limits.idle_timeout_ms.saturating_sub(limits.ping_interval_ms);
        let cycle_ms = limits.ping_interval_ms.min(answer_ms).max(1);
        // Whoever answered a ping is heard of a little after its moment, and is due at its next one again.
        Self { silence_ms: limits.ping_interval_ms.saturating_sub(cycle_ms / 4), cycle_ms, offset }
    }

    /// When a connection in `slot` is pinged that was last heard of at `since_ms`.
    fn due_ms(self, slot: u32, since_ms: u64) -> u64 {
        // Steps of the golden ratio spread neighbours evenly, and any run of neighbours.
        let place = slot.wrapping_mul(GOLDEN_RATIO).wrapping_add(self.offset);
        let moment_ms = (u64::from(place) * self.cycle_ms) >> 32;
        let from_ms = since_ms + self.silence_ms;
        from_ms + (moment_ms + self.cycle_ms - from_ms % self.cycle_ms) % self.cycle_ms
    }
}

impl Hand {
    /// `offset` is random, and the shard's own.
    pub(super) fn new(limits: &Limits, offset: u32) -> Self {
        let shortest = limits.ping_interval_ms.min(limits.handshake_timeout_ms).min(limits.close_timeout_ms);
        let period_ms = (shortest / 4).clamp(TICK_MS, PERIOD_MS_MAX);
        Self {
            period_ms,
            slot: 0,
            began_ms: 0,
            due_ms: u64::MAX,
            resting: true,
            ping: PingCycle::new(limits, offset),
            heartbeat: PingCycle {
                silence_ms: HEARTBEAT_SILENCE_MS,
                cycle_ms: HEARTBEAT_MS - HEARTBEAT_SILENCE_MS,
                offset,
            },
        }
    }

    /// Announces that something will be due.
    pub(super) fn expect(&mut self, due_ms: u64) {
        self.due_ms = self.due_ms.min(due_ms);
    }

    /// Announces a connection that was just heard of for the first time.
    pub(super) fn expect_ping(&mut self, slot: u32, now: Now) {
        self.expect(self.ping.due_ms(slot, now.mono_ms));
    }

    /// Announces a stream of events that has just begun.
    pub(super) fn expect_heartbeat(&mut self, slot: u32, now: Now) {
        self.expect(self.heartbeat.due_ms(slot, now.mono_ms));
    }

    /// Nothing is due.
    fn rest(&mut self) {
        (self.due_ms, self.resting) = (u64::MAX, true);
    }

    /// Begins a round.
    fn begin(&mut self, at_ms: u64) {
        (self.slot, self.began_ms, self.due_ms, self.resting) = (0, at_ms, u64::MAX, false);
    }

    /// Whether the next round follows at once: something is due before it would end. A small table is seen in one step when
    /// it is due.
    fn goes_on(&self, now: Now, slots: usize) -> bool {
        slots > STEP_SLOTS && self.due_ms < now.mono_ms + self.period_ms
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

    /// When the next step is: at the shard's own place in the beat, however late this one came. Counted from this one,
    /// the steps of shards that wait for the same processor would fall into step, and their pings into bursts.
    fn next_step_ms(&self, now: Now, slots: usize) -> u64 {
        let step_ms = self.step_ms(slots);
        now.mono_ms + step_ms - (now.mono_ms + u64::from(self.ping.offset)) % step_ms
    }
}

impl<S: Socket> Shard<S> {
    /// Moves the hand to where it should be. Returns when it wants to move again; never while there is nobody.
    pub(super) fn sweep(&mut self, now: Now) -> Option<u64> {
        if self.conns.is_empty() {
            self.hand.rest();
            return None;
        }
        if self.hand.resting {
            if self.hand.due_ms > now.mono_ms {
                return Some(self.hand.due_ms);
            }
            self.hand.begin(now.mono_ms);
        }
        let slots = self.conns.slots();
        loop {
            self.walk(now, slots);
            if self.hand.slot < slots {
                break;
            }
            if !self.hand.goes_on(now, slots) {
                self.hand.resting = true;
                return Some(self.hand.due_ms.max(now.mono_ms + 1));
            }
            // From where the last round should have ended, so that the pace is the same across it.
            let next_ms = self.hand.began_ms + self.hand.period_ms;
            self.hand.begin(next_ms.max(now.mono_ms.saturating_sub(self.hand.period_ms)));
            if next_ms >= now.mono_ms {
                break;
            }
        }
        Some(self.hand.next_step_ms(now, slots))
    }

    /// Visits the slots up to where the hand should be.
    fn walk(&mut self, now: Now, slots: usize) {
        let target = self.hand.target(now, slots).min(slots).min(self.hand.slot + SWEEP_BUDGET);
        let rank_min = self.rank_of_the_old(now);
        while self.hand.slot < target {
            let slot = self.hand.slot as u32;
            self.hand.slot += 1;
            if self.conns.in_slot(slot).is_some() {
                if rank_min.is_some_and(|rank| self.conns.rank(slot) >= rank) {
                    self.end_the_old(now, slot);
                }
                let due_ms = self.visit_grant(now, slot).min(self.visit(now, slot));
                self.hand.expect(due_ms);
            }
        }
    }

    /// Of how many newcomers somebody may be too old who has as many behind it; None where nobody is.
    fn rank_of_the_old(&mut self, now: Now) -> Option<u32> {
        let age_max_ms = self.settings.limits.age_max_ms;
        if age_max_ms == 0 {
            return None;
        }
        // No slot says when its time is over, so all are looked at now and then.
        self.hand.expect(now.mono_ms + (age_max_ms / AGE_PARTS).max(TICK_MS));
        self.conns.ages().rank_of_age(now, age_max_ms - age_max_ms / AGE_JITTER_PART)
    }

    /// Says goodbye where the time is over: at an age of the connection's own, so that those who came together do not go
    /// together.
    fn end_the_old(&mut self, now: Now, slot: u32) {
        let Conn { generation, phase, .. } = self.conns[slot];
        let age_max_ms = self.settings.limits.age_max_ms;
        let earlier_max_ms = age_max_ms / AGE_JITTER_PART;
        let earlier_ms = (u64::from(generation.wrapping_mul(GOLDEN_RATIO)) * earlier_max_ms) >> 32;
        let age_ms = self.conns.opened(slot).elapsed_ms(now);
        if phase.transport().is_some() && age_ms >= age_max_ms - earlier_ms {
            self.say_goodbye(now, slot, Disconnect::TooOld);
        }
    }

    /// Does what is due for one connection; returns when something will be.
    fn visit(&mut self, now: Now, slot: u32) -> u64 {
        let limits = &self.settings.limits;
        let (idle_timeout_ms, handshake_timeout_ms) = (limits.idle_timeout_ms, limits.handshake_timeout_ms);
        let close_timeout_ms = limits.close_timeout_ms;
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
                let ping_ms = self.hand.ping.due_ms(slot, since_ms);
                if ping_ms > now.mono_ms {
                    return ping_ms;
                }
                if !pinged {
                    self.ping(now, slot);
                }
                since_ms + idle_timeout_ms
            }
            Phase::Stream => self.visit_stream(now, slot, since_ms),
            Phase::Poll if since_ms <= now.mono_ms => self.poll_is_due(now, slot),
            Phase::Poll => since_ms,
            Phase::Body if elapsed_ms >= handshake_timeout_ms => {
                let timeout = Disconnect::HandshakeTimeout;
                self.serve(now, slot, |shard| shard.refuse_as(now, slot, &too_slow(), timeout));
                now.mono_ms + close_timeout_ms
            }
            Phase::Body => since_ms + handshake_timeout_ms,
            Phase::Call => u64::MAX,
            Phase::Kept if elapsed_ms >= KEEP_ALIVE_MS => {
                self.serve(now, slot, |shard| shard.linger(now, slot, Disconnect::Answered));
                now.mono_ms + close_timeout_ms
            }
            Phase::Kept => since_ms + KEEP_ALIVE_MS,
            Phase::Lingering if elapsed_ms >= close_timeout_ms => {
                self.die(slot);
                u64::MAX
            }
            Phase::Lingering => since_ms + close_timeout_ms,
            Phase::Dead => u64::MAX,
        }
    }

    fn visit_stream(&mut self, now: Now, slot: u32, since_ms: u64) -> u64 {
        if let Some(due_ms) = self.visit_slow(now, slot) {
            return due_ms;
        }
        let due_ms = self.hand.heartbeat.due_ms(slot, since_ms);
        if due_ms > now.mono_ms {
            return due_ms;
        }
        self.send_heartbeat(now, slot);
        self.hand.heartbeat.due_ms(slot, now.mono_ms)
    }

    /// Holds a queue to its soft bound. None when it keeps it.
    fn visit_slow(&mut self, now: Now, slot: u32) -> Option<u64> {
        let since = self.conns[slot].active.as_ref()?.over_soft_since?;
        let limits = &self.settings.limits;
        if since.elapsed_ms(now) < limits.queue_soft_for_ms {
            return Some(since.start_ms() + limits.queue_soft_for_ms);
        }
        let due_ms = now.mono_ms + limits.close_timeout_ms;
        self.cut_slow(now, slot, Bound::Soft);
        Some(due_ms)
    }

    fn ping(&mut self, now: Now, slot: u32) {
        self.conns[slot].pinged = true;
        self.counters.pings += 1;
        self.serve(now, slot, |shard| put_frame(&mut shard.replies, Opcode::Ping, &[]));
    }
}

fn too_slow() -> Refusal {
    Refusal::new(408, "timeout", "the request did not arrive in time").because(Cause::Timeout)
}

/// A comment does not follow the opening of a stream, or another comment, sooner than this.
const HEARTBEAT_SILENCE_MS: u64 = 1_000;
/// The golden ratio's fraction of 2³².
const GOLDEN_RATIO: u32 = 0x9e37_79b9;
/// Ages are looked at this many times in the longest one.
const AGE_PARTS: u64 = 64;
/// Clients go up to this part of the longest age earlier.
const AGE_JITTER_PART: u64 = 5;
/// Slots that the hand looks at in one step at least.
const STEP_SLOTS: usize = 64;
/// A step is not shorter than this: each wakes the thread.
const STEP_MS_MIN: u64 = 50;
/// The hand goes round at least this often.
const PERIOD_MS_MAX: u64 = 1000;
