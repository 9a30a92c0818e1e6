//! When connections were opened, without a byte in any of them. Must never hold more than [`AGE_MARKS_MAX`] marks.
//!
//! Generations are given out in order, so the moment at which one was given out says when its connection came. A mark is
//! kept for the first connection of a tick, and marks thin out as they age: two stand no closer than a 64th of their
//! age. What a look finds is therefore late by a 64th of the age at most, or by a tick.
//!
//! ```text
//!   generation   ──┬───────┬───┬──┬─┬┬┬   newest
//!   tick           0      900 1400 …  1850
//! ```

use crate::clock::{Now, TICK_MS, Tick};
use crate::limits::AGE_MARKS_MAX;
use crate::metrics::heap::Extent;

/// Generations have so many bits; the reactor's own tokens have the topmost one.
pub const GENERATION_MASK: u32 = u32::MAX >> 1;

/// The moments at which generations were given out.
#[derive(Debug, Default)]
pub struct Ages {
    /// By age, the oldest first.
    marks: Vec<Mark>,
    /// The generation given out last.
    newest: u32,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    generation: u32,
    opened: Tick,
}

impl Ages {
    /// Gives out the next generation.
    pub fn next(&mut self, now: Now) -> u32 {
        self.newest = self.newest.wrapping_add(1) & GENERATION_MASK;
        if self.marks.last().is_none_or(|mark| mark.opened != now.tick()) {
            if self.marks.len() == AGE_MARKS_MAX {
                self.thin_out(now);
            }
            self.marks.push(Mark { generation: self.newest, opened: now.tick() });
        }
        self.newest
    }

    /// The generation given out last.
    #[must_use]
    pub fn newest(&self) -> u32 {
        self.newest
    }

    /// How many connections came after this one: the larger, the older it is.
    #[must_use]
    pub fn rank(&self, generation: u32) -> u32 {
        self.newest.wrapping_sub(generation) & GENERATION_MASK
    }

    /// The tick in which a connection was opened, or the one of the mark before it.
    #[must_use]
    pub fn opened(&self, generation: u32) -> Tick {
        let rank = self.rank(generation);
        let younger = self.marks.partition_point(|mark| self.rank(mark.generation) >= rank);
        self.marks.get(younger.saturating_sub(1)).map_or_else(Tick::default, |mark| mark.opened)
    }

    /// The least rank of those that were opened `age_ms` ago or earlier, as far as the marks tell; None where none can be.
    #[must_use]
    pub fn rank_of_age(&self, now: Now, age_ms: u64) -> Option<u32> {
        let young = self.marks.partition_point(|mark| mark.opened.elapsed_ms(now) >= age_ms);
        if young == 0 {
            return None;
        }
        // Those between the last old mark and the first young one count as opened at the old one.
        Some(self.marks.get(young).map_or(0, |young| self.rank(young.generation) + 1))
    }

    /// The memory of the marks.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent::new(self.marks.capacity(), self.marks.capacity(), size_of::<Mark>())
    }

    /// Drops marks that stand too close to the one before for their age, and those of generations that will come round again.
    fn thin_out(&mut self, now: Now) {
        let newest = self.newest;
        let rank = |mark: &Mark| newest.wrapping_sub(mark.generation) & GENERATION_MASK;
        self.marks.retain(|mark| rank(mark) <= GENERATION_MASK / 2);
        // One more is needed; where the rule frees none, a coarser one does.
        let mut parts = PARTS_OF_AGE;
        while self.marks.len() == AGE_MARKS_MAX {
            let mut before: Option<Tick> = None;
            self.marks.retain(|mark| {
                let apart_ms = before.map_or(u64::MAX, |tick| mark.opened.start_ms() - tick.start_ms());
                let keeps = apart_ms >= (mark.opened.elapsed_ms(now) / parts).max(TICK_MS);
                if keeps {
                    before = Some(mark.opened);
                }
                keeps
            });
            parts = (parts / 2).max(1);
        }
    }
}

/// Marks stand no closer than this part of their age.
const PARTS_OF_AGE: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    proptest! {
        /// Against a twin that remembers every moment.
        #[test]
        fn an_age_is_late_by_a_64th_at_most(pauses in prop::collection::vec(0u64..200_000, 1..3000)) {
            let (mut ages, mut now_ms, mut twin) = (Ages::default(), 0, Vec::new());
            for pause in pauses {
                // Most come close together.
                now_ms += if pause < 100_000 { pause / 1000 } else { pause };
                twin.push((ages.next(at(now_ms)), now_ms));
                prop_assert!(ages.marks.len() <= AGE_MARKS_MAX);
            }
            let now = at(now_ms);
            for (index, &(generation, opened_ms)) in twin.iter().enumerate() {
                let found_ms = ages.opened(generation).start_ms();
                let age_ms = now_ms - opened_ms;
                let late_ms = opened_ms - found_ms;
                prop_assert!(late_ms <= age_ms / 32 + TICK_MS, "{late_ms} of {age_ms}");
                prop_assert_eq!(ages.rank(generation) as usize, twin.len() - 1 - index);
            }
            let limit_ms = now_ms / 2;
            let least = ages.rank_of_age(now, limit_ms);
            for &(generation, _) in &twin {
                let is_old = ages.opened(generation).elapsed_ms(now) >= limit_ms;
                prop_assert_eq!(least.is_some_and(|least| ages.rank(generation) >= least), is_old);
            }
        }
    }

    #[test]
    fn months_of_newcomers_keep_few_marks_and_recent_ages_stay_exact() {
        let mut ages = Ages::default();
        let mut last = 0;
        // One a second for a month.
        for second in 0..2_600_000u64 {
            last = ages.next(at(second * 1000));
        }
        let now = at(2_600_000_000);
        assert!(ages.marks.len() <= AGE_MARKS_MAX);
        for age_s in [1u32, 60, 1800, 86_400, 1_000_000] {
            let found_s = ages.opened(last + 1 - age_s).elapsed_ms(now) / 1000;
            assert!(
                found_s >= u64::from(age_s) && found_s <= u64::from(age_s + age_s / 32 + 1),
                "{age_s}: {found_s}"
            );
        }
    }

    #[test]
    fn generations_come_round() {
        let mut ages = Ages { newest: GENERATION_MASK - 1, ..Ages::default() };
        let (old, young) = (ages.next(at(1000)), (ages.next(at(5000)), ages.next(at(9000))));
        assert_eq!((old, young), (GENERATION_MASK, (0, 1)));
        assert_eq!((ages.rank(old), ages.rank(young.0), ages.rank(young.1)), (2, 1, 0));
        assert_eq!(ages.opened(old), at(1000).tick());
        assert_eq!(ages.rank_of_age(at(9000), 4000), Some(1));
        assert_eq!(ages.rank_of_age(at(9000), 9000), None);
    }
}
