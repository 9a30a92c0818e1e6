//! The ids of publications by which whoever published may try again: a second one is answered with the first's place and is
//! for nobody. Must never know what was published, nor who tried.
//!
//! All are remembered for the same time, so they lie in one row by the moment that they came; a hash of channel and id
//! finds them there:
//!
//! ```text
//!    oldest ─────────────────────── newest
//!   ┌────┬────┬────┬────┬────┬────┬────┐
//!   │    │    │    │    │    │    │    │ ◀── remembered
//!   └────┴────┴────┴────┴────┴────┴────┘
//!     └▶ forgotten: its time is over, or there is no room
//! ```

use super::names::Names;
use crate::clock::{Now, Tick};
use crate::limits::{PUBLISH_ID_KEEP_MS, PUBLISH_ID_OVERHEAD_BYTES};
use hashbrown::HashTable;
use std::collections::VecDeque;

/// How much may be remembered. Every id weighs its bytes and [`PUBLISH_ID_OVERHEAD_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Ids.
    pub count: usize,
    /// Bytes of all of them.
    pub bytes: usize,
}

/// The ids of one shard's channels.
#[derive(Debug)]
pub struct Ids {
    names: Names,
    bounds: Bounds,
    /// In the order in which they came.
    row: VecDeque<Remembered>,
    /// The serial of the oldest; those behind it count up.
    oldest: u32,
    /// Serials, by channel and id.
    serials: HashTable<u32>,
    /// What all of them weigh.
    bytes: usize,
    /// Forgotten for want of room, ever.
    evicted: u64,
}

#[derive(Debug)]
struct Remembered {
    /// The owner's place for the channel. It is nobody else's before `until`.
    channel: u32,
    /// When it is forgotten.
    until: Tick,
    /// The publication's number.
    offset: u64,
    id: Box<str>,
}

impl Bounds {
    fn weight(id: &str) -> usize {
        id.len() + PUBLISH_ID_OVERHEAD_BYTES
    }
}

impl Ids {
    /// No ids; takes no memory.
    #[must_use]
    pub fn new(names: Names, bounds: Bounds) -> Self {
        Self {
            names,
            bounds,
            row: VecDeque::new(),
            oldest: 0,
            serials: HashTable::new(),
            bytes: 0,
            evicted: 0,
        }
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.row.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row.is_empty()
    }

    /// How many were forgotten before their time was over, because there was no room.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let texts = self.bytes - self.row.len() * PUBLISH_ID_OVERHEAD_BYTES;
        self.row.capacity() * size_of::<Remembered>() + self.serials.allocation_size() + texts
    }

    /// The number of the publication that came to a channel with this id.
    #[must_use]
    pub fn find(&self, channel: u32, id: &str, now: Now) -> Option<u64> {
        let found = self.serials.find(self.names.hash_id(channel, id), |&serial| {
            let known = &self.row[self.place(serial)];
            known.channel == channel && *known.id == *id && known.until.start_ms() > now.mono_ms
        });
        found.map(|&serial| self.row[self.place(serial)].offset)
    }

    /// Remembers the id of a channel's publication, which [`Ids::find`] does not find. The oldest go where there is no room.
    /// Returns until when the channel's place must not become another's; None when the id does not fit at all.
    pub fn remember(&mut self, channel: u32, id: Box<str>, offset: u64, now: Now) -> Option<Tick> {
        let weight = Bounds::weight(&id);
        while !self.row.is_empty()
            && (self.row.len() >= self.bounds.count || self.bytes + weight > self.bounds.bytes)
        {
            self.evicted += 1;
            self.forget_oldest();
        }
        if self.bounds.count == 0 || weight > self.bounds.bytes {
            self.evicted += 1;
            return None;
        }
        let until = Tick::not_before(now.mono_ms + PUBLISH_ID_KEEP_MS);
        let (hash, serial) =
            (self.names.hash_id(channel, &id), self.oldest.wrapping_add(self.row.len() as u32));
        self.row.push_back(Remembered { channel, until, offset, id });
        self.bytes += weight;
        let (names, row, oldest) = (self.names, &self.row, self.oldest);
        self.serials.insert_unique(hash, serial, |&serial| hash_of(names, row, oldest, serial));
        Some(until)
    }

    /// Forgets the oldest if its time is over.
    pub fn expire_one(&mut self, now: Now) -> bool {
        let due = self.next_ms().is_some_and(|due_ms| due_ms <= now.mono_ms);
        if due {
            self.forget_oldest();
        }
        due
    }

    /// When [`Ids::expire_one`] has something to do, in milliseconds since the node started.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.row.front().map(|oldest| oldest.until.start_ms())
    }

    fn place(&self, serial: u32) -> usize {
        serial.wrapping_sub(self.oldest) as usize
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.row.front() else { return };
        self.bytes -= Bounds::weight(&oldest.id);
        match self
            .serials
            .find_entry(self.names.hash_id(oldest.channel, &oldest.id), |&serial| serial == self.oldest)
        {
            Ok(entry) => _ = entry.remove(),
            Err(_) => unreachable!("an id that no hash leads to"),
        }
        self.row.pop_front();
        self.oldest = self.oldest.wrapping_add(1);
        self.give_back();
    }

    /// What the most that there ever were needed goes back once most of them are gone.
    fn give_back(&mut self) {
        if self.row.is_empty() {
            (self.row, self.serials) = (VecDeque::new(), HashTable::new());
            return;
        }
        let kept = 2 * self.row.len();
        if self.row.capacity() > 2 * kept.max(64) {
            self.row.shrink_to(kept);
            let (names, row, oldest) = (self.names, &self.row, self.oldest);
            self.serials.shrink_to(kept, |&serial| hash_of(names, row, oldest, serial));
        }
    }
}

