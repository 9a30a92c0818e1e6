//! Leaf: how many connections a host carries, and into how many descriptor tables they go. Arithmetic alone: must
//! never ask the host itself.

use crate::limits::{CONN_MEMORY_BYTES, QUEUE_TOTAL_BYTES_MAX, REFUSED_MAX, REFUSED_PART, SHARDS_MAX};
use std::fmt;

/// What was measured of the host. Descriptors are per table, everything else is for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Descriptors that one table may hold: `RLIMIT_NOFILE`, raised as far as it goes.
    pub descriptors: usize,
    /// Whether threads may take tables of their own.
    pub separable: bool,
    /// Open files that the host still allows: `fs.file-max` less those that are open.
    pub files: usize,
    /// Open files that the host allows at all: `fs.file-max`.
    pub files_max: usize,
    /// Bytes of memory, that of the control group if it is less.
    pub memory_bytes: usize,
}

/// Where the connections go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Shards, each a thread.
    pub shards: usize,
    /// Whether each shard has a descriptor table of its own.
    pub own_tables: bool,
    /// Connections that one shard may hold.
    pub conns_per_shard_max: usize,
    /// Connections that the node may hold.
    pub conns_max: usize,
    /// Refused clients that may linger at one shard.
    pub refused_per_shard_max: usize,
}

/// The first limit in the way: what it carries, and how high it would have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// `RLIMIT_NOFILE`.
    Descriptors {
        /// Descriptors that one table may hold.
        limit: usize,
        /// Tables that could be had.
        tables: usize,
        /// Connections that they carry.
        fit: usize,
        /// The limit that would be enough.
        needed: usize,
    },
    /// The host's open files.
    Files {
        /// Connections that they carry.
        fit: usize,
        /// The `fs.file-max` that would be enough.
        needed: usize,
    },
    /// The host's memory, or that of the control group.
    Memory {
        /// How much there is, in bytes.
        bytes: usize,
        /// Connections that it carries.
        fit: usize,
        /// The bytes that would be enough.
        needed: usize,
    },
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Descriptors { limit, tables, fit, needed } => {
                match tables {
                    1 => write!(f, "a table of {limit} descriptors carries {fit}")?,
                    _ => write!(f, "{tables} tables of {limit} descriptors carry {fit}")?,
                }
                write!(
                    f,
                    "; raise the hard limit with `ulimit -Hn {needed}`, \
                     or LimitNOFILE={needed} in a systemd unit"
                )
            }
            Self::Files { fit, needed } => {
                write!(f, "fs.file-max carries {fit} more; raise it with `sysctl -w fs.file-max={needed}`")
            }
            Self::Memory { bytes, fit, needed } => write!(
                f,
                "{} MiB of memory carry {fit} at {CONN_MEMORY_BYTES} bytes each, most of it the kernel's; add memory, \
                 spread over more nodes, or raise the limit of the systemd unit with `systemctl set-property UNIT \
                 MemoryMax={}M`",
                bytes / MIB,
                needed.div_ceil(MIB)
            ),
        }
    }
}

/// What `--max-connections` is when nobody says: what one table carries, if files and memory suffice for that.
#[must_use]
pub fn unasked(shards: usize, host: Host) -> usize {
    // Others on the host open files as well, also between this look and the next.
    let files = host.files - host.files / FILES_SPARED;
    one_table(shards, host).min(files).min(host.memory_bytes / CONN_MEMORY_BYTES)
}

/// What `--queue-total` is when nobody says: a part of the memory, in whole MiB.
#[must_use]
pub fn queue_total_bytes(host: Host) -> usize {
    let part = host.memory_bytes / QUEUE_TOTAL_PART;
    (part - part % MIB).clamp(MIB, QUEUE_TOTAL_BYTES_MAX)
}

/// Connections that one table carries for all shards.
#[must_use]
pub fn one_table(shards: usize, host: Host) -> usize {
    // Each shard has a poll, a waker and a listener there, and those whom it refused.
    let per_shard = 3 + lingering(shards, host);
    let overhead = shards.saturating_mul(per_shard).saturating_add(DESCRIPTORS_OTHER + DESCRIPTORS_API);
    host.descriptors.saturating_sub(overhead)
}

/// Connections that a shard's own table carries, and those of `shards` such tables together.
fn own_tables(shards: usize, host: Host) -> (usize, usize) {
    // All polls, wakers and listeners are made before the threads part, in the table that there is then.
    if 3 * shards + DESCRIPTORS_OTHER > host.descriptors {
        return (0, 0);
    }
    // Every table holds every shard's waker.
    let per_table = host.descriptors.saturating_sub(shards + DESCRIPTORS_OTHER + lingering(1, host));
    (per_table, shards * (per_table - per_table / EVENNESS))
}

/// Refused clients that may linger at each of the shards that share a table.
fn lingering(sharing: usize, host: Host) -> usize {
    (host.descriptors / REFUSED_PART / sharing.max(1)).min(REFUSED_MAX)
}

