//! The channels that this shard numbers: one order for the whole node, whoever publishes. Must never know a
//! subscriber: it knows which shards are interested.

use super::ShardId;
use super::names::{NameTable, Names};
use super::publication::Publication;
use crate::clock::{Now, Tick};
use crate::dialect::cursor::{Cursor, Epoch};
use crate::limits::{CHANNEL_KEEP_MS, OWNED_CHANNELS_MAX, SHARDS_MAX};
use crate::metrics::heap::{Extent, slot_bytes};
use slab::Slab;
use std::collections::VecDeque;
use std::sync::Arc;

/// A set of shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardSet([u64; SHARDS_MAX / 64]);

/// The answer to a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// The channel's head: what comes next is for the new subscriber.
    pub cursor: Cursor,
    /// What became of `since`; None where none was given.
    pub recovery: Option<Recovery>,
}

/// What became of a client's cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing was missed.
    Full,
    /// The offsets `from..=to` are lost to this client.
    Gap {
        /// The first missing offset.
        from: u64,
        /// The last missing offset; 0 when nothing was published in this epoch.
        to: u64,
    },
}

/// No room for one more channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

#[derive(Debug)]
struct OwnedChannel {
    name: Arc<str>,
    epoch: Epoch,
    offset: u64,
    interested: ShardSet,
    /// When it was last published to or lost its last subscriber.
    touched: Tick,
    /// It stands in the queue of those that may be forgotten.
    expiring: bool,
}

/// All channels that this shard numbers.
#[derive(Debug)]
pub struct Owned {
    table: NameTable,
    channels: Slab<OwnedChannel>,
    /// One past the highest place that was ever taken.
    slots: usize,
    /// The epoch of channels that are numbered from now on. It changes whenever a numbering is forgotten, so that
    /// no cursor of it can be mistaken for one of a later numbering.
    epoch: Epoch,
    /// Published channels nobody follows, by the time they entered.
    expiring: VecDeque<u32>,
}

impl ShardSet {
    /// Adds a shard.
    pub fn insert(&mut self, shard: ShardId) {
        self.0[usize::from(shard.0) / 64] |= 1 << (shard.0 % 64);
    }

    /// Takes a shard out.
    pub fn remove(&mut self, shard: ShardId) {
        self.0[usize::from(shard.0) / 64] &= !(1 << (shard.0 % 64));
    }

    /// Whether a shard is in it.
    #[must_use]
    pub fn contains(&self, shard: ShardId) -> bool {
        self.0[usize::from(shard.0) / 64] & 1 << (shard.0 % 64) != 0
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; SHARDS_MAX / 64]
    }

    /// All of them, in order.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        (0..SHARDS_MAX as u16).map(ShardId).filter(move |&shard| self.contains(shard))
    }
}

impl Owned {
    /// No channels. `epoch` must be one that no earlier run used: a random number.
    #[must_use]
    pub fn new(names: Names, epoch: u64) -> Self {
        let epoch = Epoch(epoch % EPOCH_LIMIT);
        Self {
            table: NameTable::new(names),
            channels: Slab::new(),
            slots: 0,
            epoch,
            expiring: VecDeque::new(),
        }
    }

    /// How many channels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// A connection of `shard` joins: says where the channel stands, and what became of the client's cursor.
    pub fn join(&mut self, name: &Arc<str>, shard: ShardId, since: Option<Cursor>, now: Now) -> Joined {
        let id = self.find(name).unwrap_or_else(|| self.insert(name.clone(), now));
        let channel = &mut self.channels[id as usize];
        channel.interested.insert(shard);
        let cursor = Cursor { epoch: channel.epoch, offset: channel.offset };
        Joined { cursor, recovery: since.map(|since| recovery(since, cursor)) }
    }

    /// The last connection of `shard` left the channel.
    pub fn leave(&mut self, name: &str, shard: ShardId, now: Now) {
        let Some(id) = self.find(name) else { return };
        let channel = &mut self.channels[id as usize];
        channel.interested.remove(shard);
        if !channel.interested.is_empty() {
            return;
        }
        if channel.offset == 0 {
            // Nobody can hold a place in it but its beginning, and that is the same again.
            self.forget(id);
        } else {
            self.expire(id, now);
        }
    }

