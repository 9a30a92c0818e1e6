//! How many connections follow the channels whose policy asks for it, as their owner knows it from the shards, and whose
//! count is to be announced. Must never know a connection, nor how an announcement travels.
//!
//! A shard tells how many it has, not who came or went, so that nothing is counted twice. A change is not announced at
//! once: who loads a page anew leaves and comes back, and a crowd comes one by one.
//!
//! ```text
//!    count      2 ── 1 ──────── 2 ──────────────── 3 ─── 9 ─── 500 ──────────
//!                    ├────── 3 s ─────┤            ├────── 3 s ─────┤
//!    announced  2 ────────────────────┴ as it was: nothing ─────────┴▶ 500
//! ```

use super::ShardId;
use super::calendar::Calendar;
use super::names::{NameTable, Names};
use super::users::{Change, Movement, Users};
use crate::clock::Now;
use crate::limits::{PRESENCE_DEBOUNCE_MS, PRESENCE_USERS_MAX};
use crate::metrics::heap::Extent;
use crate::table::Table;
use std::sync::Arc;

/// A channel's count, to be told to everyone who follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The channel.
    pub name: Arc<str>,
    /// Connections that follow it, on all shards.
    pub count: u64,
    /// Users that came and went, where clients are signed in.
    pub movement: Movement,
}

/// A channel whose count was changed a while ago.
#[derive(Debug)]
pub struct Due(u32);

/// The counts of the presence channels that one shard owns. It knows those that somebody follows, and for a moment those
/// that everybody has left: as many as connections may leave within [`PRESENCE_DEBOUNCE_MS`] at their pace.
#[derive(Debug)]
pub struct Presence {
    table: NameTable,
    channels: Table<Counted>,
    /// Channels whose count was changed since it was last looked at, by the moment to look.
    changed: Calendar,
}

#[derive(Debug)]
struct Counted {
    name: Arc<str>,
    /// What each shard told, those with nobody left out.
    shards: Vec<(ShardId, u32)>,
    /// Who of them is signed in.
    users: Option<Box<Users>>,
    /// The count that those who follow know of. While nothing was changed it is the sum of what shards told.
    announced: u64,
    /// It stands in the calendar.
    changed: bool,
}

impl Counted {
    fn count(&self) -> u64 {
        self.shards.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Whether those who follow know of something that is no longer so.
    fn has_news(&self) -> bool {
        self.count() != self.announced || self.users.as_ref().is_some_and(|users| users.have_moved())
    }

    fn change_users(&mut self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let users = self.users.get_or_insert_default();
        changes.iter().for_each(|change| users.change(change));
        if users.is_empty() {
            self.users = None;
        }
    }

    fn set(&mut self, shard: ShardId, count: u32) {
        match self.shards.iter().position(|(other, _)| *other == shard) {
            Some(at) if count == 0 => _ = self.shards.swap_remove(at),
            Some(at) => self.shards[at].1 = count,
            None if count == 0 => {}
            None => {
                if self.shards.is_empty() {
                    // Most channels of a large node are followed on one shard, and Vec would begin with four.
                    self.shards.reserve_exact(1);
                }
                self.shards.push((shard, count));
            }
        }
    }
}

impl Presence {
    /// No channels; takes no memory.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self { table: NameTable::new(names), channels: Table::default(), changed: Calendar::default() }
    }

    /// How many channels are counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// A shard tells how many of its connections follow a channel, and how many more or fewer each user has among them since
    /// it last told. A channel that nobody has told of is without presence as long as nobody follows it.
    pub fn tell(&mut self, name: &Arc<str>, shard: ShardId, count: u32, users: &[Change], now: Now) {
        let id = match self.find(name) {
            Some(id) => id,
            None if count == 0 => return,
            None => self.insert(name.clone()),
        };
        let channel = &mut self.channels[id];
        channel.set(shard, count);
        channel.change_users(users);
        if !channel.changed && channel.has_news() {
            channel.changed = true;
            self.changed.enter(id, now.mono_ms + PRESENCE_DEBOUNCE_MS);
        }
    }

