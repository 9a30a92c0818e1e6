//! Moments at which something is due, and for whom. Must never know what it is.

use crate::clock::{Now, Tick};
use std::collections::VecDeque;

/// Ids by the moment that they are due at. It is as long as there are ticks until the last of them, however many ids are
/// due at each; most are due behind all others, so that entering one is no search.
#[derive(Debug, Default)]
pub struct Calendar {
    /// In order, none of them without ids.
    moments: VecDeque<Moment>,
    /// Sum of the capacities of all lists of ids.
    capacity: usize,
}

#[derive(Debug)]
struct Moment {
    tick: Tick,
    ids: Vec<u32>,
}

impl Calendar {
    /// Enters an id. The caller sees to it that it is there once.
    pub fn enter(&mut self, id: u32, due_ms: u64) {
        let tick = Tick::not_before(due_ms);
        let at = match self.moments.back() {
            Some(last) if last.tick >= tick => self.moments.partition_point(|moment| moment.tick < tick),
            Some(_) | None => self.moments.len(),
        };
        if self.moments.get(at).is_none_or(|moment| moment.tick != tick) {
            self.moments.insert(at, Moment { tick, ids: Vec::new() });
        }
        let ids = &mut self.moments[at].ids;
        let capacity = ids.capacity();
        ids.push(id);
        self.capacity += ids.capacity() - capacity;
    }

    /// Takes out an id that is due.
    pub fn take_due(&mut self, now: Now) -> Option<u32> {
        let first = self.moments.front_mut().filter(|first| first.tick.start_ms() <= now.mono_ms)?;
        let id = first.ids.pop();
        if first.ids.is_empty() {
            self.capacity -= first.ids.capacity();
            self.moments.pop_front();
        }
        if self.moments.is_empty() {
            self.moments = VecDeque::new();
        }
        id
    }

    /// When the next id is due, in milliseconds since the node started.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.moments.front().map(|first| first.tick.start_ms())
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.moments.capacity() * size_of::<Moment>() + self.capacity * size_of::<u32>()
    }

    /// Whether what is due at `due_ms` is due by now: it is rounded up to a tick, so that many share a moment.
    #[must_use]
    pub fn is_due(due_ms: u64, now: Now) -> bool {
        Tick::not_before(due_ms).start_ms() <= now.mono_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TICK_MS;
    use proptest::prelude::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    proptest! {
        #[test]
        fn everything_comes_out_once_not_early_and_within_a_tick(
            entries in prop::collection::vec(0u64..2_000, 0..60),
        ) {
            let mut calendar = Calendar::default();
            for (id, due_ms) in entries.iter().enumerate() {
                calendar.enter(id as u32, *due_ms);
            }
            let mut taken = Vec::new();
            for now in (0..2_100).map(at) {
                prop_assert!(calendar.next_ms().is_none_or(|next_ms| next_ms + TICK_MS > now.mono_ms));
                while let Some(id) = calendar.take_due(now) {
                    let due_ms = entries[id as usize];
                    prop_assert!((due_ms..due_ms + TICK_MS).contains(&now.mono_ms));
                    prop_assert!(Calendar::is_due(due_ms, now));
                    taken.push(id);
                }
                for id in (0..entries.len() as u32).filter(|id| !taken.contains(id)) {
                    prop_assert!(!Calendar::is_due(entries[id as usize], now));
                }
            }
            taken.sort_unstable();
            prop_assert_eq!(taken, (0..entries.len() as u32).collect::<Vec<_>>());
            prop_assert_eq!((calendar.next_ms(), calendar.heap_bytes()), (None, 0));
        }
    }
}
