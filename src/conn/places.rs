//! Subscriptions that know where their client stands: of a stream of events with several channels, whose every event carries all
//! the places, and of a poll, whose answer does. Must never lose the order in which the client named its channels.

use super::subscriptions::Subscription;
use crate::dialect::cursor::Cursor;

/// Several subscriptions, each with its place.
#[derive(Debug, Default)]
pub struct Places {
    subscriptions: Vec<Subscription>,
    /// Of each, up to where the client has everything, or was told of the gap.
    cursors: Vec<Cursor>,
    /// Where the one stands that the client named first.
    first: usize,
}

impl Places {
    /// The subscriptions, as they stand.
    #[must_use]
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// As [`Places::subscriptions`], to change them.
    pub fn subscriptions_mut(&mut self) -> &mut [Subscription] {
        &mut self.subscriptions
    }

    /// The places, as they stand.
    pub fn cursors_mut(&mut self) -> &mut [Cursor] {
        &mut self.cursors
    }

    /// Adds one that the client named behind the others. Before any [`Places::rotate`].
    pub fn push(&mut self, subscription: Subscription, cursor: Cursor) {
        debug_assert_eq!(self.first, 0, "channels are named before anything comes");
        self.subscriptions.push(subscription);
        self.cursors.push(cursor);
    }

    /// Puts the first `count` behind the others, whose turn comes next.
    pub fn rotate(&mut self, count: usize) {
        let len = self.subscriptions.len();
        let count = count.min(len);
        self.subscriptions.rotate_left(count);
        self.cursors.rotate_left(count);
        self.first = (self.first + len - count) % len.max(1);
    }

    /// Each with its place, in the order in which the client named them.
    pub fn iter(&self) -> impl Iterator<Item = (Subscription, Cursor)> {
        let pairs = || self.subscriptions.iter().copied().zip(self.cursors.iter().copied());
        pairs().skip(self.first).chain(pairs().take(self.first))
    }

    /// Bytes on the heap, its own box included.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.subscriptions.capacity() * size_of::<Subscription>()
            + self.cursors.capacity() * size_of::<Cursor>()
    }
}
