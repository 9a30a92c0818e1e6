//! How unkind a world is: every seed draws its own rates, and half of the rates are never.

use fastrand::Rng;
use roost::config::Span;
use roost::config::policy::{Policies, PolicyRule, Slow};
use roost::limits::{Limits, QUEUE_TOTAL_BYTES_MAX};
use std::collections::BTreeMap;

/// A chance of one in so many; 0 is never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Odds(u32);

impl Odds {
    pub(crate) fn hit(self, rng: &mut Rng) -> bool {
        self.0 > 0 && rng.u32(..self.0) == 0
    }

    pub(crate) fn is_never(self) -> bool {
        self.0 == 0
    }

    /// Never in half of all worlds; otherwise one in `often` at most.
    fn draw(rng: &mut Rng, often: u32) -> Self {
        Self(if rng.bool() { 0 } else { often + rng.u32(..often * 8) })
    }
}

/// What a socket does to a shard. The default is a good network.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SocketFaults {
    /// A read or write finds nothing although there is something.
    pub(crate) would_block: Odds,
    /// A read or write moves less than it could.
    pub(crate) short: Odds,
    /// A call is interrupted by a signal.
    pub(crate) interrupted: Odds,
}

/// What goes wrong in one world.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    pub(crate) socket: SocketFaults,
    /// Bytes cross the network one by one.
    pub(crate) trickle: bool,
    /// An event waits for a later wake.
    pub(crate) late_event: Odds,
    /// An event comes although nothing happened.
    pub(crate) spurious: Odds,
    /// An event comes for a connection that is gone.
    pub(crate) stale: Odds,
    /// Mail waits for a later wake.
    pub(crate) late_mail: Odds,
    /// A shard is woken for nothing.
    pub(crate) idle_wake: Odds,
    /// A shard takes another's mailbox for full, until its next wake.
    pub(crate) congested: Odds,
    /// A client stops reading for a while.
    pub(crate) stall: Odds,
    /// A client's machine goes away.
    pub(crate) reset: Odds,
    /// A client breaks the protocol, in one of many ways.
    pub(crate) garbage: Odds,
    /// A client sends more at once than one turn reads.
    pub(crate) bulk: Odds,
    /// Time passes all at once, past some or all timeouts.
    pub(crate) leap: Odds,
    /// At this step the node begins to drain.
    pub(crate) drain_at: Option<usize>,
    /// At this step some are told to go.
    pub(crate) thin_at: Option<usize>,
    /// Bytes that the kernel takes for a client that does not read.
    pub(crate) window: usize,
    /// Clients exceed the rate that they may send at.
    pub(crate) tight_rate: bool,
    /// So many clients come at once that a turn cannot serve them all.
    pub(crate) crowd: bool,
}

impl Faults {
    pub(crate) fn draw(rng: &mut Rng, steps: usize) -> Self {
        let crowd = rng.u8(..50) == 0;
        Self {
            socket: SocketFaults {
                would_block: Odds::draw(rng, 3),
                short: Odds::draw(rng, 2),
                interrupted: Odds::draw(rng, 8),
            },
            trickle: rng.u8(..5) == 0,
            late_event: Odds::draw(rng, 2),
            spurious: Odds::draw(rng, 10),
            stale: Odds::draw(rng, 10),
            late_mail: Odds::draw(rng, 2),
            idle_wake: Odds::draw(rng, 2),
            congested: Odds::draw(rng, 2),
            stall: Odds::draw(rng, 4),
            reset: Odds::draw(rng, 10),
            garbage: Odds::draw(rng, 8),
            bulk: Odds::draw(rng, 40),
            leap: Odds::draw(rng, 20),
            drain_at: (rng.u8(..6) == 0).then(|| rng.usize(..steps)),
            thin_at: (rng.u8(..6) == 0).then(|| rng.usize(..steps)),
            window: if crowd { 1 << 20 } else { pick(rng, &[1, 60, 700, 5_000, 64 * 1024, 1 << 20]) },
            tight_rate: rng.u8(..8) == 0,
            crowd,
        }
    }
}

/// Bounds of one world: small ones, so that they are met.
pub(crate) fn draw_limits(rng: &mut Rng, faults: &Faults) -> Limits {
    let queue_soft_bytes = if rng.u8(..8) == 0 { rng.usize(1..600) } else { rng.usize(1_000..12_000) };
    let ping_interval_ms = rng.u64(2_000..25_000);
    let queue_hard_bytes = queue_soft_bytes + rng.usize(..40_000);
    let tight_total = rng.u8(..3) == 0;
    let rate = if faults.tight_rate { rng.u32(5..20) } else { 1_000 };
    Limits {
        // One is as hard as it gets: everything may happen between any two of a list.
        pass_quantum_writes: rng.usize(1..=4),
        // Who is still here when the faults stop is needed.
        age_max_ms: 0,
        message_bytes_max: pick(rng, &[2_000, 20_000, 64 * 1024]),
        channels_per_conn_max: rng.usize(1..7),
        messages_per_second: rate,
        messages_burst: if faults.tight_rate { rate * 2 } else { 5_000 },
        queue_soft_bytes,
        queue_soft_for_ms: rng.u64(500..10_000),
        queue_hard_bytes,
        queue_total_bytes: if tight_total {
            queue_hard_bytes + rng.usize(..8_000)
        } else {
            QUEUE_TOTAL_BYTES_MAX
        },
        handshake_timeout_ms: rng.u64(1_000..10_000),
        ping_interval_ms,
        idle_timeout_ms: ping_interval_ms * 2 + rng.u64(2_000..20_000),
        close_timeout_ms: rng.u64(500..2_500),
        conns_per_shard_max: if rng.u8(..4) == 0 && !faults.crowd { rng.usize(1..5) } else { usize::MAX },
        history_bytes: pick(rng, &[0, 3_000, 30_000, 1 << 26, 1 << 26]),
        history_channel_bytes: pick(rng, &[1_000, 10_000, 1 << 22, 1 << 22]),
        // An id that is forgotten early may go out twice: that is for other tests.
        publish_ids: 1 << 20,
        publish_ids_bytes: 1 << 27,
    }
}

/// What clients may do, what is kept of which channel, and what becomes of slow readers.
pub(crate) fn draw_policies(rng: &mut Rng) -> Policies {
    let mut rule = |clients_may_publish| PolicyRule {
        clients_may_publish: Some(clients_may_publish),
        history: Some(pick(rng, &[0, 1, 5, 39, 39, 1_000, 1_000])),
        history_ttl: Some(Span::from_millis(pick(rng, &[0, 30, 1_000, 120_000, 120_000, 400_000]))),
        presence: Some(rng.bool()),
        slow: Some(pick(rng, &Slow::ALL)),
        auth: None,
    };
    let rules = [("", rule(false)), ("open:", rule(true)), ("open:long/", rule(true))];
    let rules = rules.map(|(prefix, rule)| (prefix.to_owned(), rule));
    Policies::new(&BTreeMap::from(rules)).expect("good prefixes")
}

/// One of these.
pub(crate) fn pick<T: Copy>(rng: &mut Rng, items: &[T]) -> T {
    items[rng.usize(..items.len())]
}
