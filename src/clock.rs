//! What time it is, as an argument. Must never ask a clock: the reactor stamps one [`Now`] a turn.

/// Milliseconds in one [`Tick`].
pub const TICK_MS: u64 = 100;

/// One moment, taken once a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the node started; never goes back.
    pub mono_ms: u64,
    /// Milliseconds since the Unix epoch, for `timestamp` members.
    pub wall_ms: u64,
}

/// A coarse moment that fits into a connection: [`TICK_MS`] units since the node started, enough for 13 years.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u32);

impl Now {
    /// This moment, rounded down to a tick.
    #[must_use]
    pub const fn tick(self) -> Tick {
        Tick((self.mono_ms / TICK_MS) as u32)
    }
}

impl Tick {
    /// The first tick that begins at `ms` or later, in milliseconds since the node started.
    #[must_use]
    pub const fn not_before(ms: u64) -> Self {
        Self(ms.div_ceil(TICK_MS) as u32)
    }

    /// Milliseconds from this tick to `now`; 0 when it lies in the future.
    #[must_use]
    pub const fn elapsed_ms(self, now: Now) -> u64 {
        now.mono_ms.saturating_sub(self.start_ms())
    }

    /// The moment this tick begins, in milliseconds since the node started.
    #[must_use]
    pub const fn start_ms(self) -> u64 {
        self.0 as u64 * TICK_MS
    }
}