    /// Numbers a publication; says which shards it goes to.
    ///
    /// # Errors
    /// [`Full`] when the channel is new and [`OWNED_CHANNELS_MAX`] are there.
    pub fn publish(
        &mut self,
        name: &str,
        data: &str,
        now: Now,
    ) -> Result<(Publication, Cursor, ShardSet), Full> {
        let id = match self.find(name) {
            Some(id) => id,
            None if self.channels.len() >= OWNED_CHANNELS_MAX => return Err(Full),
            None => self.insert(name.into(), now),
        };
        let channel = &mut self.channels[id as usize];
        channel.offset += 1;
        let publication = Publication::new(channel.name.clone(), channel.offset, data, now.wall_ms);
        let cursor = Cursor { epoch: channel.epoch, offset: channel.offset };
        let interested = channel.interested;
        if interested.is_empty() {
            self.expire(id, now);
        }
        Ok((publication, cursor, interested))
    }

    /// Where a channel stands.
    #[must_use]
    pub fn cursor(&self, name: &str) -> Option<Cursor> {
        let channel = &self.channels[self.find(name)? as usize];
        Some(Cursor { epoch: channel.epoch, offset: channel.offset })
    }

    /// Every channel's name and where it stands, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Cursor)> {
        self.channels
            .iter()
            .map(|(_, channel)| (&channel.name, Cursor { epoch: channel.epoch, offset: channel.offset }))
    }

    /// Places to visit for all channels to be seen.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The name of the channel in a place, if the place is taken.
    #[must_use]
    pub fn name_in_slot(&self, slot: usize) -> Option<&Arc<str>> {
        self.channels.get(slot).map(|channel| &channel.name)
    }

    /// The table's memory, without the names.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent::new(self.slots, self.channels.capacity(), slot_bytes::<OwnedChannel>())
    }

    /// Bytes on the heap of the hashes that find a channel by its name, and of the queue of those that may be forgotten.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.table.heap_bytes() + self.expiring.capacity() * size_of::<u32>()
    }

    /// Bytes on the heap of publications kept for those who come back: none are.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        0
    }

    /// Forgets up to `budget` channels that nobody followed or published to for [`CHANNEL_KEEP_MS`]. Returns when
    /// there may be more to do, in milliseconds since the node started.
    pub fn sweep(&mut self, now: Now, budget: usize) -> Option<u64> {
        for _ in 0..budget {
            let &id = self.expiring.front()?;
            let channel = &mut self.channels[id as usize];
            if !channel.interested.is_empty() {
                channel.expiring = false;
                self.expiring.pop_front();
                continue;
            }
            if channel.touched.elapsed_ms(now) < CHANNEL_KEEP_MS {
                // It was touched again since it entered: it waits behind those that were not.
                let due_ms = channel.touched.start_ms() + CHANNEL_KEEP_MS;
                self.expiring.rotate_left(1);
                return Some(due_ms.min(now.mono_ms + CHANNEL_KEEP_MS / 8).max(now.mono_ms + 1));
            }
            self.expiring.pop_front();
            self.forget(id);
            self.epoch = Epoch((self.epoch.0 + 1) % EPOCH_LIMIT);
        }
        self.expiring.front().map(|_| now.mono_ms)
    }

    fn find(&self, name: &str) -> Option<u32> {
        self.table.find(name, |id| &self.channels[id as usize].name)
    }

    fn insert(&mut self, name: Arc<str>, now: Now) -> u32 {
        let id = self.channels.insert(OwnedChannel {
            name: name.clone(),
            epoch: self.epoch,
            offset: 0,
            interested: ShardSet::default(),
            touched: now.tick(),
            expiring: false,
        }) as u32;
        self.slots = self.slots.max(id as usize + 1);
        self.table.insert(&name, id, |id| &self.channels[id as usize].name);
        id
    }

    fn expire(&mut self, id: u32, now: Now) {
        let channel = &mut self.channels[id as usize];
        channel.touched = now.tick();
        if !std::mem::replace(&mut channel.expiring, true) {
            self.expiring.push_back(id);
        }
    }

    fn forget(&mut self, id: u32) {
        let name = self.channels[id as usize].name.clone();
        self.table.remove(&name, id);
        self.channels.remove(id as usize);
        self.table.shrink(|id| &self.channels[id as usize].name);
        if self.channels.is_empty() {
            self.channels.shrink_to_fit();
            self.slots = 0;
        }
    }
}