/// Finds room for `wanted` connections on at least `shards` shards.
///
/// Where one table is too small, every shard takes its own and there are as many as the sum needs: `RLIMIT_NOFILE` bounds
/// a table, not a process. Where that is refused, the plan is for what one table carries.
///
/// # Errors
/// The first limit that even so is too small.
pub fn plan(wanted: usize, shards: usize, host: Host) -> Result<Plan, Shortage> {
    if wanted > host.files {
        let missing = wanted - host.files;
        return Err(Shortage::Files { fit: host.files, needed: host.files_max.saturating_add(missing) });
    }
    let in_memory = host.memory_bytes / CONN_MEMORY_BYTES;
    if wanted > in_memory {
        let needed = wanted.saturating_mul(CONN_MEMORY_BYTES);
        return Err(Shortage::Memory { bytes: host.memory_bytes, fit: in_memory, needed });
    }
    let one_table = one_table(shards, host);
    if one_table > 0 && (wanted <= one_table || !host.separable) {
        let conns_max = wanted.min(one_table);
        return Ok(Plan {
            shards,
            own_tables: false,
            conns_per_shard_max: conns_max,
            conns_max,
            refused_per_shard_max: lingering(shards, host),
        });
    }
    in_own_tables(wanted, shards, host).ok_or_else(|| {
        let (tables, fit) = most(shards, SHARDS_MAX, host);
        Shortage::Descriptors { limit: host.descriptors, tables, fit, needed: needed(wanted, shards, host) }
    })
}

/// The plan with the fewest shards that have tables of their own and carry `wanted` connections.
fn in_own_tables(wanted: usize, shards: usize, host: Host) -> Option<Plan> {
    let mut plans = (shards..=SHARDS_MAX).filter(|_| host.separable).map(|shards| {
        let (per_table, carried) = own_tables(shards, host);
        let plan = Plan {
            shards,
            own_tables: true,
            conns_per_shard_max: per_table,
            conns_max: wanted,
            refused_per_shard_max: lingering(1, host),
        };
        (plan, carried)
    });
    plans.find(|(_, carried)| *carried >= wanted).map(|(plan, _)| plan)
}

/// The most connections that descriptors carry on at least `shards` and at most `shards_max` shards; none where not even
/// the first number of them may be had.
#[must_use]
pub fn carried(shards: usize, shards_max: usize, host: Host) -> usize {
    if shards > shards_max { 0 } else { most(shards, shards_max.min(SHARDS_MAX), host).1 }
}

/// The most connections that descriptors carry in any way, and in how many tables. More tables are not always more
/// room: every table holds every shard's waker.
fn most(shards: usize, shards_max: usize, host: Host) -> (usize, usize) {
    let own =
        (shards..=shards_max).filter(|_| host.separable).map(|shards| (shards, own_tables(shards, host).1));
    own.chain([(1, one_table(shards, host))]).max_by_key(|&(_, carried)| carried).unwrap_or_default()
}

/// The least limit of a table, in steps that people like, under which `wanted` connections fit.
fn needed(wanted: usize, shards: usize, host: Host) -> usize {
    let fits = |descriptors| carried(shards, SHARDS_MAX, Host { descriptors, ..host }) >= wanted;
    let (mut low, mut high) = (host.descriptors, host.descriptors + 1);
    while !fits(high) {
        (low, high) = (high, high.saturating_mul(2));
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) { high = middle } else { low = middle }
    }
    high.next_multiple_of(LIMIT_STEP)
}