    /// How many connections of all shards but one follow a channel.
    #[must_use]
    pub fn beside(&self, name: &str, shard: ShardId) -> u64 {
        let Some(id) = self.find(name) else { return 0 };
        let others = self.channels[id].shards.iter().filter(|(other, _)| *other != shard);
        others.map(|(_, count)| u64::from(*count)).sum()
    }

    /// The users that follow a channel, the first [`PRESENCE_USERS_MAX`] by name; None where nobody who does is signed in.
    #[must_use]
    pub fn users(&self, name: &str) -> Option<Vec<Arc<str>>> {
        let users = self.channels[self.find(name)?].users.as_ref()?;
        Some(users.names().take(PRESENCE_USERS_MAX).cloned().collect())
    }

    /// The next channel whose count was changed [`PRESENCE_DEBOUNCE_MS`] ago.
    pub fn take_due(&mut self, now: Now) -> Option<Due> {
        self.changed.take_due(now).map(Due)
    }

    /// What is to be announced; None when the count is again what those who follow know, or nobody does.
    pub fn announce(&mut self, Due(id): Due) -> Option<Announcement> {
        let channel = &mut self.channels[id];
        channel.changed = false;
        let count = channel.count();
        if count == 0 {
            self.forget(id);
            return None;
        }
        let has_news = channel.has_news();
        channel.announced = count;
        let movement = channel.users.as_mut().map(|users| users.take_movement()).unwrap_or_default();
        channel.users.take_if(|users| users.is_empty());
        has_news.then(|| Announcement { name: channel.name.clone(), count, movement })
    }

