//! Every figure that a plan rests on, and where it was measured. `tests/plan.rs` holds them against those pages. Must never hold
//! a figure that nobody measured.

use serde::Serialize;

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it is of.
    pub what: &'static str,
    /// The page that says so.
    pub source: &'static str,
}

const DENSITY: &str = "benches/results/density.md";
const FANOUT: &str = "benches/results/fanout.md";
const POLLING: &str = "benches/results/polling.md";

/// The kernel's part of an idle connection.
pub const KERNEL: Measured =
    Measured { value: 4143.0, unit: "B", what: "kernel, an idle connection", source: DENSITY };
/// roost's own part where all follow one channel.
pub const OWN_SHARED: Measured = Measured {
    value: 80.0,
    unit: "B",
    what: "roost, an idle connection, one channel for all",
    source: DENSITY,
};
/// roost's own part where each follows a channel of its own.
pub const OWN_EACH: Measured =
    Measured { value: 271.0, unit: "B", what: "roost, an idle connection, a channel each", source: DENSITY };
/// The process before the first connection.
pub const START: Measured =
    Measured { value: 10_380_902.0, unit: "B", what: "roost before the first connection", source: DENSITY };
/// A ping and its answer.
pub const PING: Measured =
    Measured { value: 12.9, unit: "µs", what: "a ping and its pong", source: DENSITY };
/// What the first byte that waits for a connection takes of `tcp_mem`: 9,475 pages for 9,500 clients.
pub const WAITING: Measured = Measured {
    value: 4096.0,
    unit: "B",
    what: "a publication that waits for a connection",
    source: "tuning/README.md",
};
/// Connections of one node, and what one delivery of a publication to all of them takes: it grows with their number, for
/// caches hold fewer of them.
pub const DELIVERY: [(u64, Measured); 4] = [
    (1_000, delivery(2.35, "a delivery of 64 B, 1,000 subscribers")),
    (10_000, delivery(3.51, "a delivery of 64 B, 10,000 subscribers")),
    (100_000, delivery(6.11, "a delivery of 64 B, 100,000 subscribers")),
    (1_000_000, delivery(11.1, "a delivery of 64 B, 1,000,000 subscribers")),
];
/// The same where each follows a channel of its own.
pub const DELIVERY_EACH: Measured = delivery(10.23, "a delivery of 64 B, a channel each");
/// Data bytes of those deliveries.
pub const DELIVERY_DATA_BYTES: u64 = 64;
/// The most connections that one node was measured with.
pub const CONNECTIONS: Measured =
    Measured { value: 1_000_000.0, unit: "", what: "connections of one node", source: DENSITY };
/// A poll without news, on a connection that is kept.
pub const POLL_KEPT: Measured =
    Measured { value: 15.3, unit: "µs", what: "a poll, its connection kept", source: POLLING };
/// A poll without news, on a connection of its own.
pub const POLL_NEW: Measured =
    Measured { value: 44.4, unit: "µs", what: "a poll, a connection for each", source: POLLING };
/// The shortest request of a poll.
pub const POLL_REQUEST: Measured =
    Measured { value: 96.0, unit: "B", what: "the shortest request of a poll", source: POLLING };
/// The answer to a poll without news.
pub const POLL_ANSWER: Measured =
    Measured { value: 179.0, unit: "B", what: "the answer to a poll without news", source: POLLING };

const fn delivery(value: f64, what: &'static str) -> Measured {
    Measured { value, unit: "µs", what, source: FANOUT }
}
