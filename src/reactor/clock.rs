//! The one clock of the node; shards get its moments as arguments.

use crate::clock::Now;
use std::time::{Duration, Instant, SystemTime};

/// Counts from the start of the node.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts counting.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// This moment. One reading a turn serves everything in it.
    #[must_use]
    pub fn now(self) -> Now {
        self.at(Instant::now())
    }

    /// That moment, which is the present one, for who measures from it as well.
    #[must_use]
    pub fn at(self, instant: Instant) -> Now {
        let mono_ms = START_MS + instant.duration_since(self.started).as_millis() as u64;
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms, wall_ms: wall.as_millis() as u64 }
    }

    /// How long from `now` to a moment that a shard asked for.
    #[must_use]
    pub fn until(now: Now, mono_ms: u64) -> Duration {
        Duration::from_millis(mono_ms.saturating_sub(now.mono_ms))
    }
}

/// The node starts this late on its own clock, so that 0 is long ago.
const START_MS: u64 = 3_600_000;