/// The kernel spreads clients over shards by chance, so tables fill unevenly: one part in this many stays in reserve.
const EVENNESS: usize = 20;
/// A limit is told as a multiple of this.
const LIMIT_STEP: usize = 64;
/// One part in this many of the memory may be queued to connections.
const QUEUE_TOTAL_PART: usize = 4;
const MIB: usize = 1024 * 1024;
/// One part in this many of the files that the host still allows is left to others when nobody asked for a number.
const FILES_SPARED: usize = 16;
/// A thread's own poll, listener and reserve, what every table has of the control thread, the standard streams, and a
/// few to spare.
const DESCRIPTORS_OTHER: usize = 24;
/// Connections to the API for which there is always a descriptor, where clients share the table.
const DESCRIPTORS_API: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Host = Host {
        descriptors: 20_000,
        separable: true,
        files: usize::MAX,
        files_max: usize::MAX,
        memory_bytes: 24 << 30,
    };

    #[test]
    fn a_quarter_of_the_memory_may_be_queued_and_a_host_that_does_not_say_has_enough() {
        let queued = |memory_bytes| queue_total_bytes(Host { memory_bytes, ..HOST });
        assert_eq!([queued((24 << 30) + 5), queued(512 << 20)], [6 << 30, 128 << 20]);
        assert_eq!([queued(1), queued(usize::MAX)], [MIB, QUEUE_TOTAL_BYTES_MAX]);
    }

    #[test]
    fn what_nobody_asked_for_always_fits_into_one_table() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            let shards = rng.usize(1..=SHARDS_MAX);
            let host = Host {
                descriptors: 1 << rng.u32(9..31),
                separable: rng.bool(),
                files: 1 << rng.u32(9..40),
                files_max: usize::MAX,
                memory_bytes: 1 << rng.u32(25..50),
            };
            let conns = unasked(shards, host);
            let plan =
                plan(conns, shards, host).unwrap_or_else(|short| panic!("{shards} on {host:?}: {short}"));
            assert_eq!((plan.shards, plan.own_tables, plan.conns_max), (shards, false, conns));
        }
    }

    #[test]
    fn one_table_is_enough_for_few() {
        let plan = plan(10_000, 2, HOST).unwrap();
        let expected = Plan {
            shards: 2,
            own_tables: false,
            conns_per_shard_max: 10_000,
            conns_max: 10_000,
            refused_per_shard_max: REFUSED_MAX,
        };
        assert_eq!(plan, expected);
    }

    #[test]
    fn a_million_takes_as_many_tables_as_the_sum_needs() {
        let plan = plan(1_000_000, 2, HOST).unwrap();
        assert!(plan.own_tables);
        assert_eq!(plan.conns_max, 1_000_000);
        assert!(plan.shards * plan.conns_per_shard_max > 1_040_000, "{plan:?}");
        assert!(plan.shards <= 54, "{plan:?}");
    }

    #[test]
    fn ten_thousand_fit_under_a_limit_of_1024() {
        let plan = plan(10_000, 2, Host { descriptors: 1024, ..HOST }).unwrap();
        assert!(plan.own_tables && plan.shards <= 12, "{plan:?}");
    }

    #[test]
    fn without_tables_of_their_own_shards_hold_what_one_table_carries() {
        let plan = plan(50_000, 2, Host { separable: false, ..HOST }).unwrap();
        assert!(!plan.own_tables);
        assert!((19_000..20_000).contains(&plan.conns_max), "{plan:?}");
    }

    #[test]
    fn the_first_limit_is_named_with_what_it_allows_and_how_to_lift_it() {
        let told = |wanted, host| plan(wanted, 2, host).unwrap_err().to_string();
        assert_eq!(
            told(1_000_000, Host { files: 500_000, files_max: 600_000, ..HOST }),
            "fs.file-max carries 500000 more; raise it with `sysctl -w fs.file-max=1100000`"
        );
        assert_eq!(
            told(1_000_000, Host { memory_bytes: 1 << 30, ..HOST }),
            "1024 MiB of memory carry 255652 at 4200 bytes each, most of it the kernel's; add memory, spread over more \
             nodes, or raise the limit of the systemd unit with `systemctl set-property UNIT MemoryMax=4006M`"
        );
        assert_eq!(
            told(1_000_000, Host { descriptors: 1024, ..HOST }),
            "128 tables of 1024 descriptors carry 102144; raise the hard limit with `ulimit -Hn 8448`, or \
             LimitNOFILE=8448 in a systemd unit"
        );
        assert_eq!(
            told(10, Host { descriptors: 40, separable: false, ..HOST }),
            "a table of 40 descriptors carries 0; raise the hard limit with `ulimit -Hn 128`, or LimitNOFILE=128 in a \
             systemd unit"
        );
    }

    #[test]
    fn what_a_limit_is_said_to_allow_it_allows_and_once_it_is_lifted_the_next_one_is_in_the_way_or_none() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut seen = [0; 3];
        for _ in 0..20_000 {
            let (wanted, shards) = (1 << rng.u32(..24) | rng.usize(..1000), rng.usize(1..=8));
            let files_max = 1 << rng.u32(9..40);
            let host = Host {
                descriptors: rng.usize(1..2000) << rng.u32(..5),
                separable: rng.bool(),
                files: files_max - rng.usize(..500),
                files_max,
                memory_bytes: 1 << rng.u32(20..40),
            };
            let Err(shortage) = plan(wanted, shards, host) else { continue };
            let told = format!("{wanted} on {shards} shards of {host:?}: {shortage}");
            let (kind, fit, lifted) = match shortage {
                Shortage::Files { fit, needed } => {
                    (0, fit, Host { files: host.files + (needed - files_max), files_max: needed, ..host })
                }
                Shortage::Memory { fit, needed, .. } => (1, fit, Host { memory_bytes: needed, ..host }),
                Shortage::Descriptors { fit, needed, .. } => (2, fit, Host { descriptors: needed, ..host }),
            };
            seen[kind] += 1;
            assert!(fit < wanted, "{told}");
            let kind_of = |outcome: Result<Plan, Shortage>| match outcome {
                Ok(plan) => Ok(plan.conns_max),
                Err(Shortage::Files { .. }) => Err(0),
                Err(Shortage::Memory { .. }) => Err(1),
                Err(Shortage::Descriptors { .. }) => Err(2),
            };
            assert_eq!(kind_of(plan(fit + 1, shards, host)), Err(kind), "one more is too many: {told}");
            assert!(fit == 0 || kind_of(plan(fit, shards, host)) != Err(kind), "it allows less: {told}");
            assert!(kind_of(plan(wanted, shards, lifted)) != Err(kind), "the command is not enough: {told}");
        }
        assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
    }
}
