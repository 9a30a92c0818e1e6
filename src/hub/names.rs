//! Channel names: one keyed hash that decides a channel's owner and finds it in the tables, which hold ids only,
//! so that a name is stored once. Must never use a hash that a client could foresee (SECURITY, hash flooding).

use super::ShardId;
use foldhash::quality::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// The node's hash of names.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    seed: u64,
}

impl Names {
    /// The hash keyed with `seed`, which clients must not learn.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The shard of `shards` that owns `channel`. Uses the upper half of the hash; the tables use the lower one.
    #[must_use]
    pub fn owner(self, channel: &str, shards: u16) -> ShardId {
        let spread = (self.hash(channel) >> 32) * u64::from(shards.max(1));
        ShardId((spread >> 32) as u16)
    }

    /// The hash of an id beside the place of its channel: publishers choose ids.
    #[must_use]
    pub fn hash_id(self, channel: u32, id: &str) -> u64 {
        FixedState::with_seed(self.seed).hash_one((channel, id))
    }

    fn hash(self, name: &str) -> u64 {
        FixedState::with_seed(self.seed).hash_one(name)
    }
}

/// A table from names to ids. The names themselves stand where the ids point.
#[derive(Debug)]
pub struct NameTable {
    names: Names,
    ids: HashTable<u32>,
}

impl NameTable {
    /// An empty table; takes no memory.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self { names, ids: HashTable::new() }
    }

    /// The id of `name`.
    pub fn find<'a>(&self, name: &str, name_of: impl Fn(u32) -> &'a str) -> Option<u32> {
        self.ids.find(self.names.hash(name), |&id| name_of(id) == name).copied()
    }

    /// Adds a name that is not there yet; `name_of` knows it already.
    pub fn insert<'a>(&mut self, name: &str, id: u32, name_of: impl Fn(u32) -> &'a str) {
        let names = self.names;
        self.ids.insert_unique(names.hash(name), id, |&id| names.hash(name_of(id)));
    }

    /// Takes a name out, while the id still points to it.
    pub fn remove(&mut self, name: &str, id: u32) {
        match self.ids.find_entry(self.names.hash(name), |&other| other == id) {
            Ok(entry) => _ = entry.remove(),
            Err(_) => unreachable!("a channel without a name in the table"),
        }
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.ids.allocation_size()
    }

    /// Gives memory back once most names are gone.
    pub fn shrink<'a>(&mut self, name_of: impl Fn(u32) -> &'a str) {
        if self.ids.is_empty() {
            self.ids = HashTable::new();
        } else if self.ids.capacity() > 4 * self.ids.len().max(64) {
            let names = self.names;
            self.ids.shrink_to(2 * self.ids.len(), |&id| names.hash(name_of(id)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_spread_evenly_and_stay_the_same() {
        let names = Names::new(7);
        let mut owned = [0; 50];
        for number in 0..50_000 {
            let name = format!("user:{number}");
            let owner = names.owner(&name, 50);
            assert_eq!(owner, names.owner(&name, 50));
            owned[usize::from(owner.0)] += 1;
        }
        assert!(owned.iter().all(|&count| (800..1200).contains(&count)), "{owned:?}");
    }

    #[test]
    fn names_are_found_removed_and_their_memory_returns() {
        let list: Vec<String> = (0..10_000).map(|number| format!("c{number}")).collect();
        let name_of = |id: u32| list[id as usize].as_str();
        let mut table = NameTable::new(Names::new(1));
        for (id, name) in list.iter().enumerate() {
            table.insert(name, id as u32, name_of);
        }
        let full = table.heap_bytes();
        for (id, name) in list.iter().enumerate() {
            assert_eq!(table.find(name, name_of), Some(id as u32));
            table.remove(name, id as u32);
            assert_eq!(table.find(name, name_of), None);
        }
        table.shrink(name_of);
        assert!(table.heap_bytes() < full / 2);
    }
}
