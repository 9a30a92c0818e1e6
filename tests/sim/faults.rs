//! How unkind a world is: every seed draws its own rates.

use fastrand::Rng;

/// Chances between 0 and 1.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    /// A read or write finds nothing although there is something.
    pub(crate) would_block: f64,
    /// A read or write moves one byte.
    pub(crate) single_byte: f64,
    /// An event comes although nothing happened.
    pub(crate) spurious: f64,
    /// A client stops reading.
    pub(crate) stall: f64,
    /// A connection is reset.
    pub(crate) reset: f64,
    /// A client sends bytes that are no frames.
    pub(crate) garbage: f64,
    /// Time leaps past every timeout.
    pub(crate) leap: f64,
    /// A shard's mailbox is over its bound for a while.
    pub(crate) congestion: f64,
    /// The node begins to drain.
    pub(crate) drain: f64,
    /// Bytes that the kernel takes for a client that does not read.
    pub(crate) window: usize,
}

impl Faults {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut rate = |most: f64| if rng.bool() { rng.f64() * most } else { 0.0 };
        Self {
            would_block: rate(0.3),
            single_byte: rate(0.3),
            spurious: rate(0.1),
            stall: rate(0.02),
            reset: rate(0.01),
            garbage: rate(0.01),
            leap: rate(0.002),
            congestion: rate(0.02),
            drain: if rate(1.0) > 0.8 { 0.0005 } else { 0.0 },
            window: if rng.bool() { 200 + rng.usize(..2_000) } else { 1 << 20 },
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn none() -> Self {
        Self {
            would_block: 0.0,
            single_byte: 0.0,
            spurious: 0.0,
            stall: 0.0,
            reset: 0.0,
            garbage: 0.0,
            leap: 0.0,
            congestion: 0.0,
            drain: 0.0,
            window: 1 << 20,
        }
    }
}
