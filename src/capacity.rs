//! Leaf: how many connections a host carries, and into how many descriptor tables they go. Arithmetic alone: must
//! never ask the host itself.

use crate::limits::{CONN_MEMORY_BYTES, REFUSED_MAX, REFUSED_PART, SHARDS_MAX};
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

/// The first limit in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// One table is too small, and [`SHARDS_MAX`] of them are as well: the limit of one, and what they carry.
    Descriptors(usize, usize),
    /// The host's open files: what they carry.
    Files(usize),
    /// The host's memory: its bytes, and what it carries.
    Memory(usize, usize),
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Descriptors(limit, fit) => write!(
                f,
                "the limit of {limit} descriptors a table carries {fit}; raise the hard limit \
                 (`ulimit -Hn`, or LimitNOFILE= in a systemd unit)"
            ),
            Self::Files(fit) => {
                write!(
                    f,
                    "fs.file-max carries {fit} more open files; raise it with `sysctl -w fs.file-max=NUMBER`"
                )
            }
            Self::Memory(bytes, fit) => write!(
                f,
                "{} MiB of memory carry {fit} at {CONN_MEMORY_BYTES} bytes each, most of it the kernel's; \
                 add memory, raise MemoryMax= of the unit, or spread over more nodes",
                bytes / (1024 * 1024)
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
        return Err(Shortage::Files(host.files));
    }
    let in_memory = host.memory_bytes / CONN_MEMORY_BYTES;
    if wanted > in_memory {
        return Err(Shortage::Memory(host.memory_bytes, in_memory));
    }
    let one_table = one_table(shards, host);
    if wanted <= one_table || !host.separable {
        let conns_max = wanted.min(one_table);
        if conns_max == 0 {
            return Err(Shortage::Descriptors(host.descriptors, 0));
        }
        let refused_per_shard_max = lingering(shards, host);
        return Ok(Plan {
            shards,
            own_tables: false,
            conns_per_shard_max: conns_max,
            conns_max,
            refused_per_shard_max,
        });
    }
    for shards in shards..=SHARDS_MAX {
        let (per_table, carried) = own_tables(shards, host);
        if carried >= wanted {
            return Ok(Plan {
                shards,
                own_tables: true,
                conns_per_shard_max: per_table,
                conns_max: wanted,
                refused_per_shard_max: lingering(1, host),
            });
        }
    }
    let (_, carried) = own_tables(SHARDS_MAX, host);
    Err(Shortage::Descriptors(host.descriptors, carried.max(one_table)))
}

/// The kernel spreads clients over shards by chance, so tables fill unevenly: one part in this many stays in reserve.
const EVENNESS: usize = 20;
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

    const HOST: Host =
        Host { descriptors: 20_000, separable: true, files: usize::MAX, memory_bytes: 24 << 30 };

    #[test]
    fn what_nobody_asked_for_always_fits_into_one_table() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..10_000 {
            let shards = rng.usize(1..=SHARDS_MAX);
            let host = Host {
                descriptors: 1 << rng.u32(9..31),
                separable: rng.bool(),
                files: 1 << rng.u32(9..40),
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
        let files = plan(1_000_000, 2, Host { files: 500_000, ..HOST }).unwrap_err();
        assert_eq!(files, Shortage::Files(500_000));
        assert!(files.to_string().contains("sysctl -w fs.file-max"));
        let memory = plan(1_000_000, 2, Host { memory_bytes: 1 << 30, ..HOST }).unwrap_err();
        assert_eq!(memory, Shortage::Memory(1 << 30, (1 << 30) / CONN_MEMORY_BYTES));
        let descriptors = plan(1_000_000, 2, Host { descriptors: 1024, ..HOST }).unwrap_err();
        assert!(matches!(descriptors, Shortage::Descriptors(1024, fit) if fit > 100_000), "{descriptors:?}");
        assert_eq!(
            plan(10, 2, Host { descriptors: 40, separable: false, ..HOST }),
            Err(Shortage::Descriptors(40, 0))
        );
    }
}
