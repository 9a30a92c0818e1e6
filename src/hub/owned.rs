//! The channels that this shard numbers: one order for the whole node, whoever publishes. Must never know a
//! subscriber: it knows which shards are interested.

use super::ShardId;
use super::broker::Entry;
use super::calendar::Calendar;
use super::history::{Bounds, History, LogId};
use super::ids::{self, Ids};
use super::names::{NameTable, Names};
use super::publication::Publication;
use crate::clock::Now;
use crate::config::policy::Policy;
use crate::dialect::cursor::{Cursor, Epoch};
use crate::limits::{OWNED_CHANNELS_MAX, SHARDS_MAX};
use crate::metrics::heap::{Extent, slot_bytes};
use crate::table::Table;
use std::sync::Arc;

/// A set of shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardSet([u64; SHARDS_MAX / 64]);

/// The answer to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The channel's head: what comes next is for the new subscriber.
    pub cursor: Cursor,
    /// What became of `since`; None where none was given.
    pub recovery: Option<Box<Recovery>>,
}

/// What became of a client's cursor. Without a gap and without publications it was the head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// What is lost to this client.
    pub gap: Option<Gap>,
    /// The first of the publications behind that, in order, as frames; not all of them when they are many.
    pub missed: Vec<Arc<[u8]>>,
    /// The offset that the client has with all of this.
    pub end: u64,
}

impl Recovery {
    /// For a client that is at the head.
    #[must_use]
    pub fn nothing_missed(head: Cursor) -> Self {
        Self { end: head.offset, ..Self::default() }
    }
}

impl Joined {
    /// Bytes that it weighs in a mailbox. The publications themselves are shared with the history.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let frames = |recovery: &Recovery| recovery.missed.len() * size_of::<Arc<[u8]>>();
        self.recovery.as_deref().map_or(0, |recovery| size_of::<Recovery>() + frames(recovery))
    }
}

/// The offsets `from..=to` are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first missing offset.
    pub from: u64,
    /// The last missing offset; 0 when nothing was published in this epoch.
    pub to: u64,
}

/// No room for one more channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

#[derive(Debug)]
struct OwnedChannel {
    name: Arc<str>,
    epoch: Epoch,
    interested: ShardSet,
    /// What is remembered of it, from the first publication on.
    log: Option<LogId>,
}

/// All channels that this shard numbers.
#[derive(Debug)]
pub struct Owned {
    table: NameTable,
    channels: Table<OwnedChannel>,
    history: History,
    /// The epoch of channels that are numbered from now on. It changes whenever a numbering is forgotten, so that
    /// no cursor of it can be mistaken for one of a later numbering.
    epoch: Epoch,
    /// Published channels that nobody followed when they entered, by the moment to look whether they are forgotten.
    expiring: Calendar,
    /// By which publishers may try again. A numbering is kept for as long as its ids: whoever tries again must not be
    /// told of a place that is none any more.
    ids: Ids,
    /// A broker numbers the channels, and is to be told of those that are forgotten.
    mirrors: bool,
    forgotten: Vec<Arc<str>>,
}

