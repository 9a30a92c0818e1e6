//! The channels of one connection. One takes no heap; more share one allocation. Must never know their names.

use std::slice;

/// A channel of this shard: its place in the hub's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub u32);

/// One subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// The channel.
    pub channel: ChannelId,
    /// The connection's place in the channel's subscriber list; the name of a join until the owner answered it.
    pub position: u32,
}

impl Subscription {
    /// A subscription that the owner has not answered yet. `serial` tells it from one to the same channel that was
    /// given up before its answer came.
    #[must_use]
    pub const fn joining(channel: ChannelId, serial: u32) -> Self {
        Self { channel, position: serial | JOINING }
    }

    /// Whether the owner has not answered yet.
    #[must_use]
    pub const fn is_joining(self) -> bool {
        self.position & JOINING != 0
    }
}

/// No list is so long that a position has this bit.
const JOINING: u32 = 1 << 31;

/// The subscriptions of one connection, in no particular order.
#[derive(Debug, Default)]
pub enum Subscriptions {
    /// Not subscribed to anything.
    #[default]
    None,
    /// One channel: by far the commonest, kept inline.
    One(Subscription),
    /// Several.
    Many(Box<Vec<Subscription>>),
}

const _: () = assert!(size_of::<Subscriptions>() <= 16);

impl Subscriptions {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Subscription] {
        match self {
            Self::None => &[],
            Self::One(subscription) => slice::from_ref(subscription),
            Self::Many(subscriptions) => subscriptions,
        }
    }

    /// The one to `channel`.
    #[must_use]
    pub fn find(&self, channel: ChannelId) -> Option<Subscription> {
        self.as_slice().iter().find(|subscription| subscription.channel == channel).copied()
    }

    /// Adds one. The caller knows that the channel is new and that the bound is kept.
    pub fn insert(&mut self, subscription: Subscription) {
        match self {
            Self::None => *self = Self::One(subscription),
            Self::One(first) => *self = Self::Many(Box::new(vec![*first, subscription])),
            Self::Many(subscriptions) => subscriptions.push(subscription),
        }
    }

    /// Moves the subscription to `channel` to another place in the subscriber list.
    pub fn reposition(&mut self, channel: ChannelId, position: u32) {
        let found = match self {
            Self::None => None,
            Self::One(subscription) => Some(subscription),
            Self::Many(subscriptions) => subscriptions.iter_mut().find(|one| one.channel == channel),
        };
        match found {
            Some(subscription) if subscription.channel == channel => subscription.position = position,
            Some(_) | None => unreachable!("the hub moved a subscriber that does not know the channel"),
        }
    }

    /// Puts the first `count` behind the others.
    pub fn rotate(&mut self, count: usize) {
        match self {
            Self::None | Self::One(_) => {}
            Self::Many(subscriptions) => {
                let count = count.min(subscriptions.len());
                subscriptions.rotate_left(count);
            }
        }
    }

    /// Takes out the subscription to `channel`.
    pub fn remove(&mut self, channel: ChannelId) -> Option<Subscription> {
        let removed = self.find(channel)?;
        match self {
            Self::None => {}
            Self::One(_) => *self = Self::None,
            Self::Many(subscriptions) => {
                subscriptions.retain(|subscription| subscription.channel != channel);
                if let [last] = subscriptions[..] {
                    *self = Self::One(last);
                }
            }
        }
        Some(removed)
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::None | Self::One(_) => 0,
            Self::Many(subscriptions) => {
                size_of::<Vec<Subscription>>() + subscriptions.capacity() * size_of::<Subscription>()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(channel: u32, position: u32) -> Subscription {
        Subscription { channel: ChannelId(channel), position }
    }

    #[test]
    fn one_subscription_takes_no_heap_and_many_shrink_back_to_it() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.insert(subscription(7, 0));
        assert_eq!(subscriptions.heap_bytes(), 0);
        subscriptions.insert(subscription(8, 1));
        assert!(subscriptions.heap_bytes() > 0);
        subscriptions.reposition(ChannelId(8), 5);
        assert_eq!(subscriptions.remove(ChannelId(7)), Some(subscription(7, 0)));
        assert_eq!(subscriptions.remove(ChannelId(7)), None);
        assert_eq!(subscriptions.heap_bytes(), 0);
        assert_eq!(subscriptions.as_slice(), [subscription(8, 5)]);
        assert_eq!(subscriptions.remove(ChannelId(8)), Some(subscription(8, 5)));
        assert!(subscriptions.as_slice().is_empty());
    }
}
