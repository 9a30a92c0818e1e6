//! What N connections want of each key. `tuning/tune` has the same formulas, with the reason for each (`knobs`);
//! `tests/tuning` holds the two together. Must never know what a host has.

use crate::limits::CONN_MEMORY_BYTES;

/// `fs.nr_open`.
#[must_use]
pub fn nr_open(connections: u64) -> u64 {
    // The kernel takes no more than INT_MAX, down to a multiple of 64 (fs/file.c).
    (connections * 6 / 5 + 65_536).next_power_of_two().clamp(1_048_576, 2_147_483_584)
}

/// `RLIMIT_NOFILE`.
#[must_use]
pub fn descriptors(connections: u64) -> u64 {
    (connections * 6 / 5 + 4096).min(nr_open(connections))
}

/// `fs.file-max`.
#[must_use]
pub fn files(connections: u64) -> u64 {
    connections * 3 / 2 + 262_144
}

/// `net.core.somaxconn`: what a listener of roost asks for.
pub const SOMAXCONN: u64 = 65_535;

/// `net.ipv4.tcp_max_syn_backlog`.
#[must_use]
pub fn syn_backlog(connections: u64) -> u64 {
    if connections < 1_000_000 { 65_535 } else { 262_144 }
}

/// Bytes of memory, of connections of which nobody sends anything.
#[must_use]
pub fn memory_bytes(connections: u64) -> u64 {
    connections * CONN_MEMORY_BYTES as u64
}

/// `MemoryMax=` of the node's unit, in bytes: the sockets' memory counts as the service's own. A page each while a publication
/// waits for all, and a quarter to spare.
#[must_use]
pub fn unit_memory_bytes(connections: u64) -> u64 {
    (memory_bytes(connections) + connections * 4096) * 5 / 4
}

/// `net.ipv4.tcp_mem`: two pages each, or half the memory.
#[must_use]
pub fn tcp_mem(connections: u64, memory_bytes: u64, page_bytes: u64) -> [u64; 3] {
    let pages = memory_bytes / page_bytes.max(1);
    let most = (connections * 2).min(pages / 2);
    [most / 2, most * 3 / 4, most]
}

/// `net.ipv4.tcp_max_orphans`.
#[must_use]
pub fn orphans(connections: u64) -> u64 {
    (connections / ORPHANS_PART).next_power_of_two()
}

/// `net.ipv4.tcp_max_tw_buckets`.
#[must_use]
pub fn time_wait(connections: u64) -> u64 {
    connections * TIME_WAIT_EACH
}

/// `net.netfilter.nf_conntrack_max`.
#[must_use]
pub fn conntrack(connections: u64) -> u64 {
    connections * 13 / 10
}

/// First and last of `net.ipv4.ip_local_port_range`.
pub const PORTS: [u64; 2] = [1024, 65_535];
/// `vm.overcommit_memory` at most.
pub const OVERCOMMIT: u64 = 1;
/// One connection in so many leaves unfinished while a node drains.
pub const ORPHANS_PART: u64 = 4;
/// A drain leaves a connection in TIME-WAIT, and those who come back are drained once more.
pub const TIME_WAIT_EACH: u64 = 2;
