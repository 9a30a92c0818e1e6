//! The channels of one connection. One takes no heap; more share one allocation. Must never know their names.

use super::places::Places;
use crate::dialect::cursor::Cursor;
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

/// The subscriptions of one connection. Only those that know where their client stands keep an order.
#[derive(Debug, Default)]
pub enum Subscriptions {
    /// Not subscribed to anything.
    #[default]
    None,
    /// One channel: by far the commonest, kept inline.
    One(Subscription),
    /// Several.
    Many(Box<Vec<Subscription>>),
    /// One channel, and where the client stands in it.
    OneAt(Box<(Subscription, Cursor)>),
    /// Several, and where the client stands in each.
    ManyAt(Box<Places>),
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
            Self::OneAt(place) => slice::from_ref(&place.0),
            Self::ManyAt(places) => places.subscriptions(),
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Subscription] {
        match self {
            Self::None => &mut [],
            Self::One(subscription) => slice::from_mut(subscription),
            Self::Many(subscriptions) => subscriptions,
            Self::OneAt(place) => slice::from_mut(&mut place.0),
            Self::ManyAt(places) => places.subscriptions_mut(),
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
            Self::OneAt(_) | Self::ManyAt(_) => unreachable!("a place is missing"),
        }
    }

    /// As [`Subscriptions::insert`], with the place where the client stands; all of a connection have one, or none has.
    pub fn insert_at(&mut self, subscription: Subscription, cursor: Cursor) {
        match self {
            Self::None => *self = Self::OneAt(Box::new((subscription, cursor))),
            Self::OneAt(first) => {
                let mut places = Box::<Places>::default();
                places.push(first.0, first.1);
                places.push(subscription, cursor);
                *self = Self::ManyAt(places);
            }
            Self::ManyAt(places) => places.push(subscription, cursor),
            Self::One(_) | Self::Many(_) => unreachable!("a place without others"),
        }
    }

    /// Each with the place where the client stands, in the order in which it named them; none where no places are kept.
    pub fn places(&self) -> impl Iterator<Item = (Subscription, Cursor)> {
        let (one, many) = match self {
            Self::OneAt(place) => (Some(**place), None),
            Self::ManyAt(places) => (None, Some(places.iter())),
            Self::None | Self::One(_) | Self::Many(_) => (None, None),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Notes where the client stands in `channel` now, if places are kept.
    pub fn stand(&mut self, channel: ChannelId, cursor: Cursor) {
        match self {
            Self::OneAt(place) if place.0.channel == channel => place.1 = cursor,
            Self::ManyAt(places) => {
                let at = places.subscriptions().iter().position(|one| one.channel == channel);
                if let Some(at) = at {
                    places.cursors_mut()[at] = cursor;
                }
            }
            Self::None | Self::One(_) | Self::Many(_) | Self::OneAt(_) => {}
        }
    }

    /// Keeps the place of a single channel no more: every event of it will carry its own.
    pub fn forget_single_place(&mut self) {
        if let Self::OneAt(place) = self {
            *self = Self::One(place.0);
        }
    }

    /// Moves the subscription to `channel` to another place in the subscriber list.
    pub fn reposition(&mut self, channel: ChannelId, position: u32) {
        match self.as_mut_slice().iter_mut().find(|one| one.channel == channel) {
            Some(subscription) => subscription.position = position,
            None => unreachable!("the hub moved a subscriber that does not know the channel"),
        }
    }

    /// Puts the first `count` behind the others.
    pub fn rotate(&mut self, count: usize) {
        match self {
            Self::None | Self::One(_) | Self::OneAt(_) => {}
            Self::Many(subscriptions) => {
                let count = count.min(subscriptions.len());
                subscriptions.rotate_left(count);
            }
            Self::ManyAt(places) => places.rotate(count),
        }
    }

    /// Takes out the subscription to `channel`. Only a WebSocket gives up one alone: those with places end together.
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
            Self::OneAt(_) | Self::ManyAt(_) => unreachable!("channels with places end together"),
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
            Self::OneAt(_) => size_of::<(Subscription, Cursor)>(),
            Self::ManyAt(places) => places.heap_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::cursor::Epoch;

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

    #[test]
    fn places_keep_the_order_in_which_channels_were_named() {
        let at = |offset| Cursor { epoch: Epoch(9), offset };
        let mut subscriptions = Subscriptions::default();
        subscriptions.insert_at(subscription(7, 0), at(1));
        assert_eq!(subscriptions.places().collect::<Vec<_>>(), [(subscription(7, 0), at(1))]);
        subscriptions.insert_at(subscription(3, 1), at(2));
        subscriptions.insert_at(subscription(5, 2), at(3));
        for count in [1, 2, 9, 2, 1] {
            subscriptions.rotate(count);
            let offsets: Vec<u64> = subscriptions.places().map(|(_, cursor)| cursor.offset).collect();
            assert_eq!(offsets, [1, 2, 3]);
        }
        subscriptions.stand(ChannelId(3), at(8));
        subscriptions.reposition(ChannelId(5), 6);
        let named = [(subscription(7, 0), at(1)), (subscription(3, 1), at(8)), (subscription(5, 6), at(3))];
        assert_eq!(subscriptions.places().collect::<Vec<_>>(), named);
    }

    #[test]
    fn a_single_place_is_small_and_can_be_given_up() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.insert_at(subscription(7, 0), Cursor { epoch: Epoch(9), offset: 1 });
        assert_eq!(subscriptions.heap_bytes(), 24);
        subscriptions.forget_single_place();
        assert_eq!((subscriptions.heap_bytes(), subscriptions.as_slice()), (0, &[subscription(7, 0)][..]));
    }
}