// A channel that nobody has published to costs no more than who is interested in it.
const _: () = assert!(slot_bytes::<OwnedChannel>() <= 48);

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
    pub fn new(names: Names, epoch: u64, bounds: Bounds, id_bounds: ids::Bounds) -> Self {
        Self {
            table: NameTable::new(names),
            channels: Table::default(),
            history: History::new(bounds),
            epoch: Epoch(epoch % EPOCH_LIMIT),
            expiring: Calendar::default(),
            ids: Ids::new(names, id_bounds),
            mirrors: false,
            forgotten: Vec::new(),
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

    /// Bytes of publications kept, as they are weighed against the bound.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        self.history.bytes()
    }

    /// Publications kept.
    #[must_use]
    pub fn history_publications(&self) -> usize {
        self.history.publications()
    }

    /// The ids of publications by which whoever published may try again.
    #[must_use]
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// A connection of `shard` joins: says where the channel stands, and what became of the client's cursor. Who is
    /// interested already may ask again, for what follows what it got.
    pub fn join(&mut self, name: &Arc<str>, shard: ShardId, since: Option<Cursor>, now: Now) -> Joined {
        let id = self.find(name).unwrap_or_else(|| self.insert(name.clone()));
        self.channels[id].interested.insert(shard);
        let channel = &self.channels[id];
        let cursor = self.cursor_of(channel);
        let recovery = since.map(|since| Box::new(self.recovery(channel, since, cursor, now)));
        Joined { cursor, recovery }
    }

    /// The last connection of `shard` left the channel.
    pub fn leave(&mut self, name: &str, shard: ShardId, now: Now) {
        let Some(id) = self.find(name) else { return };
        let channel = &mut self.channels[id];
        channel.interested.remove(shard);
        if !channel.interested.is_empty() {
            return;
        }
        match channel.log {
            Some(log) => {
                self.history.touch(log, now);
                self.expire(id, log);
            }
            // Nobody can hold a place in it but its beginning, and that is the same again.
            None => self.forget(id),
        }
    }

    /// Numbers a publication and keeps it as `policy` says; tells which shards it goes to. `key` is what it is the latest of.
    ///
    /// # Errors
    /// [`Full`] when the channel is new and [`OWNED_CHANNELS_MAX`] are there.
    pub fn publish(
        &mut self,
        name: &str,
        data: &str,
        key: Option<Arc<str>>,
        policy: &Policy,
        now: Now,
    ) -> Result<(Publication, Cursor, ShardSet), Full> {
        let id = match self.find(name) {
            Some(id) => id,
            None if self.channels.len() >= OWNED_CHANNELS_MAX => return Err(Full),
            None => self.insert(name.into()),
        };
        let channel = &mut self.channels[id];
        let log = *channel.log.get_or_insert_with(|| self.history.begin());
        let cursor = Cursor { epoch: channel.epoch, offset: self.history.head(log) + 1 };
        let publication = Publication::new(channel.name.clone(), cursor, data, key, now.wall_ms);
        self.history.append(log, publication.frame.clone(), policy, now);
        let interested = channel.interested;
        if interested.is_empty() {
            self.expire(id, log);
        }
        Ok((publication, cursor, interested))
    }

    /// Keeps a channel that a broker numbers. True when it was not kept: whatever it says of itself is only right once it is told
    /// where it stands.
    pub fn mirror(&mut self, name: &Arc<str>, now: Now) -> bool {
        self.mirrors = true;
        let known = self.find(name);
        let id = known.unwrap_or_else(|| self.insert(name.clone()));
        let log = *self.channels[id].log.get_or_insert_with(|| self.history.begin());
        self.history.touch(log, now);
        if self.channels[id].interested.is_empty() {
            self.expire(id, log);
        }
        known.is_none()
    }

    /// A channel that a broker numbers stands there; what was kept of it is none of what comes next.
    pub fn stand(&mut self, name: &str, cursor: Cursor) {
        let Some(id) = self.find(name) else { return };
        let channel = &mut self.channels[id];
        channel.epoch = cursor.epoch;
        let log = *channel.log.get_or_insert_with(|| self.history.begin());
        self.history.restart(log, cursor.offset);
    }

    /// As [`Owned::publish`], with the next number, which a broker has given.
    pub fn append(
        &mut self,
        name: &str,
        entry: &Entry,
        policy: &Policy,
        now: Now,
    ) -> Option<(Publication, ShardSet)> {
        let channel = &self.channels[self.find(name)?];
        let (epoch, log, interested) = (channel.epoch, channel.log?, channel.interested);
        let cursor = Cursor { epoch, offset: self.history.head(log) + 1 };
        assert_eq!(entry.offset, cursor.offset, "a channel's numbering has no hole");
        let publication =
            Publication::new(channel.name.clone(), cursor, &entry.data, entry.key.clone(), entry.wall_ms);
        self.history.append(log, publication.frame.clone(), policy, now);
        Some((publication, interested))
    }

    /// Whether all publications behind `offset` are kept.
    #[must_use]
    pub fn covers(&self, name: &str, offset: u64, now: Now) -> bool {
        let log = self.find(name).and_then(|id| self.channels[id].log);
        log.is_some_and(|log| self.history.first(log, now) <= offset + 1)
    }

    /// The channels of a broker that have been forgotten since this was asked last.
    pub fn forgotten(&mut self) -> std::vec::Drain<'_, Arc<str>> {
        self.forgotten.drain(..)
    }

    /// The shards that follow a channel.
    #[must_use]
    pub fn interested(&self, name: &str) -> ShardSet {
        self.find(name).map_or_else(ShardSet::default, |id| self.channels[id].interested)
    }

    /// Where a publication stands that came with this id, for as long as its publisher may try again.
    #[must_use]
    pub fn repeated(&self, name: &str, id: &str, now: Now) -> Option<Cursor> {
        let channel = self.find(name)?;
        let offset = self.ids.find(channel, id, now)?;
        Some(Cursor { epoch: self.channels[channel].epoch, offset })
    }

    /// Remembers the id of what was just published.
    pub fn remember(&mut self, name: &str, id: Box<str>, offset: u64, now: Now) {
        let Some(channel) = self.find(name) else { return };
        if let (Some(log), Some(until)) =
            (self.channels[channel].log, self.ids.remember(channel, id, offset, now))
        {
            self.history.hold(log, until);
        }
    }

    /// Where a channel stands.
    #[must_use]
    pub fn cursor(&self, name: &str) -> Option<Cursor> {
        Some(self.cursor_of(&self.channels[self.find(name)?]))
    }

    /// How many publications of a channel a client that has none could get.
    #[must_use]
    pub fn history(&self, name: &str, now: Now) -> usize {
        let log = self.find(name).and_then(|id| self.channels[id].log);
        log.map_or(0, |log| self.history.count(log, now))
    }

    /// Places to visit for all channels to be seen.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.channels.slots()
    }

    /// The channel in a place, if the place is taken: its name, and of what is kept the bytes on the heap and how many
    /// publications that is.
    #[must_use]
    pub fn in_slot(&self, slot: usize) -> Option<(&Arc<str>, usize, usize)> {
        let channel = self.channels.get(slot as u32)?;
        let (bytes, publications) = channel.log.map_or((0, 0), |log| self.history.kept_bytes(log));
        Some((&channel.name, bytes, publications))
    }

    /// The memory of the tables of channels and of logs, without the names and what is kept.
    #[must_use]
    pub fn extents(&self) -> [Extent; 2] {
        [self.channels.extent(), self.history.extent()]
    }

    /// Bytes on the heap of the hashes that find a channel by its name, of the calendar of those that may be forgotten, and
    /// of the ids of publications.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.table.heap_bytes() + self.expiring.heap_bytes() + self.ids.heap_bytes()
    }

    /// Bytes on the heap of the order and the calendar of what is kept.
    #[must_use]
    pub fn history_index_bytes(&self) -> usize {
        self.history.index_bytes()
    }

    /// Every channel's name, where it stands, and [`Owned::history`], in no particular order.
    pub fn iter(&self, now: Now) -> impl Iterator<Item = (&Arc<str>, Cursor, usize)> {
        self.channels.iter().map(move |channel| {
            let history = channel.log.map_or(0, |log| self.history.count(log, now));
            (&channel.name, self.cursor_of(channel), history)
        })
    }

    /// Gives back publications that are too old of channels that have fallen silent, and forgets channels that nobody
    /// followed or published to for [`CHANNEL_KEEP_MS`](crate::limits::CHANNEL_KEEP_MS), or for as long as their
    /// history is kept or a publisher may try again; looks at up to `budget` of all together. Returns when there may be more to do, in milliseconds
    /// since the node started.
    pub fn sweep(&mut self, now: Now, mut budget: usize) -> Option<u64> {
        while budget > 0
            && let Some(dropped) = self.history.age_one(now, budget)
        {
            budget = budget.saturating_sub(dropped.max(1));
        }
        while budget > 0 && self.ids.expire_one(now) {
            budget -= 1;
        }
        // Only now: no channel is forgotten before its publications and their ids are.
        while budget > 0
            && let Some(id) = self.expiring.take_due(now)
        {
            budget -= 1;
            self.forget_if_due(id, now);
        }
        [self.history.next_ms(), self.ids.next_ms(), self.expiring.next_ms()].into_iter().flatten().min()
    }

    fn find(&self, name: &str) -> Option<u32> {
        self.table.find(name, |id| &self.channels[id].name)
    }

    fn insert(&mut self, name: Arc<str>) -> u32 {
        let channel = OwnedChannel {
            name: name.clone(),
            epoch: self.epoch,
            interested: ShardSet::default(),
            log: None,
        };
        let id = self.channels.insert(channel);
        self.table.insert(&name, id, |id| &self.channels[id].name);
        id
    }

    fn cursor_of(&self, channel: &OwnedChannel) -> Cursor {
        Cursor { epoch: channel.epoch, offset: channel.log.map_or(0, |log| self.history.head(log)) }
    }

    fn recovery(&self, channel: &OwnedChannel, since: Cursor, head: Cursor, now: Now) -> Recovery {
        if since == head {
            return Recovery::nothing_missed(head);
        }
        match channel.log {
            Some(log) if since.epoch == head.epoch && since.offset < head.offset => {
                let page = self.history.page_after(log, since.offset, now);
                let (from, to) = (since.offset + 1, page.first - 1);
                Recovery {
                    gap: (from <= to).then_some(Gap { from, to }),
                    end: to + page.frames.len() as u64,
                    missed: page.frames,
                }
            }
            Some(_) | None => {
                Recovery { gap: Some(Gap { from: 1, to: head.offset }), ..Recovery::nothing_missed(head) }
            }
        }
    }

    /// Nobody follows a published channel, for now.
    fn expire(&mut self, id: u32, log: LogId) {
        if !self.history.set_expiring(log, true) {
            self.expiring.enter(id, self.history.keep_until_ms(log));
        }
    }

    fn forget_if_due(&mut self, id: u32, now: Now) {
        let channel = &self.channels[id];
        let Some(log) = channel.log else { unreachable!("a channel expires that nobody has published to") };
        self.history.set_expiring(log, false);
        if !channel.interested.is_empty() {
            return;
        }
        if !Calendar::is_due(self.history.keep_until_ms(log), now) {
            return self.expire(id, log);
        }
        self.history.end(log);
        if self.mirrors {
            self.forgotten.push(self.channels[id].name.clone());
        }
        self.forget(id);
        self.epoch = Epoch((self.epoch.0 + 1) % EPOCH_LIMIT);
    }

    fn forget(&mut self, id: u32) {
        let name = self.channels[id].name.clone();
        self.table.remove(&name, id);
        self.channels.remove(id);
        self.table.shrink(|id| &self.channels[id].name);
    }
}

