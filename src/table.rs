//! A slab whose keys are four bytes, that knows how far it ever reached, and that gives its memory back with the last entry.
//! Must never know what is in it.

use crate::metrics::heap::{Extent, slot_bytes};
use slab::Slab;
use std::ops::{Index, IndexMut};

/// Entries, each at a place of its own. An empty table takes no memory.
#[derive(Debug)]
pub struct Table<T> {
    slab: Slab<T>,
    /// One past the highest place that was taken since it last was empty.
    slots: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { slab: Slab::new(), slots: 0 }
    }
}

impl<T> Table<T> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Places to visit for all entries to be seen.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Adds an entry; returns its place.
    pub fn insert(&mut self, entry: T) -> u32 {
        let slot = self.slab.insert(entry);
        self.slots = self.slots.max(slot + 1);
        slot as u32
    }

    /// Takes an entry out. Whoever names a place knows that it is taken.
    pub fn remove(&mut self, slot: u32) -> T {
        let entry = self.slab.remove(slot as usize);
        if self.slab.is_empty() {
            *self = Self::default();
        }
        entry
    }

    /// The entry in a place, if the place is taken.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<&T> {
        self.slab.get(slot as usize)
    }

    /// As [`Table::get`], to change it.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slab.get_mut(slot as usize)
    }

    /// Every entry, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slab.iter().map(|(_, entry)| entry)
    }

    /// Its memory, without what the entries own.
    #[must_use]
    pub fn extent(&self) -> Extent {
        Extent::new(self.slots, self.slab.capacity(), slot_bytes::<T>())
    }
}

/// Whoever names a place knows that it is taken.
impl<T> Index<u32> for Table<T> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        &self.slab[slot as usize]
    }
}

impl<T> IndexMut<u32> for Table<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.slab[slot as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_how_far_it_reached_until_it_is_empty_and_then_takes_nothing() {
        let mut table = Table::default();
        let places: Vec<u32> = (0..100).map(|entry| table.insert(entry)).collect();
        places[1..].iter().for_each(|&place| assert_eq!(table.remove(place), place as i32));
        assert_eq!((table.len(), table.slots(), table.get(5)), (1, 100, None));
        assert!(table.extent().touched > 0);
        table.remove(places[0]);
        assert_eq!((table.slots(), table.extent()), (0, Extent::default()));
    }
}
