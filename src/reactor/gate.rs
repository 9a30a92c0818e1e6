//! How many shards may go on with large fan-outs at once: one a core where there are very many. Must never keep a shard from anything else.
//!
//! Where descriptor tables are small there are many more shards than cores. All of them writing to crowds at the same
//! time would take no less time in all, but everybody else's answers would wait until each of them has had its turn. So they
//! go through one after another, each for some milliseconds.

use crate::hub::ShardId;
use crate::limits::SHARDS_PER_CORE_UNGATED;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The gate of a node.
#[derive(Debug)]
pub struct Gate {
    room: Mutex<Room>,
    /// As many as stand in line, to be asked without the lock.
    waiting: AtomicUsize,
    /// Which shards were let in while they stood in line.
    called: Vec<AtomicBool>,
}

#[derive(Debug)]
struct Room {
    free: usize,
    line: VecDeque<ShardId>,
}

impl Gate {
    /// For so many shards on so many cores.
    #[must_use]
    pub fn new(shards: usize, cores: usize) -> Self {
        let free = if shards <= SHARDS_PER_CORE_UNGATED * cores { shards } else { cores.max(1) };
        Self {
            room: Mutex::new(Room { free, line: VecDeque::new() }),
            waiting: AtomicUsize::new(0),
            called: (0..shards).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// A shard that is outside and not in line wants to go in. True when it is in now; else it stands in line.
    pub fn enter(&self, shard: ShardId) -> bool {
        let room = &mut *self.lock();
        if room.free > 0 {
            room.free -= 1;
            return true;
        }
        room.line.push_back(shard);
        self.waiting.store(room.line.len(), Ordering::Relaxed);
        false
    }

    /// Whether a shard that stands in line was let in meanwhile. It hears so once.
    pub fn is_called(&self, shard: ShardId) -> bool {
        self.called[usize::from(shard.0)].swap(false, Ordering::AcqRel)
    }

    /// Whether somebody waits outside.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// A shard that is inside leaves. Returns who is in instead of it, and may be asleep.
    pub fn leave(&self) -> Option<ShardId> {
        let room = &mut *self.lock();
        let next = room.line.pop_front();
        self.waiting.store(room.line.len(), Ordering::Relaxed);
        match next {
            Some(shard) => self.called[usize::from(shard.0)].store(true, Ordering::Release),
            None => room.free += 1,
        }
        next
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Room> {
        // Nothing in here is left half done.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where one shard stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    /// It does not want to go in.
    #[default]
    Outside,
    /// In line.
    Waiting,
    /// Inside, since this moment in milliseconds since the node started.
    Inside(u64),
}

impl Place {
    /// Moves on as the shard `wants`, and makes room for the next where that waited long enough; returns who is to be woken.
    pub fn step(&mut self, gate: &Gate, shard: ShardId, wants: bool, now_ms: u64) -> Option<ShardId> {
        let mut woken = None;
        match *self {
            Self::Inside(since_ms) if !wants || (gate.is_wanted() && now_ms >= since_ms + STAY_MS) => {
                woken = gate.leave();
                *self = Self::Outside;
            }
            Self::Waiting if gate.is_called(shard) => *self = Self::Inside(now_ms),
            Self::Inside(_) | Self::Waiting | Self::Outside => {}
        }
        if *self == Self::Outside && wants {
            *self = if gate.enter(shard) { Self::Inside(now_ms) } else { Self::Waiting };
        }
        woken
    }

    /// Whether it is inside.
    #[must_use]
    pub fn is_inside(self) -> bool {
        matches!(self, Self::Inside(_))
    }
}

/// Who waits outside gets its turn after this long, in milliseconds: some two thousand writes.
const STAY_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_there_is_room_for_are_inside_and_the_others_follow_in_order() {
        let gate = Gate::new(9, 2);
        let mut places = [Place::default(); 4];
        let step = |places: &mut [Place; 4], shard: u16, wants, now_ms| {
            let woken = places[usize::from(shard)].step(&gate, ShardId(shard), wants, now_ms);
            let inside = places.map(Place::is_inside);
            (inside.iter().filter(|inside| **inside).count(), woken.map(|shard| shard.0))
        };
        assert_eq!(step(&mut places, 0, true, 0), (1, None));
        assert_eq!(step(&mut places, 1, true, 0), (2, None));
        assert_eq!(step(&mut places, 2, true, 0), (2, None));
        assert_eq!(step(&mut places, 3, true, 0), (2, None));
        assert_eq!(step(&mut places, 0, true, STAY_MS - 1), (2, None), "it may stay for a while");
        assert_eq!(step(&mut places, 0, true, STAY_MS), (1, Some(2)), "it lines up behind the others");
        assert_eq!(step(&mut places, 2, true, STAY_MS), (2, None));
        assert_eq!(step(&mut places, 1, false, STAY_MS), (1, Some(3)), "it has nothing to do any more");
        // Whoever was called and has nothing to do any more hands on at its next turn.
        assert_eq!(step(&mut places, 3, false, STAY_MS + 1), (2, None));
        assert_eq!(step(&mut places, 3, false, STAY_MS + 1), (1, Some(0)));
        assert_eq!(step(&mut places, 0, true, STAY_MS + 1), (2, None));
        assert_eq!(step(&mut places, 2, true, 100 * STAY_MS), (2, None), "nobody wants its place");
        assert_eq!(step(&mut places, 2, false, 100 * STAY_MS), (1, None));
        assert_eq!(step(&mut places, 0, false, 100 * STAY_MS), (0, None));
        assert!(gate.enter(ShardId(1)) && gate.enter(ShardId(2)));
    }

    #[test]
    fn where_a_few_shards_share_a_core_all_are_inside() {
        let gate = Gate::new(8, 2);
        assert!((0..8).all(|shard| gate.enter(ShardId(shard))));
        assert!(!gate.is_wanted());
    }

    #[test]
    fn nobody_is_inside_twice_or_forgotten_whatever_all_do_at_the_same_time() {
        let (gate, inside) = (Gate::new(9, 2), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for shard in 0..6u16 {
                let (gate, inside) = (&gate, &inside);
                scope.spawn(move || {
                    let mut place = Place::default();
                    for work in 0..2_000 {
                        while !place.is_inside() {
                            place.step(gate, ShardId(shard), true, 0);
                            std::thread::yield_now();
                        }
                        assert!(inside.fetch_add(1, Ordering::AcqRel) < 2);
                        inside.fetch_sub(1, Ordering::AcqRel);
                        place.step(gate, ShardId(shard), work % 3 == 0, STAY_MS);
                    }
                    while place != Place::Outside {
                        place.step(gate, ShardId(shard), false, 0);
                        std::thread::yield_now();
                    }
                });
            }
        });
        assert_eq!(gate.lock().free, 2);
    }
}
