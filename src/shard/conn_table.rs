//! The connections of one shard: a slab with generations. Must never hand out a connection to a stale token.

use crate::clock::{Now, Tick};
use crate::conn::Conn;
use crate::conn::ages::Ages;
use crate::conn::out_queue::OutQueue;
use crate::lag::Lags;
use crate::metrics::heap::Extent;
use crate::table::Table;
use std::ops::{Index, IndexMut};

/// Names one connection for as long as it lives; afterwards it finds nothing, even when the slot is taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    /// The place in the slab.
    pub slot: u32,
    /// Which of the slot's connections.
    pub generation: u32,
}

impl Token {
    /// As the reactor's poll carries it.
    #[must_use]
    pub const fn to_usize(self) -> usize {
        (self.generation as usize) << 32 | self.slot as usize
    }

    /// Back from the reactor's poll.
    #[must_use]
    pub const fn from_usize(value: usize) -> Self {
        Self { slot: value as u32, generation: (value >> 32) as u32 }
    }
}

/// All connections of a shard.
#[derive(Debug)]
pub struct ConnTable<S> {
    table: Table<Conn<S>>,
    /// Gives out the generations.
    ages: Ages,
    /// What they have queued.
    lags: Lags,
}

impl<S> Default for ConnTable<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> ConnTable<S> {
    /// An empty table; takes no memory.
    #[must_use]
    pub fn new() -> Self {
        Self { table: Table::default(), ages: Ages::default(), lags: Lags::default() }
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Slots to visit for all connections to be seen: where the clock hand turns round.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.table.slots()
    }

    /// Adds a connection.
    pub fn insert(&mut self, socket: S, now: Now) -> Token {
        let generation = self.ages.next(now);
        let slot = self.table.insert(Conn::new(socket, generation, now));
        Token { slot, generation }
    }

    /// The connection that a token names, if it still lives.
    pub fn find(&self, token: Token) -> Option<&Conn<S>> {
        self.table.get(token.slot).filter(|conn| conn.generation == token.generation)
    }

    /// As [`ConnTable::find`], to change it.
    pub fn find_mut(&mut self, token: Token) -> Option<&mut Conn<S>> {
        self.table.get_mut(token.slot).filter(|conn| conn.generation == token.generation)
    }

    /// The connection in a slot, if the slot is taken.
    pub fn in_slot(&self, slot: u32) -> Option<&Conn<S>> {
        self.table.get(slot)
    }

    /// How old they are.
    #[must_use]
    pub fn ages(&self) -> &Ages {
        &self.ages
    }

    /// How many connections came after the one in a slot.
    #[must_use]
    pub fn rank(&self, slot: u32) -> u32 {
        self.ages.rank(self.table[slot].generation)
    }

    /// When the connection in a slot was opened; late by a 64th of its age at most.
    #[must_use]
    pub fn opened(&self, slot: u32) -> Tick {
        self.ages.opened(self.table[slot].generation)
    }

    /// What they have queued, each by its slot, and all together.
    #[must_use]
    pub fn lags(&self) -> &Lags {
        &self.lags
    }

    /// Changes a connection's queue; see [`Conn::change_queue`].
    pub fn change_queue<T>(&mut self, slot: u32, change: impl FnOnce(&mut OutQueue, &mut S) -> T) -> T {
        self.table[slot].change_queue(&mut self.lags, slot, change)
    }

    /// Throws a connection's box away, whatever is in it.
    pub fn deactivate(&mut self, slot: u32) {
        self.table[slot].deactivate(&mut self.lags, slot);
    }

    /// Frees a slot. The socket lives on with what is returned.
    pub fn remove(&mut self, slot: u32) -> Conn<S> {
        self.deactivate(slot);
        self.table.remove(slot)
    }

    /// The table's memory.
    #[must_use]
    pub fn extent(&self) -> Extent {
        self.table.extent()
    }
}

/// Whoever holds a slot knows that it is taken.
impl<S> Index<u32> for ConnTable<S> {
    type Output = Conn<S>;

    fn index(&self, slot: u32) -> &Conn<S> {
        &self.table[slot]
    }
}

impl<S> IndexMut<u32> for ConnTable<S> {
    fn index_mut(&mut self, slot: u32) -> &mut Conn<S> {
        &mut self.table[slot]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_token_finds_nothing_although_its_slot_is_taken_again() {
        let mut table = ConnTable::new();
        let old = table.insert("old", Now::default());
        table.remove(old.slot);
        let new = table.insert("new", Now::default());
        assert_eq!(old.slot, new.slot);
        assert!(table.find(old).is_none());
        assert_eq!(table.find(new).map(|conn| conn.socket), Some("new"));
        assert_eq!(Token::from_usize(new.to_usize()), new);
    }
}