fn hash_of(names: Names, row: &VecDeque<Remembered>, oldest: u32, serial: u32) -> u64 {
    let known = &row[serial.wrapping_sub(oldest) as usize];
    names.hash_id(known.channel, &known.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDE: Bounds = Bounds { count: 1 << 20, bytes: 1 << 26 };

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    /// The ids as anybody would keep them who need not be fast.
    struct Twin {
        bounds: Bounds,
        known: Vec<(u32, String, u64, u64)>,
        evicted: u64,
    }

    impl Twin {
        fn find(&self, channel: u32, id: &str, now_ms: u64) -> Option<u64> {
            let fits = |(other, known, _, due_ms): &&(u32, String, u64, u64)| {
                *other == channel && known == id && *due_ms > now_ms
            };
            self.known.iter().find(fits).map(|(_, _, offset, _)| *offset)
        }

        fn bytes(&self) -> usize {
            self.known.iter().map(|(_, id, _, _)| id.len() + 96).sum()
        }

        fn remember(&mut self, channel: u32, id: &str, offset: u64, now_ms: u64) {
            let due_ms = (now_ms + 300_000).next_multiple_of(100);
            self.known.push((channel, id.to_owned(), offset, due_ms));
            while self.known.len() > self.bounds.count || self.bytes() > self.bounds.bytes {
                self.known.remove(0);
                self.evicted += 1;
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Publish(u32, String),
        Pass(u64),
        Sweep,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0u32..3, "[ab]{1,3}").prop_map(|(channel, id)| Step::Publish(channel, id)),
            1 => (0u64..700).prop_map(Step::Pass),
            1 => (0u64..400_000).prop_map(Step::Pass),
            2 => Just(Step::Sweep),
        ];
        prop::collection::vec(step, 0..200)
    }

    fn bounds() -> impl Strategy<Value = Bounds> {
        let wide = prop_oneof![Just(WIDE.count), 0usize..20];
        (wide, prop_oneof![Just(WIDE.bytes), 0usize..2_000])
            .prop_map(|(count, bytes)| Bounds { count, bytes })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn an_id_is_remembered_exactly_as_long_as_its_naive_twin_remembers_it(
            bounds in bounds(),
            steps in steps(),
        ) {
            let mut ids = Ids::new(Names::new(3), bounds);
            // Serials wrap around once in every run.
            ids.oldest = u32::MAX - 20;
            let mut twin = Twin { bounds, known: Vec::new(), evicted: 0 };
            let (mut now, mut offset) = (at(12_345), 0);
            for step in steps {
                match step {
                    Step::Publish(channel, id) => {
                        let found = ids.find(channel, &id, now);
                        prop_assert_eq!(found, twin.find(channel, &id, now.mono_ms));
                        if found.is_none() {
                            offset += 1;
                            ids.remember(channel, id.as_str().into(), offset, now);
                            twin.remember(channel, &id, offset, now.mono_ms);
                        }
                    }
                    Step::Pass(ms) => now = at(now.mono_ms + ms),
                    Step::Sweep => {
                        while ids.expire_one(now) {}
                        twin.known.retain(|(_, _, _, due_ms)| *due_ms > now.mono_ms);
                        prop_assert!(ids.next_ms().is_none_or(|next_ms| next_ms > now.mono_ms));
                    }
                }
                prop_assert_eq!(ids.len(), twin.known.len());
                prop_assert_eq!((ids.bytes, ids.evicted()), (twin.bytes(), twin.evicted));
                prop_assert!(ids.len() <= bounds.count && ids.bytes <= bounds.bytes);
            }
            while ids.expire_one(at(now.mono_ms + 400_000)) {}
            prop_assert_eq!((ids.len(), ids.heap_bytes(), ids.next_ms()), (0, 0, None));
        }
    }

    #[test]
    fn the_memory_of_many_ids_returns_as_they_are_forgotten_and_each_weighs_no_less_than_it_takes() {
        let mut ids = Ids::new(Names::new(3), WIDE);
        for number in 0..10_000u64 {
            ids.remember(7, format!("{number:036}").into(), number, at(number));
            // What the allocator adds to a text is in the weight as well.
            assert!(number < 64 || ids.heap_bytes() <= ids.bytes, "{number}: {}", ids.heap_bytes());
        }
        let full = ids.heap_bytes();
        while ids.len() > 100 {
            assert!(ids.expire_one(at(PUBLISH_ID_KEEP_MS + 10_000)));
        }
        assert!(ids.heap_bytes() < full / 20, "{} of {full}", ids.heap_bytes());
        assert_eq!(ids.find(7, &format!("{:036}", 9_999), at(20_000)), Some(9_999));
    }
}