    /// When [`Presence::take_due`] has something to give, in milliseconds since the node started.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.changed.next_ms()
    }

    /// Places to visit for all channels to be seen.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.channels.slots()
    }

    /// The channel in a place, if the place is taken: its name, and the bytes on the heap of what shards told.
    #[must_use]
    pub fn in_slot(&self, slot: usize) -> Option<(&Arc<str>, usize)> {
        let channel = self.channels.get(slot as u32)?;
        let users = channel.users.as_ref().map_or(0, |users| users.heap_bytes());
        Some((&channel.name, channel.shards.capacity() * size_of::<(ShardId, u32)>() + users))
    }

    /// The table's memory, without the names and what shards told.
    #[must_use]
    pub fn extent(&self) -> Extent {
        self.channels.extent()
    }

    /// Bytes on the heap of the hashes that find a channel by its name, and of the calendar.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.table.heap_bytes() + self.changed.heap_bytes()
    }

    fn find(&self, name: &str) -> Option<u32> {
        if self.channels.is_empty() {
            // Where no channel has presence, leaving one costs nothing.
            return None;
        }
        self.table.find(name, |id| &self.channels[id].name)
    }

    fn insert(&mut self, name: Arc<str>) -> u32 {
        let channel =
            Counted { name: name.clone(), shards: Vec::new(), users: None, announced: 0, changed: false };
        let id = self.channels.insert(channel);
        self.table.insert(&name, id, |id| &self.channels[id].name);
        id
    }

    fn forget(&mut self, id: u32) {
        let name = self.channels[id].name.clone();
        self.table.remove(&name, id);
        self.channels.remove(id);
        self.table.shrink(|id| &self.channels[id].name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    fn presence() -> Presence {
        Presence::new(Names::new(3))
    }

    /// Everything that is announced now, by name.
    fn announced(presence: &mut Presence, now: Now) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        while let Some(due) = presence.take_due(now) {
            all.extend(presence.announce(due).map(|one| (one.name.to_string(), one.count)));
        }
        all.sort();
        all
    }

    #[test]
    fn who_is_back_within_three_seconds_was_never_away() {
        let (mut presence, name) = (presence(), Arc::from("a"));
        presence.tell(&name, ShardId(0), 2, &[], at(0));
        assert_eq!(announced(&mut presence, at(2_999)), []);
        assert_eq!(announced(&mut presence, at(3_000)), [("a".to_owned(), 2)]);
        assert_eq!(presence.next_ms(), None);
        presence.tell(&name, ShardId(0), 1, &[], at(4_000));
        presence.tell(&name, ShardId(1), 1, &[], at(6_900));
        assert_eq!(presence.next_ms(), Some(7_000));
        assert_eq!(announced(&mut presence, at(7_000)), []);
        assert_eq!(presence.next_ms(), None);
    }

    #[test]
    fn a_channel_that_all_have_left_is_forgotten_and_until_then_a_reload_of_the_only_page_is_none() {
        let (mut presence, name) = (presence(), Arc::from("a"));
        presence.tell(&name, ShardId(5), 1, &[], at(0));
        announced(&mut presence, at(3_000));
        presence.tell(&name, ShardId(5), 0, &[], at(4_000));
        presence.tell(&name, ShardId(6), 1, &[], at(5_000));
        assert_eq!(announced(&mut presence, at(7_000)), []);
        presence.tell(&name, ShardId(6), 0, &[], at(8_000));
        assert_eq!((announced(&mut presence, at(11_000)), presence.len()), (vec![], 0));
        assert_eq!((presence.extent(), presence.index_bytes()), (Extent::default(), 0));
    }

    #[test]
    fn the_same_number_twice_counts_once_and_nobody_of_an_unknown_channel_makes_none() {
        let (mut presence, name) = (presence(), Arc::from("a"));
        presence.tell(&name, ShardId(0), 0, &[], at(0));
        assert!(presence.is_empty());
        (0..3).for_each(|_| presence.tell(&name, ShardId(0), 7, &[], at(0)));
        presence.tell(&name, ShardId(1), 4, &[], at(0));
        assert_eq!(presence.beside("a", ShardId(1)), 7);
        assert_eq!(presence.beside("a", ShardId(9)), 11);
        assert_eq!(presence.beside("b", ShardId(9)), 0);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Tell(usize, u16, u32),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0usize..3, 0u16..4, 0u32..3).prop_map(|(name, shard, count)| Step::Tell(name, shard, count)),
            2 => (0u64..4_000).prop_map(Step::Pass),
        ];
        prop::collection::vec(step, 0..120)
    }

    /// One channel the slow way: time goes by millisecond for millisecond.
    #[derive(Default)]
    struct Twin {
        shards: BTreeMap<u16, u32>,
        known: u64,
        look_ms: Option<u64>,
    }

    impl Twin {
        fn count(&self) -> u64 {
            self.shards.values().map(|count| u64::from(*count)).sum()
        }

        fn tell(&mut self, shard: u16, count: u32, now_ms: u64) {
            self.shards.insert(shard, count);
            if self.look_ms.is_none() && self.count() != self.known {
                self.look_ms = Some((now_ms + 3_000).next_multiple_of(100));
            }
        }

        fn look(&mut self, now_ms: u64) -> Option<u64> {
            self.look_ms.take_if(|look_ms| *look_ms <= now_ms)?;
            let count = self.count();
            let before = std::mem::replace(&mut self.known, count);
            (before != self.known && self.known > 0).then_some(self.known)
        }
    }

    proptest! {
        #[test]
        fn counts_and_announcements_are_those_of_the_naive_twin(steps in steps()) {
            let names: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).into();
            let mut presence = presence();
            let mut twins: Vec<Twin> = names.iter().map(|_| Twin::default()).collect();
            let mut now_ms = 5_000;
            for step in steps.into_iter().chain([Step::Pass(3_100)]) {
                let ms = match step {
                    Step::Tell(name, shard, count) => {
                        presence.tell(&names[name], ShardId(shard), count, &[], at(now_ms));
                        twins[name].tell(shard, count, now_ms);
                        0
                    }
                    Step::Pass(ms) => ms,
                };
                for _ in 0..=ms {
                    let looks = twins.iter_mut().zip(&names);
                    let expected: Vec<_> = looks
                        .filter_map(|(twin, name)| twin.look(now_ms).map(|count| (name.to_string(), count)))
                        .collect();
                    prop_assert_eq!(announced(&mut presence, at(now_ms)), expected);
                    now_ms += 1;
                }
                for (twin, name) in twins.iter().zip(&names) {
                    prop_assert_eq!(presence.beside(name, ShardId(9)), twin.count());
                    let own = u64::from(twin.shards.get(&1).copied().unwrap_or(0));
                    prop_assert_eq!(presence.beside(name, ShardId(1)), twin.count() - own);
                }
            }
            let followed = twins.iter().filter(|twin| twin.count() > 0).count();
            prop_assert_eq!((presence.len(), presence.next_ms()), (followed, None));
        }
    }
}
