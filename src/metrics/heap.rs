//! What a shard's memory is spent on, as plain numbers, and how bytes are counted that nobody owns alone. Must never
//! know the allocator: these are bytes asked for, without its headers and rounding.

use std::ops::AddAssign;
use std::sync::Arc;

/// Bytes on the heap of one shard, or of several together, by what they are for. What several hold, a publication in many
/// queues or a name that the owner knows as well, is divided among its holders, as PSS divides shared pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heap {
    /// The connection table: one slot a connection, vacant ones included.
    pub slab: u64,
    /// Boxes of active connections: partial heads, partial messages.
    pub boxes: u64,
    /// What waits to be written: queues of connections, batches of channels, the latest for those who lag.
    pub queues: u64,
    /// Subscriptions from both sides: the channels of a connection, the subscribers of a channel.
    pub subscriptions: u64,
    /// Channels followed here: table, hashes, names.
    pub channels: u64,
    /// Channels numbered here: table, hashes, names, those that may be forgotten, ids of publications, who is present.
    pub channels_owned: u64,
    /// Publications kept for those who come back.
    pub history: u64,
    /// Mailboxes and outgoing mail.
    pub mailboxes: u64,
    /// Receive buffer, events, work lists of a turn: there whatever the number of connections.
    pub fixed: u64,
    /// In none of the parts: the ends of large tables and buffers, allocated and never written to. The kernel has given
    /// addresses for them, and no memory.
    pub reserved: u64,
}

impl Heap {
    /// The parts together: what takes memory.
    #[must_use]
    pub fn parts_sum(&self) -> u64 {
        let Self { slab, boxes, queues, subscriptions, channels, channels_owned, history, .. } = self;
        let Self { mailboxes, fixed, .. } = self;
        slab + boxes + queues + subscriptions + channels + channels_owned + history + mailboxes + fixed
    }

    /// All that was asked of the allocator.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.parts_sum() + self.reserved
    }
}

impl AddAssign for Heap {
    fn add_assign(&mut self, other: Self) {
        self.slab += other.slab;
        self.boxes += other.boxes;
        self.queues += other.queues;
        self.subscriptions += other.subscriptions;
        self.channels += other.channels;
        self.channels_owned += other.channels_owned;
        self.history += other.history;
        self.mailboxes += other.mailboxes;
        self.fixed += other.fixed;
        self.reserved += other.reserved;
    }
}

/// A table that is filled from its beginning, in bytes. One that doubles is up to half empty, and the pages behind its
/// last entry take no memory until something is written there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Up to the end of the page of the last entry that was ever there.
    pub touched: u64,
    /// Behind that.
    pub reserved: u64,
}

impl Extent {
    /// A table of `used` entries so far and room for `capacity` of them, of `entry_bytes` each.
    #[must_use]
    pub fn new(used: usize, capacity: usize, entry_bytes: usize) -> Self {
        let allocated = capacity * entry_bytes;
        let touched = (used * entry_bytes).next_multiple_of(PAGE_BYTES).min(allocated);
        Self { touched: touched as u64, reserved: (allocated - touched) as u64 }
    }
}

/// Bytes of a slot of a `slab::Slab<T>`, which may be larger than what it holds. A twin of the slab's own private type.
#[must_use]
pub const fn slot_bytes<T>() -> usize {
    #[allow(dead_code)] // only its size is of interest
    enum Slot<T> {
        Vacant(usize),
        Occupied(T),
    }
    size_of::<Slot<T>>()
}

/// One holder's part of what an [`Arc`] points to, its two counters included, in bytes rounded down.
#[must_use]
pub fn share_bytes<T: ?Sized>(shared: &Arc<T>) -> usize {
    let counters = 2 * size_of::<usize>();
    let allocated = (counters + size_of_val(&**shared)).next_multiple_of(align_of::<usize>());
    allocated / Arc::strong_count(shared)
}

/// The page that memory is given in: larger ones only make a guess of what was touched a little smaller than it is.
const PAGE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_table_is_touched_and_the_end_of_a_large_one_is_not() {
        assert_eq!(Extent::new(0, 4, 8), Extent { touched: 0, reserved: 32 });
        assert_eq!(Extent::new(1, 4, 8), Extent { touched: 32, reserved: 0 });
        assert_eq!(Extent::new(20_000, 32_768, 64), Extent { touched: 1_282_048, reserved: 815_104 });
        assert_eq!(Extent::new(7, 7, 4096), Extent { touched: 7 * 4096, reserved: 0 });
    }

    #[test]
    fn holders_divide_what_they_share() {
        let name: Arc<str> = "user:123".into();
        assert_eq!(share_bytes(&name), 24);
        let other = name.clone();
        assert_eq!(share_bytes(&name) + share_bytes(&other), 24);
        let frame: Arc<[u8]> = vec![0; 9].into();
        assert_eq!(share_bytes(&frame), 32);
    }

    #[test]
    fn the_parts_and_what_is_reserved_are_all_there_is() {
        let mut heap =
            Heap { slab: 1, boxes: 2, queues: 4, subscriptions: 8, channels: 16, ..Heap::default() };
        heap += Heap {
            channels_owned: 32,
            history: 64,
            mailboxes: 128,
            fixed: 256,
            reserved: 512,
            ..Heap::default()
        };
        assert_eq!((heap.parts_sum(), heap.allocated()), (511, 1023));
        heap += heap;
        assert_eq!(heap.allocated(), 2046);
    }
}
