//! The channels that this shard's connections follow. Must never number a publication: the owner does.

use super::names::{NameTable, Names};
use super::subscribers::Subscribers;
use crate::config::policy::{Policies, Slow};
use crate::conn::subscriptions::ChannelId;
use crate::dialect::cursor::Cursor;
use crate::metrics::heap::{Extent, slot_bytes};
use crate::table::Table;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A channel as this shard knows it.
#[derive(Debug)]
pub struct Channel {
    /// Its name, shared with the owner and with every publication.
    pub name: Arc<str>,
    /// Joins that the owner has not answered yet.
    pub joining: u32,
    /// What becomes of those who read too slowly: the policy's word, looked up once.
    pub slow: Slow,
    /// Who gets what is published.
    pub subscribers: Subscribers,
}

// Most channels of a large node have one subscriber, so they weigh nearly as much as connections do.
const _: () = assert!(slot_bytes::<Channel>() <= 56);

/// One shard's knowledge of one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelPart {
    /// The channel.
    pub name: Arc<str>,
    /// Its subscribers in that shard.
    pub subscribers: usize,
    /// Where it stands, from its owner.
    pub cursor: Option<Cursor>,
    /// Publications that a client without any could get, from its owner.
    pub history: usize,
    /// Who follows it and is signed in, from its owner, where one channel was asked for.
    pub users: Option<Vec<Arc<str>>>,
}

/// All channels that this shard's connections follow or are about to.
#[derive(Debug)]
pub struct Channels {
    table: NameTable,
    channels: Table<Channel>,
    subscriptions: usize,
}

impl Channels {
    /// No channels.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self { table: NameTable::new(names), channels: Table::default(), subscriptions: 0 }
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

    /// How many subscriptions there are, over all channels.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// The channel called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ChannelId> {
        self.table.find(name, |id| &self.channels[id].name).map(ChannelId)
    }

    /// The channel behind an id. Whoever holds an id keeps its channel alive.
    #[must_use]
    pub fn channel(&self, id: ChannelId) -> &Channel {
        &self.channels[id.0]
    }

    /// The channel that an id points to now, for work that may have outlived its channel.
    pub fn get_mut(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.channels.get_mut(id.0)
    }

    /// As [`Channels::channel`], to change it.
    pub fn channel_mut(&mut self, id: ChannelId) -> &mut Channel {
        &mut self.channels[id.0]
    }

    /// Notes that a connection is about to join `name`; makes the channel, as `policies` say, when it is the first.
    pub fn join_begins(&mut self, name: &str, policies: &Policies) -> ChannelId {
        let id = self.find(name).unwrap_or_else(|| self.insert(name, policies.for_channel(name).slow));
        self.channel_mut(id).joining += 1;
        id
    }

    /// Notes that the owner answered a join.
    pub fn join_ends(&mut self, id: ChannelId) {
        let channel = self.channel_mut(id);
        assert!(channel.joining > 0, "an answer to a join that nobody asked for");
        channel.joining -= 1;
    }

    /// Adds a subscriber that joined at `offset`; returns its place.
    pub fn subscribe(&mut self, id: ChannelId, slot: u32, offset: u64) -> u32 {
        self.subscriptions += 1;
        self.channel_mut(id).subscribers.join(slot, offset)
    }

    /// Takes a subscriber out; see [`Subscribers::leave`].
    pub fn unsubscribe(&mut self, id: ChannelId, position: u32) -> [Option<super::subscribers::Moved>; 2] {
        self.subscriptions -= 1;
        self.channel_mut(id).subscribers.leave(position)
    }

    /// Forgets the channel when nobody follows it any more and nobody is about to; returns its name for the owner.
    pub fn forget_if_unused(&mut self, id: ChannelId) -> Option<Arc<str>> {
        let channel = self.channel(id);
        if channel.joining > 0 || !channel.subscribers.is_empty() {
            return None;
        }
        let name = channel.name.clone();
        self.table.remove(&name, id.0);
        self.channels.remove(id.0);
        self.table.shrink(|id| &self.channels[id].name);
        Some(name)
    }

    /// Every channel, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.channels.iter()
    }

    /// Places to visit for all channels to be seen.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.channels.slots()
    }

    /// The channel in a place, if the place is taken.
    #[must_use]
    pub fn in_slot(&self, slot: usize) -> Option<&Channel> {
        self.channels.get(slot as u32)
    }

    /// The table's memory, without what the channels in it own.
    #[must_use]
    pub fn extent(&self) -> Extent {
        self.channels.extent()
    }

    /// Bytes on the heap of the hashes that find a channel by its name.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.table.heap_bytes()
    }

    fn insert(&mut self, name: &str, slow: Slow) -> ChannelId {
        let id = self.channels.insert(Channel {
            name: name.into(),
            joining: 0,
            slow,
            subscribers: Subscribers::default(),
        });
        self.table.insert(name, id, |id| &self.channels[id].name);
        ChannelId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_lives_as_long_as_somebody_follows_it_or_is_about_to() {
        let mut channels = Channels::new(Names::new(3));
        let policies = Policies::default();
        let id = channels.join_begins("a", &policies);
        assert_eq!(channels.join_begins("a", &policies), id);
        assert_eq!(channels.forget_if_unused(id), None);
        channels.join_ends(id);
        channels.join_ends(id);
        let position = channels.subscribe(id, 5, 0);
        assert_eq!((channels.forget_if_unused(id), channels.subscriptions()), (None, 1));
        assert_eq!(channels.unsubscribe(id, position), [None, None]);
        assert_eq!(channels.forget_if_unused(id).as_deref(), Some("a"));
        assert!(channels.is_empty());
        assert_eq!(channels.find("a"), None);
    }
}
