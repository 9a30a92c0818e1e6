//! Who is signed in, by the slot of the connection. Must never cost anything where nobody is.

use crate::tokens::Grant;

/// The grants of a shard's connections.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// By slot; as long as the last one that is signed in.
    slots: Vec<Option<Box<Signed>>>,
    /// How many are.
    count: usize,
}

/// A connection that is signed in.
#[derive(Debug)]
pub(super) struct Signed {
    /// What it may do.
    pub(super) grant: Grant,
    /// It was told that this ends soon.
    pub(super) warned: bool,
}

impl Grants {
    /// What the connection in a slot may do, if it is signed in.
    pub(super) fn get(&self, slot: u32) -> Option<&Grant> {
        self.slots.get(slot as usize)?.as_ref().map(|signed| &signed.grant)
    }

    /// As [`Grants::get`], to note that it was warned.
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Signed> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// Signs a connection in, or in anew; returns what it was allowed before.
    pub(super) fn insert(&mut self, slot: u32, grant: Grant) -> Option<Grant> {
        let at = slot as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        let before = self.slots[at].replace(Box::new(Signed { grant, warned: false }));
        self.count += usize::from(before.is_none());
        before.map(|signed| signed.grant)
    }

    /// Forgets a connection.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(signed) = self.slots.get_mut(slot as usize) else { return };
        self.count -= usize::from(signed.take().is_some());
        if self.count == 0 {
            self.slots = Vec::new();
        }
    }

    /// How many are signed in.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Bytes on the heap of the grant in a slot.
    pub(super) fn heap_bytes_in(&self, slot: u32) -> usize {
        self.get(slot).map_or(0, |grant| size_of::<Signed>() + grant.heap_bytes())
    }

    /// Bytes on the heap of the table itself.
    pub(super) fn table_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Box<Signed>>>()
    }
}
