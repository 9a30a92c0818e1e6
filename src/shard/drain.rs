//! Goodbye to everyone, or to some, spread over a time: a close frame with a moment to come back. Must never cut anyone
//! without one.
//!
//! Connections go at an even pace: at any moment so many as are still to go, divided by the time that is left. Those who
//! leave by themselves slow the others down, and nobody is left to the end. Whose turn it is has nothing to do with when
//! it came: the walk goes round the table in steps of the golden ratio, which meet every slot once.
//!
//! ```text
//!   still to go │•─_
//!               │   ‾─_            owed in one step = still to go × step ÷ time left
//!               │      ‾─_
//!               └─────────┴──▶ time
//! ```

use super::Shard;
use super::mail::DrainOrder;
use crate::clock::Now;
use crate::conn::Phase;
use crate::conn::socket::Socket;
use crate::disconnect::Disconnect;
use crate::limits::{DRAIN_BUDGET, DRAIN_PACE_MS, DRAIN_RETRY_MS, DRAIN_STEP_MS, SURVEY_BUDGET};
use crate::metrics::Transport;
use crate::metrics::cause::Cause;
use crate::proto::http::Refusal;
use crate::proto::sse::put_retry;

/// How far the goodbyes are.
#[derive(Debug)]
pub(super) struct Drain {
    order: DrainOrder,
    /// When the last one is told, in milliseconds since the node started.
    ends_ms: u64,
    /// Who came later stays, where not all go.
    newest: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The ages of all are looked at. Holds how many came behind each, and the next slot.
    Choosing { ranks: Vec<u32>, slot: usize },
    /// Goodbyes are said.
    Leaving(Leaving),
    /// All who were to go are told. Where not all go, there is no such stage.
    Told,
}

/// The walk of the goodbyes.
#[derive(Debug)]
struct Leaving {
    /// Who has as many behind it as this, of those that were there at the start, is old enough.
    rank_min: u32,
    /// How many are still to be told, where not all are.
    left: Option<usize>,
    /// What the pace owes by now, in parts of [`WHOLE`] of a goodbye.
    owed: u64,
    /// Up to when the pace is counted.
    since_ms: u64,
    walk: Walk,
}

/// Every slot of a table once, far from the one before.
#[derive(Debug)]
struct Walk {
    slots: u32,
    step: u32,
    next: u32,
    left: u32,
}

impl Walk {
    fn new(slots: usize, start: u32) -> Self {
        let slots = slots as u32;
        let mut step = ((u64::from(slots) * u64::from(GOLDEN_RATIO)) >> 32) as u32;
        while slots > 1 && gcd(slots, step) != 1 {
            step += 1;
        }
        Self { slots, step, next: start % slots.max(1), left: slots }
    }
}

impl Iterator for Walk {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let slot = self.next;
        self.next = ((u64::from(slot) + u64::from(self.step)) % u64::from(self.slots)) as u32;
        Some(slot)
    }
}

impl<S: Socket> Shard<S> {
    /// Sets out. A drain under way is replaced: who was told is gone already.
    pub(super) fn begin_drain(&mut self, now: Now, order: DrainOrder) {
        let newest = self.conns.ages().newest();
        let choosing = order.oldest && !order.is_for_all();
        let stage = if choosing {
            Stage::Choosing { ranks: Vec::new(), slot: 0 }
        } else {
            let left = (!order.is_for_all()).then(|| self.part(self.open_count(), order.percent));
            Stage::Leaving(self.leaving(now, 0, left))
        };
        self.drain = Some(Drain { order, ends_ms: now.mono_ms + order.over_ms, newest, stage });
    }

    /// Stops it: those who are still here stay.
    pub(super) fn end_drain(&mut self) {
        self.drain = None;
    }