fn recovery(since: Cursor, head: Cursor) -> Recovery {
    if since == head {
        return Recovery::Full;
    }
    let known = since.epoch == head.epoch && since.offset < head.offset;
    Recovery::Gap { from: if known { since.offset + 1 } else { 1 }, to: head.offset }
}

/// Epochs stay below this, so that they are at most eight characters.
const EPOCH_LIMIT: u64 = 62u64.pow(8);

#[cfg(test)]
mod tests {
    use super::*;

    fn owned() -> Owned {
        Owned::new(Names::new(5), 1000)
    }

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: mono_ms }
    }

    #[test]
    fn offsets_rise_by_one_from_one_whoever_publishes() {
        let mut owned = owned();
        let name: Arc<str> = "a".into();
        let joined = owned.join(&name, ShardId(3), None, at(0));
        assert_eq!((joined.cursor.offset, joined.recovery), (0, None));
        for offset in 1..10 {
            let (publication, cursor, interested) = owned.publish("a", "1", at(0)).unwrap();
            assert_eq!((publication.offset, cursor.offset), (offset, offset));
            assert_eq!(interested.iter().collect::<Vec<_>>(), [ShardId(3)]);
        }
    }

    #[test]
    fn a_cursor_at_the_head_recovers_and_any_other_names_the_gap() {
        let mut owned = owned();
        let name: Arc<str> = "a".into();
        for _ in 0..5 {
            owned.publish("a", "1", at(0)).unwrap();
        }
        let head = owned.cursor("a").unwrap();
        let mut ask =
            |epoch, offset| owned.join(&name, ShardId(0), Some(Cursor { epoch, offset }), at(0)).recovery;
        assert_eq!(ask(head.epoch, 5), Some(Recovery::Full));
        assert_eq!(ask(head.epoch, 2), Some(Recovery::Gap { from: 3, to: 5 }));
        assert_eq!(ask(head.epoch, 6), Some(Recovery::Gap { from: 1, to: 5 }));
        assert_eq!(ask(Epoch(1), 5), Some(Recovery::Gap { from: 1, to: 5 }));
    }

    #[test]
    fn an_unpublished_channel_is_forgotten_at_once_and_its_beginning_still_recovers() {
        let mut owned = owned();
        let name: Arc<str> = "a".into();
        let cursor = owned.join(&name, ShardId(0), None, at(0)).cursor;
        owned.leave("a", ShardId(0), at(0));
        assert!(owned.is_empty());
        assert_eq!(owned.join(&name, ShardId(0), Some(cursor), at(0)).recovery, Some(Recovery::Full));
    }

    #[test]
    fn a_forgotten_numbering_is_never_mistaken_for_a_later_one() {
        let mut owned = owned();
        let old = owned.publish("a", "1", at(0)).unwrap().1;
        assert!(owned.sweep(at(CHANNEL_KEEP_MS - TICK), 10).is_some());
        assert_eq!(owned.cursor("a"), Some(old), "kept until its time is over");
        owned.sweep(at(CHANNEL_KEEP_MS), 10);
        assert!(owned.is_empty());
        let new = owned.publish("a", "1", at(CHANNEL_KEEP_MS)).unwrap().1;
        assert_eq!(new.offset, old.offset);
        assert_ne!(new.epoch, old.epoch);
    }

    #[test]
    fn a_channel_that_somebody_follows_is_never_forgotten() {
        let mut owned = owned();
        owned.publish("a", "1", at(0)).unwrap();
        owned.join(&"a".into(), ShardId(70), None, at(0));
        assert_eq!(owned.sweep(at(10 * CHANNEL_KEEP_MS), 10), None);
        assert_eq!(owned.len(), 1);
        owned.leave("a", ShardId(70), at(10 * CHANNEL_KEEP_MS));
        owned.sweep(at(11 * CHANNEL_KEEP_MS), 10);
        assert!(owned.is_empty());
    }

    const TICK: u64 = crate::clock::TICK_MS;
}
