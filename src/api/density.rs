//! `GET /debug/density`: where the bytes of a connection are, against what the kernel says that the process takes.
//! Must never measure anything: shards, kernel and allocator have spoken already.
//!
//! ```text
//!   RSS = parts of the shards + overhead + program + slack + unexplained          kernel: on top of it
//!         └─ what they asked of ─┘   │          │       │         └ stacks, static data; below 0: counted, not resident
//!            the allocator           │          │       └ freed, kept by the allocator for later, and resident
//!                                    │          └ pages of the program file and of libraries
//!                                    └ headers and rounding of allocations, and the few that no shard made
//! ```

use super::answers::Reply;
use crate::metrics::heap::Heap;
use crate::metrics::memory::{Allocator, Process, SocketObjects, Tcp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All that was measured, at about one moment: a node that works moves meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Shards.
    pub shards: u64,
    /// Connections of all shards.
    pub connections: u64,
    /// The heap of all shards.
    pub heap: Heap,
    /// The process now.
    pub process: Option<Process>,
    /// The process's RSS when it began to serve, in bytes.
    pub rss_at_start: Option<u64>,
    /// The allocator's books.
    pub allocator: Option<Allocator>,
    /// What the kernel makes for a connection.
    pub socket: SocketObjects,
    /// TCP on the host.
    pub tcp: Option<Tcp>,
}

/// The answer. What could not be measured is `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Density {
    /// Connections, in whatever phase.
    pub connections: u64,
    /// Shards that hold them.
    pub shards: u64,
    /// Resident set of the process.
    pub rss_bytes: Option<u64>,
    /// Proportional set: what the process takes if what it shares with others is divided.
    pub pss_bytes: Option<u64>,
    /// The resident set when the node began to serve.
    pub rss_at_start_bytes: Option<u64>,
    /// What was added to the resident set since: the process's own memory for its connections.
    pub grown: Option<Figure>,
    /// What takes memory, by what it is for.
    pub parts: Parts,
    /// Freed, and kept by the allocator for later: as much of it as is resident.
    pub slack: Option<Figure>,
    /// All parts and the slack.
    pub sum: Figure,
    /// RSS less the sum.
    pub unexplained: Option<Figure>,
    /// Ends of large tables and buffers, allocated and never written to: they take addresses and no memory, and are in no
    /// part.
    pub reserved_bytes: u64,
    /// What the kernel takes on top of the process's memory.
    pub kernel: Kernel,
}

/// Bytes, and each connection's part of them to a tenth; `null` while there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// All of them.
    pub bytes: i64,
    /// By connections.
    pub bytes_per_connection: Option<f64>,
}

/// The parts: those of [`Heap`], and two that no shard knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is described in Heap, and in what `Parts::list` says of it")]
pub struct Parts {
    pub slab: Figure,
    pub boxes: Figure,
    pub queues: Figure,
    pub subscriptions: Figure,
    pub channels: Figure,
    pub channels_owned: Figure,
    pub history: Figure,
    pub mailboxes: Figure,
    pub fixed: Figure,
    pub overhead: Option<Figure>,
    pub program: Option<Figure>,
}

/// The kernel's objects for the connections, and TCP on the whole host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// One set of `objects` for each connection.
    #[serde(flatten)]
    pub figure: Figure,
    /// Where the sizes of the objects come from: `slabinfo`, this kernel's own, or `documented`, those of Linux 6.18.
    pub sizes: Sizes,
    /// Bytes of each object that an accepted socket in an epoll set is made of, by the name of its slab cache.
    pub objects: BTreeMap<String, u64>,
    /// TCP sockets of this network namespace, those of other processes included.
    pub tcp_sockets: Option<u64>,
    /// Bytes queued in TCP sockets of the whole host, of which idle connections have none.
    pub tcp_queued_bytes: Option<u64>,
}

/// Where the sizes of the kernel's objects come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sizes {
    /// `/proc/slabinfo`, which takes root to read.
    Slabinfo,
    /// What Linux 6.18 takes on x86-64.
    Documented,
}