    /// Whether the node goes away: nobody comes in, and no request is followed by another one.
    pub(super) fn is_closing(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.order.is_for_all())
    }

    /// How many are still to be told.
    pub(super) fn drain_left(&self) -> usize {
        match self.drain.as_ref().map(|drain| &drain.stage) {
            None | Some(Stage::Told) => 0,
            Some(Stage::Leaving(Leaving { left: Some(left), .. })) => *left,
            Some(Stage::Leaving(_)) => self.open_count(),
            Some(Stage::Choosing { .. }) => {
                let percent = self.drain.as_ref().map_or(0, |drain| drain.order.percent);
                self.part(self.open_count(), percent)
            }
        }
    }

    /// Says goodbye to some more. Returns when it goes on, in milliseconds since the node started.
    pub(super) fn drain_step(&mut self, now: Now) -> Option<u64> {
        let mut drain = self.drain.take()?;
        match drain.stage {
            Stage::Choosing { ranks, slot } => {
                drain.stage = self.choose(now, &drain.order, drain.newest, ranks, slot)
            }
            Stage::Leaving(ref mut leaving) => {
                let still = leaving.left.unwrap_or_else(|| self.open_count()) as u64;
                let mut ends_ms = drain.ends_ms;
                if drain.order.leaves {
                    // Whoever ends a process does not wait for a handful.
                    ends_ms = ends_ms.min(leaving.since_ms + still * DRAIN_PACE_MS);
                }
                let goes_on = self.say_goodbyes(now, leaving, drain.newest, (still, ends_ms));
                if goes_on.is_some() {
                    self.drain = Some(drain);
                    return goes_on;
                }
                drain.stage = Stage::Told;
            }
            Stage::Told => {}
        }
        match drain.stage {
            Stage::Told if drain.order.is_for_all() => {
                self.drain = Some(drain);
                None
            }
            // The others stay, and it is over.
            Stage::Told => None,
            Stage::Choosing { .. } | Stage::Leaving(_) => {
                self.drain = Some(drain);
                Some(now.mono_ms)
            }
        }
    }

    /// Looks at the ages of some more, and at last finds the age from which on they go.
    fn choose(
        &mut self,
        now: Now,
        order: &DrainOrder,
        newest: u32,
        mut ranks: Vec<u32>,
        slot: usize,
    ) -> Stage {
        let end = self.conns.slots().min(slot + SURVEY_BUDGET);
        ranks.extend((slot..end).filter_map(|slot| self.rank_at_start(slot as u32, newest)));
        if end < self.conns.slots() {
            return Stage::Choosing { ranks, slot: end };
        }
        let left = self.part(ranks.len(), order.percent);
        // One pass over four bytes for each: some milliseconds for a million.
        let rank_min = match ranks.len().checked_sub(left) {
            Some(at) if left > 0 => *ranks.select_nth_unstable(at).1,
            _ => 0,
        };
        Stage::Leaving(self.leaving(now, rank_min, Some(left)))
    }

    /// How many of those that were there at the start came after an open connection; None for who came later.
    fn rank_at_start(&self, slot: u32, newest: u32) -> Option<u32> {
        let (conn, ages) = (self.conns.in_slot(slot)?, self.conns.ages());
        conn.phase.transport()?;
        ages.rank(conn.generation).checked_sub(ages.rank(newest))
    }

    fn leaving(&mut self, now: Now, rank_min: u32, left: Option<usize>) -> Leaving {
        // Neither nodes nor shards that were told together say their goodbyes at the same moments.
        let walk = Walk::new(self.conns.slots(), self.rng.u32(..));
        Leaving { rank_min, left, owed: self.rng.u64(..WHOLE), since_ms: now.mono_ms, walk }
    }

    /// The part of so many connections, rounded in one shard up and in another down.
    fn part(&self, count: usize, percent: u8) -> usize {
        let id = u32::from(self.settings.id.0) + 1;
        let rounding = (u64::from(id.wrapping_mul(GOLDEN_RATIO)) * 100) >> 32;
        ((count as u64 * u64::from(percent) + rounding) / 100) as usize
    }

    /// Those who have said in which way they are connected, and are not told yet.
    fn open_count(&self) -> usize {
        Transport::ALL.iter().map(|transport| self.counters.transports[transport.index()] as usize).sum()
    }

    /// Tells those whose time has come: so many are still to be told, the last one at a moment. None when nobody is left to be told.
    fn say_goodbyes(
        &mut self,
        now: Now,
        leaving: &mut Leaving,
        newest: u32,
        (still, ends_ms): (u64, u64),
    ) -> Option<u64> {
        let (passed_ms, time_ms) = (now.mono_ms - leaving.since_ms, ends_ms.saturating_sub(leaving.since_ms));
        leaving.owed = match still * passed_ms * WHOLE {
            _ if now.mono_ms >= ends_ms => u64::MAX,
            owed => leaving.owed + owed / time_ms,
        };
        leaving.since_ms = now.mono_ms;
        let mut looks = SURVEY_BUDGET;
        let mut told = 0;
        while leaving.owed >= WHOLE && told < DRAIN_BUDGET && looks > 0 && leaving.left != Some(0) {
            let slot = leaving.walk.next()?;
            looks -= 1;
            if self.goes(slot, leaving, newest) && self.say_goodbye(now, slot, Disconnect::GoingAway) {
                told += 1;
                self.counters.drained += 1;
                leaving.owed -= WHOLE;
                leaving.left = leaving.left.map(|left| left - 1);
            }
        }
        if leaving.left == Some(0) {
            return None;
        }
        if leaving.owed >= WHOLE {
            return Some(now.mono_ms);
        }
        // When the next one is owed, in steps so that those of a crowd share a turn.
        let wait_ms = (WHOLE - leaving.owed) * (ends_ms - now.mono_ms) / (still.max(1) * WHOLE);
        Some(ends_ms.min(now.mono_ms + wait_ms.max(DRAIN_STEP_MS)))
    }

    fn goes(&self, slot: u32, leaving: &Leaving, newest: u32) -> bool {
        match leaving.left {
            None => self.conns.in_slot(slot).is_some(),
            Some(_) => self.rank_at_start(slot, newest).is_some_and(|rank| rank >= leaving.rank_min),
        }
    }

    /// Tells one that it has to go, and when to come back. False where it is on its way already.
    pub(super) fn say_goodbye(&mut self, now: Now, slot: u32, why: Disconnect) -> bool {
        let retry_after_ms = self.rng.u64(0..=DRAIN_RETRY_MS);
        let conn = &mut self.conns[slot];
        // Whatever is answered next is the last.
        conn.keep_alive = false;
        let phase = conn.phase;
        self.serve(now, slot, |shard| match phase {
            Phase::Head | Phase::Body => {
                shard.refuse(now, slot, &Refusal::unavailable().because(Cause::Draining));
            }
            Phase::Live | Phase::Echo => {
                let reason = format!("{} retry_after_ms={retry_after_ms}", why.reason());
                shard.end_with(now, slot, why, &reason);
            }
            Phase::Stream => {
                put_retry(&mut shard.replies, retry_after_ms);
                shard.linger(now, slot, why);
            }
            // Its answer says that the connection ends behind it. One that waits for an owner gets it then.
            Phase::Poll if shard.conns[slot].asked == 0 => shard.answer_poll(now, slot),
            Phase::Kept => shard.linger(now, slot, why),
            Phase::Poll | Phase::Call | Phase::Lingering | Phase::Dead => {}
        });
        phase.transport().is_some()
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// One goodbye, in the parts that the pace counts in.
const WHOLE: u64 = 1 << 16;
/// The golden ratio's fraction of 2³².
const GOLDEN_RATIO: u32 = 0x9e37_79b9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_meets_every_slot_once_and_neighbours_far_apart() {
        for slots in [0, 1, 2, 3, 10, 64, 1000, 4097] {
            let mut met: Vec<u32> = Walk::new(slots, 12_345).collect();
            if slots > 64 {
                assert!(met.windows(2).all(|pair| pair[0].abs_diff(pair[1]) > slots as u32 / 4));
            }
            met.sort_unstable();
            assert_eq!(met, (0..slots as u32).collect::<Vec<_>>());
        }
    }
}