/// Epochs stay below this, so that they are at most eight characters.
pub const EPOCH_LIMIT: u64 = 62u64.pow(8);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TICK_MS;
    use crate::limits::CHANNEL_KEEP_MS;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { bytes: 1 << 20, log_bytes: 1 << 20, page_bytes: 1 << 20 };

    const IDS: ids::Bounds = ids::Bounds { count: 1_000, bytes: 1 << 20 };

    fn owned() -> Owned {
        Owned::new(Names::new(5), 1000, BOUNDS, IDS)
    }

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: mono_ms }
    }

    fn publish(owned: &mut Owned, name: &str, now: Now) -> (Publication, Cursor, ShardSet) {
        owned.publish(name, "1", None, &Policy::default(), now).unwrap()
    }

    fn offsets(recovery: &Recovery) -> (Option<(u64, u64)>, usize, u64) {
        (recovery.gap.map(|gap| (gap.from, gap.to)), recovery.missed.len(), recovery.end)
    }

    #[test]
    fn offsets_rise_by_one_from_one_whoever_publishes() {
        let mut owned = owned();
        let name: Arc<str> = "a".into();
        let joined = owned.join(&name, ShardId(3), None, at(0));
        assert_eq!((joined.cursor.offset, joined.recovery), (0, None));
        for offset in 1..10 {
            let (publication, cursor, interested) = publish(&mut owned, "a", at(0));
            assert_eq!((publication.offset, cursor.offset), (offset, offset));
            assert_eq!(interested.iter().collect::<Vec<_>>(), [ShardId(3)]);
        }
    }

    #[test]
    fn a_cursor_gets_what_came_after_it_and_one_from_elsewhere_the_whole_gap() {
        let mut owned = owned();
        let name: Arc<str> = "a".into();
        for _ in 0..5 {
            publish(&mut owned, "a", at(0));
        }
        let head = owned.cursor("a").unwrap();
        let mut ask = |epoch, offset| {
            let joined = owned.join(&name, ShardId(0), Some(Cursor { epoch, offset }), at(0));
            assert_eq!(joined.cursor, head);
            offsets(&joined.recovery.unwrap())
        };
        assert_eq!(ask(head.epoch, 5), (None, 0, 5));
        assert_eq!(ask(head.epoch, 2), (None, 3, 5));
        assert_eq!(ask(head.epoch, 0), (None, 5, 5));
        assert_eq!(ask(head.epoch, 6), (Some((1, 5)), 0, 5));
        assert_eq!(ask(Epoch(1), 5), (Some((1, 5)), 0, 5));
        assert_eq!(ask(Epoch(1), 2), (Some((1, 5)), 0, 5));
    }

    #[test]
    fn an_unpublished_channel_is_forgotten_at_once_and_its_beginning_still_recovers() {
        let mut owned = owned();
        let name: Arc<str> = "a".into();
        let cursor = owned.join(&name, ShardId(0), None, at(0)).cursor;
        owned.leave("a", ShardId(0), at(0));
        assert!(owned.is_empty());
        let recovery = owned.join(&name, ShardId(0), Some(cursor), at(0)).recovery.unwrap();
        assert_eq!(*recovery, Recovery::default());
        let elsewhere = Cursor { epoch: Epoch(1), offset: 7 };
        let recovery = owned.join(&name, ShardId(0), Some(elsewhere), at(0)).recovery.unwrap();
        assert_eq!(offsets(&recovery), (Some((1, 0)), 0, 0));
        assert_eq!(owned.history_bytes(), 0);
    }

    #[test]
    fn a_forgotten_numbering_is_never_mistaken_for_a_later_one() {
        let mut owned = owned();
        let old = publish(&mut owned, "a", at(0)).1;
        assert!(owned.sweep(at(CHANNEL_KEEP_MS - TICK_MS), 10).is_some());
        assert_eq!(owned.cursor("a"), Some(old), "kept until its time is over");
        owned.sweep(at(CHANNEL_KEEP_MS), 10);
        assert!(owned.is_empty());
        let new = publish(&mut owned, "a", at(CHANNEL_KEEP_MS)).1;
        assert_eq!(new.offset, old.offset);
        assert_ne!(new.epoch, old.epoch);
    }

    /// Publishes with an id as the shard does; whether it was a repetition, and where it stands.
    fn publish_once(owned: &mut Owned, name: &str, id: &str, now: Now) -> (bool, Cursor) {
        if let Some(cursor) = owned.repeated(name, id, now) {
            return (true, cursor);
        }
        let cursor = publish(owned, name, now).1;
        owned.remember(name, id.into(), cursor.offset, now);
        (false, cursor)
    }

    #[test]
    fn the_same_id_of_the_same_channel_is_answered_with_the_first_place_for_five_minutes() {
        let mut owned = owned();
        let first = publish_once(&mut owned, "a", "x", at(0));
        assert!(!first.0);
        publish(&mut owned, "a", at(1));
        assert_eq!(publish_once(&mut owned, "a", "x", at(299_999)), (true, first.1));
        assert!(!publish_once(&mut owned, "a", "y", at(299_999)).0, "another id");
        assert!(!publish_once(&mut owned, "b", "x", at(299_999)).0, "another channel");
        let (repeated, cursor) = publish_once(&mut owned, "a", "x", at(300_000));
        assert_eq!((repeated, cursor.offset), (false, 4));
    }

    #[test]
    fn a_numbering_is_kept_for_as_long_as_a_publisher_may_try_again_and_not_longer() {
        let mut owned = owned();
        let (_, cursor) = publish_once(&mut owned, "a", "x", at(50));
        let mut now = at(50);
        while let Some(next_ms) = owned.sweep(now, 10) {
            assert_eq!(publish_once(&mut owned, "a", "x", now), (true, cursor), "at {}", now.mono_ms);
            now = at(next_ms.max(now.mono_ms + 1));
        }
        assert_eq!(now.mono_ms, 300_100);
        assert!(owned.is_empty() && owned.ids().is_empty());
        // Its place among the channels is taken by another one, which knows nothing of the id.
        assert!(!publish_once(&mut owned, "b", "x", now).0);
        let again = publish_once(&mut owned, "a", "x", now);
        assert!(!again.0);
        assert_ne!(again.1.epoch, cursor.epoch);
    }

    #[test]
    fn an_id_that_there_was_no_room_for_holds_no_numbering() {
        let mut owned = Owned::new(Names::new(5), 1000, BOUNDS, ids::Bounds { count: 0, bytes: 0 });
        publish_once(&mut owned, "a", "x", at(0));
        assert!(!publish_once(&mut owned, "a", "x", at(0)).0);
        owned.sweep(at(CHANNEL_KEEP_MS), 10);
        assert!(owned.is_empty());
        assert_eq!(owned.ids().evicted(), 2);
    }

    #[test]
    fn a_numbering_is_kept_for_as_long_as_the_history_may_be() {
        let mut owned = owned();
        let day = Policy { history_ttl_ms: 24 * 3_600_000, ..Policy::default() };
        let cursor = owned.publish("a", "1", None, &day, at(0)).unwrap().1;
        let before = at(day.history_ttl_ms - TICK_MS);
        owned.sweep(before, 10);
        let since = Some(Cursor { offset: 0, ..cursor });
        let joined = owned.join(&"a".into(), ShardId(0), since, before);
        assert_eq!(offsets(&joined.recovery.unwrap()), (None, 1, 1));
        owned.leave("a", ShardId(0), before);
        owned.sweep(at(before.mono_ms + day.history_ttl_ms), 10);
        assert!(owned.is_empty());
    }

    #[test]
    fn a_channel_that_somebody_follows_is_never_forgotten_but_its_publications_are() {
        let mut owned = owned();
        publish(&mut owned, "a", at(0));
        owned.join(&"a".into(), ShardId(70), None, at(0));
        assert_eq!(owned.sweep(at(10 * CHANNEL_KEEP_MS), 10), None);
        assert_eq!((owned.len(), owned.history_bytes()), (1, 0));
        owned.leave("a", ShardId(70), at(10 * CHANNEL_KEEP_MS));
        owned.sweep(at(11 * CHANNEL_KEEP_MS), 10);
        assert!(owned.is_empty());
    }

    #[test]
    fn the_memory_of_a_silent_channel_returns_in_time_also_while_somebody_follows_it() {
        let mut owned = owned();
        owned.join(&"a".into(), ShardId(0), None, at(0));
        assert_eq!(owned.sweep(at(0), 10), None, "nothing is due before the first publication");
        publish(&mut owned, "a", at(150));
        let due_ms = 150u64.next_multiple_of(TICK_MS) + Policy::default().history_ttl_ms;
        assert_eq!(owned.sweep(at(150), 10), Some(due_ms));
        assert!(owned.history_bytes() > 0);
        assert_eq!((owned.sweep(at(due_ms), 10), owned.history_bytes()), (None, 0));
    }

    #[test]
    fn a_quiet_owner_asks_for_no_more_looks_than_there_are_moments_to_look_at() {
        let mut owned = owned();
        for number in 0..1_000 {
            publish(&mut owned, &format!("c{}", number % 100), at(number));
        }
        let (mut now, mut looks) = (999, 0);
        while let Some(next_ms) = owned.sweep(at(now), usize::MAX) {
            assert!(next_ms > now, "nothing is left to do at {now}");
            (now, looks) = (next_ms, looks + 1);
        }
        assert!(owned.is_empty());
        // All were published in the last ten ticks; the first look came too early for the later publications.
        assert!(looks <= 3 * 11, "{looks} looks");
    }

    #[test]
    fn a_sweep_keeps_its_budget_and_says_that_more_is_due() {
        let mut owned = owned();
        for number in 0..100 {
            publish(&mut owned, &format!("c{number}"), at(0));
        }
        // One of them has more than is dropped in one sweep.
        (0..25).for_each(|_| _ = publish(&mut owned, "c7", at(0)));
        let now = at(CHANNEL_KEEP_MS);
        let mut left = vec![owned.len() + owned.history_publications()];
        while let Some(next_ms) = owned.sweep(now, 10) {
            assert!(next_ms <= now.mono_ms);
            left.push(owned.len() + owned.history_publications());
        }
        assert!(left.windows(2).all(|pair| pair[0] == pair[1] + 10), "{left:?}");
    }

    /// The owner as anybody would write it who need not be fast: every publication has its own entry in one list, and all
    /// rules are looked up there.
    struct Twin {
        bounds: Bounds,
        policies: Vec<Policy>,
        kept: Vec<Entry>,
        heads: Vec<Option<Head>>,
        followed: Vec<bool>,
        published: u64,
    }

    /// A gap, and the frames behind it.
    type Past = (Option<(u64, u64)>, Vec<Arc<[u8]>>);

    struct Entry {
        channel: usize,
        offset: u64,
        frame: Arc<[u8]>,
        at_ms: u64,
    }

    #[derive(Clone, Copy)]
    struct Head {
        offset: u64,
        /// Which publication of all was its last.
        serial: u64,
        touched_ms: u64,
    }

    impl Twin {
        fn weight(entry: &Entry) -> usize {
            entry.frame.len() + 80
        }

        fn bytes(&self, of: impl Fn(&Entry) -> bool) -> usize {
            self.kept.iter().filter(|entry| of(entry)).map(Self::weight).sum()
        }

        fn is_aged(&self, entry: &Entry, now: Now) -> bool {
            now.mono_ms - entry.at_ms >= self.policies[entry.channel].history_ttl_ms
        }

        fn drop_oldest(&mut self, channel: usize) {
            let oldest = self.kept.iter().position(|entry| entry.channel == channel).unwrap();
            self.kept.remove(oldest);
        }

        fn publish(&mut self, channel: usize, offset: u64, frame: Arc<[u8]>, now: Now) {
            self.published += 1;
            let head = Head { offset, serial: self.published, touched_ms: now.mono_ms };
            self.heads[channel] = Some(head);
            self.kept.push(Entry { channel, offset, frame, at_ms: now.mono_ms });
            let Policy { history, history_ttl_ms, .. } = self.policies[channel];
            while let Some(oldest) = self.kept.iter().find(|entry| entry.channel == channel)
                && (self.is_aged(oldest, now)
                    || history_ttl_ms == 0
                    || self.kept.iter().filter(|entry| entry.channel == channel).count() > history
                    || self.bytes(|entry| entry.channel == channel)
                        > self.bounds.log_bytes.min(self.bounds.bytes))
            {
                self.drop_oldest(channel);
            }
            while self.bytes(|_| true) > self.bounds.bytes {
                let serial = |entry: &&Entry| self.heads[entry.channel].unwrap().serial;
                let oldest = self.kept.iter().min_by_key(serial).unwrap().channel;
                self.drop_oldest(oldest);
            }
        }

        fn sweep(&mut self, now: Now) {
            let tick_ms = now.mono_ms / TICK_MS * TICK_MS;
            for channel in 0..self.policies.len() {
                let ttl_ms = self.policies[channel].history_ttl_ms;
                let newest = self.kept.iter().rfind(|entry| entry.channel == channel);
                if newest.is_some_and(|newest| newest.at_ms + ttl_ms <= tick_ms) {
                    self.kept.retain(|entry| entry.channel != channel);
                }
                let keep_ms = ttl_ms.max(CHANNEL_KEEP_MS);
                if self.heads[channel].is_some_and(|head| head.touched_ms + keep_ms <= tick_ms)
                    && !self.followed[channel]
                {
                    self.heads[channel] = None;
                }
            }
        }

        /// What a client must be told that has everything up to `since` of the present epoch.
        fn recovery(&self, channel: usize, since: u64, now: Now) -> Past {
            let missed = self.kept.iter().filter(|entry| entry.channel == channel && entry.offset > since);
            let missed: Vec<_> = missed.filter(|entry| !self.is_aged(entry, now)).collect();
            let head = self.heads[channel].map_or(0, |head| head.offset);
            let first = missed.first().map_or(head + 1, |entry| entry.offset);
            let gap = (first > since + 1).then_some((since + 1, first - 1));
            (gap, missed.into_iter().map(|entry| entry.frame.clone()).collect())
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Publish(usize, usize),
        Resume(usize, prop::sample::Index),
        Leave(usize),
        Pass(u64),
        Sweep,
    }

    const CHANNELS: usize = 4;

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..CHANNELS, 0usize..400).prop_map(|(channel, size)| Step::Publish(channel, size)),
            3 => (0..CHANNELS, any::<prop::sample::Index>()).prop_map(|(at, since)| Step::Resume(at, since)),
            1 => (0..CHANNELS).prop_map(Step::Leave),
            2 => (0u64..700).prop_map(Step::Pass),
            1 => (0u64..150_000).prop_map(Step::Pass),
            2 => Just(Step::Sweep),
        ];
        prop::collection::vec(step, 0..150)
    }

    fn policy() -> impl Strategy<Value = Policy> {
        let ttl = prop_oneof![Just(0), 1u64..2_000, 1u64..300_000, Just(u64::MAX)];
        let history = prop_oneof![Just(0), Just(1), 2usize..40];
        (history, ttl).prop_map(|(history, history_ttl_ms)| Policy {
            history,
            // Not so long that the naive twin runs over.
            history_ttl_ms: history_ttl_ms.min(1 << 40),
            ..Policy::default()
        })
    }

    fn bounds() -> impl Strategy<Value = Bounds> {
        (0usize..3_000, 0usize..3_000, 0usize..1_000).prop_map(|(bytes, log_bytes, page_bytes)| Bounds {
            bytes,
            log_bytes,
            page_bytes,
        })
    }

    /// Everything that a client gets, page by page, and that each page keeps its bound.
    fn resume(owned: &mut Owned, name: &Arc<str>, since: Cursor, bounds: Bounds, now: Now) -> Past {
        let joined = owned.join(name, ShardId(1), Some(since), now);
        let mut first = joined.recovery.unwrap();
        let (gap, mut missed) = (first.gap.map(|gap| (gap.from, gap.to)), first.missed.clone());
        while first.end < joined.cursor.offset {
            assert!(!first.missed.is_empty(), "a page brings something");
            let since = Cursor { offset: first.end, ..joined.cursor };
            first = owned.join(name, ShardId(1), Some(since), now).recovery.unwrap();
            assert_eq!(first.gap, None, "nothing is lost in between");
            let bytes: usize = first.missed.iter().map(|frame| frame.len()).sum();
            assert!(bytes <= bounds.page_bytes || first.missed.len() == 1);
            missed.extend(first.missed.iter().cloned());
        }
        (gap, missed)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn the_owner_keeps_forgets_and_recovers_exactly_what_its_naive_twin_does(
            policies in prop::collection::vec(policy(), CHANNELS),
            bounds in bounds(),
            steps in steps(),
        ) {
            let names: Vec<Arc<str>> = (0..CHANNELS).map(|number| format!("c{number}").into()).collect();
            let mut owned = Owned::new(Names::new(5), 7, bounds, IDS);
            let mut twin = Twin {
                bounds,
                policies,
                kept: Vec::new(),
                heads: vec![None; CHANNELS],
                followed: vec![false; CHANNELS],
                published: 0,
            };
            let mut now = at(5_000);
            let mut epochs = std::collections::BTreeSet::new();
            for step in steps {
                match step {
                    Step::Publish(channel, size) => {
                        let policy = twin.policies[channel];
                        let data = "1".repeat(size + 1);
                        let (publication, cursor, _) =
                            owned.publish(&names[channel], &data, None, &policy, now).unwrap();
                        let expected = twin.heads[channel].map_or(0, |head| head.offset) + 1;
                        prop_assert_eq!((publication.offset, cursor.offset), (expected, expected));
                        if expected == 1 {
                            prop_assert!(epochs.insert((channel, cursor.epoch.0)), "an epoch came twice");
                        }
                        twin.publish(channel, expected, publication.frame, now);
                    }
                    Step::Resume(channel, since) => {
                        let head = twin.heads[channel].map_or(0, |head| head.offset);
                        let epoch = owned.join(&names[channel], ShardId(1), None, now).cursor.epoch;
                        twin.followed[channel] = true;
                        let since = since.index(head as usize + 1) as u64;
                        let got =
                            resume(&mut owned, &names[channel], Cursor { epoch, offset: since }, bounds, now);
                        prop_assert_eq!(got, twin.recovery(channel, since, now));
                    }
                    // A shard that does not follow a channel does not leave it.
                    Step::Leave(channel) => if std::mem::take(&mut twin.followed[channel]) {
                        owned.leave(&names[channel], ShardId(1), now);
                        if let Some(head) = &mut twin.heads[channel] {
                            head.touched_ms = now.mono_ms;
                        }
                    },
                    Step::Pass(ms) => now = at(now.mono_ms + ms),
                    Step::Sweep => {
                        owned.sweep(now, usize::MAX);
                        twin.sweep(now);
                    }
                }
                prop_assert_eq!(owned.history_bytes(), twin.bytes(|_| true));
                prop_assert!(owned.history_bytes() <= bounds.bytes);
                prop_assert_eq!(owned.history_publications(), twin.kept.len());
                for (channel, name) in names.iter().enumerate() {
                    let offset = twin.heads[channel].map(|head| head.offset);
                    let known = offset.or(twin.followed[channel].then_some(0));
                    prop_assert_eq!(owned.cursor(name).map(|cursor| cursor.offset), known);
                    let count = twin.recovery(channel, 0, now).1.len();
                    prop_assert_eq!(owned.history(name, now), count);
                }
            }
        }
    }
}