impl Density {
    /// Adds up.
    #[must_use]
    pub fn new(measured: &Measured) -> Self {
        let Measured { connections, heap, process, allocator, .. } = measured;
        let figure = |bytes: i64| Figure::new(bytes, *connections);
        // What is handed out and not asked for by a shard. The books are read a moment later than the shards.
        let overhead = allocator.map(|books| books.in_use.saturating_sub(heap.allocated()));
        let slack = allocator.zip(*process).map(|(books, process)| slack(books, process, heap.reserved));
        let parts = Parts::new(heap, overhead, process.map(|process| process.program), figure);
        let listed = parts.list().into_iter().filter_map(|(_, part, _)| part);
        let sum = listed.map(|part| part.bytes).sum::<i64>() + slack.unwrap_or(0) as i64;
        let rss = process.map(|process| process.rss);
        let less = |bytes: i64| rss.map(|rss| figure(rss as i64 - bytes));
        Self {
            connections: *connections,
            shards: measured.shards,
            rss_bytes: rss,
            pss_bytes: process.and_then(|process| process.pss),
            rss_at_start_bytes: measured.rss_at_start,
            grown: measured.rss_at_start.and_then(|start| less(start as i64)),
            parts,
            slack: slack.map(|bytes| figure(bytes as i64)),
            sum: figure(sum),
            unexplained: less(sum),
            reserved_bytes: heap.reserved,
            kernel: Kernel::new(measured),
        }
    }

    /// The answer to `GET /debug/density`.
    #[must_use]
    pub fn reply(&self) -> Reply {
        Reply::json(200, self)
    }
}

/// Free bytes that the allocator holds, as far as they can be resident: what of the anonymous pages is not in use. Those
/// that it gave back and those that nobody touched take no memory.
fn slack(books: Allocator, process: Process, reserved: u64) -> u64 {
    let in_use = books.in_use.saturating_sub(reserved);
    process.anonymous().saturating_sub(in_use).min(books.free)
}

impl Figure {
    /// Divides `bytes` among `connections`.
    #[must_use]
    pub fn new(bytes: i64, connections: u64) -> Self {
        let tenths = (bytes as f64 * 10.0 / connections as f64).round();
        Self { bytes, bytes_per_connection: (connections > 0).then_some(tenths / 10.0) }
    }
}

impl Parts {
    pub(super) fn new(
        heap: &Heap,
        overhead: Option<u64>,
        program: Option<u64>,
        figure: impl Fn(i64) -> Figure,
    ) -> Self {
        let figure = |bytes: u64| figure(bytes as i64);
        Self {
            slab: figure(heap.slab),
            boxes: figure(heap.boxes),
            queues: figure(heap.queues),
            subscriptions: figure(heap.subscriptions),
            channels: figure(heap.channels),
            channels_owned: figure(heap.channels_owned),
            history: figure(heap.history),
            mailboxes: figure(heap.mailboxes),
            fixed: figure(heap.fixed),
            overhead: overhead.map(figure),
            program: program.map(figure),
        }
    }

    /// Every part with its name and what it is, in the order of the answer.
    #[must_use]
    pub fn list(&self) -> [(&'static str, Option<Figure>, &'static str); 11] {
        [
            ("slab", Some(self.slab), "one slot for each connection"),
            ("boxes", Some(self.boxes), "partial heads and messages of active connections"),
            ("queues", Some(self.queues), "what waits to be written"),
            ("subscriptions", Some(self.subscriptions), "channels of connections, subscribers of channels"),
            ("channels", Some(self.channels), "followed channels: table and names"),
            ("channels_owned", Some(self.channels_owned), "numbered channels: table and names"),
            ("history", Some(self.history), "publications kept for those who come back"),
            ("mailboxes", Some(self.mailboxes), "mail between threads"),
            ("fixed", Some(self.fixed), "buffers and work lists of the shards"),
            ("overhead", self.overhead, "the allocator's headers and rounding, and what is no shard's"),
            ("program", self.program, "pages of the program file and of libraries"),
        ]
    }
}

impl Kernel {
    fn new(measured: &Measured) -> Self {
        let SocketObjects { measured: own_sizes, objects } = &measured.socket;
        let of_one: u64 = objects.iter().map(|(_, bytes)| bytes).sum();
        Self {
            figure: Figure::new((of_one * measured.connections) as i64, measured.connections),
            sizes: if *own_sizes { Sizes::Slabinfo } else { Sizes::Documented },
            objects: objects.iter().map(|&(name, bytes)| (name.to_owned(), bytes)).collect(),
            tcp_sockets: measured.tcp.map(|tcp| tcp.sockets),
            tcp_queued_bytes: measured.tcp.map(|tcp| tcp.queued),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        Measured {
            shards: 2,
            connections: 1000,
            heap: Heap {
                slab: 64_000,
                subscriptions: 8_000,
                channels: 500,
                fixed: 131_072,
                reserved: 40_000,
                ..Heap::default()
            },
            process: Some(Process { rss: 5_000_000, pss: Some(4_900_000), program: 4_000_000 }),
            rss_at_start: Some(4_700_000),
            allocator: Some(Allocator { in_use: 300_000, free: 900_000 }),
            socket: SocketObjects { measured: true, objects: vec![("TCP", 2520), ("filp", 195)] },
            tcp: Some(Tcp { sockets: 2001, queued: 8192 }),
        }
    }

    #[test]
    fn the_sum_and_what_it_does_not_explain_are_the_resident_set() {
        let density = Density::new(&measured());
        // Of what the allocator handed out, 243,572 were asked for by shards.
        assert_eq!(density.parts.overhead.map(|part| part.bytes), Some(56_428));
        // Anonymous are 1,000,000, of which 260,000 are in use and touched.
        assert_eq!(density.slack.map(|slack| slack.bytes), Some(740_000));
        assert_eq!(density.sum.bytes, 203_572 + 56_428 + 4_000_000 + 740_000);
        assert_eq!(density.unexplained.map(|rest| rest.bytes), Some(0));
        assert_eq!(density.grown, Some(Figure { bytes: 300_000, bytes_per_connection: Some(300.0) }));
        assert_eq!(density.parts.slab, Figure { bytes: 64_000, bytes_per_connection: Some(64.0) });
        assert_eq!(density.kernel.figure, Figure { bytes: 2_715_000, bytes_per_connection: Some(2715.0) });
    }

    #[test]
    fn slack_is_no_more_than_the_allocator_holds_and_the_rest_stays_unexplained() {
        let books = Allocator { in_use: 300_000, free: 100_000 };
        let density = Density::new(&Measured { allocator: Some(books), ..measured() });
        assert_eq!(density.slack.map(|slack| slack.bytes), Some(100_000));
        assert_eq!(density.unexplained.map(|rest| rest.bytes), Some(640_000));
        // More counts as in use than is resident: the difference is not hidden.
        let books = Allocator { in_use: 1_500_000, free: 0 };
        let density = Density::new(&Measured { allocator: Some(books), ..measured() });
        assert_eq!(density.unexplained.map(|rest| rest.bytes), Some(-460_000));
    }

    #[test]
    fn what_could_not_be_measured_is_null_and_no_connection_has_no_part() {
        let silent = Measured {
            connections: 0,
            process: None,
            rss_at_start: None,
            allocator: None,
            tcp: None,
            ..measured()
        };
        let text = String::from_utf8(Density::new(&silent).reply().body).unwrap();
        for member in [
            r#""rss_bytes":null"#,
            r#""grown":null"#,
            r#""overhead":null"#,
            r#""slack":null"#,
            r#""unexplained":null"#,
            r#""slab":{"bytes":64000,"bytes_per_connection":null}"#,
            r#""kernel":{"bytes":0,"bytes_per_connection":null,"sizes":"slabinfo""#,
        ] {
            assert!(text.contains(member), "{member} is missing in {text}");
        }
    }

    #[test]
    fn who_reads_the_answer_gets_what_was_written() {
        let density = Density::new(&measured());
        assert_eq!(serde_json::from_slice::<Density>(&density.reply().body).unwrap(), density);
    }
}
