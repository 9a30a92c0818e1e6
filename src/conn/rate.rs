//! The pace of one peer in four bytes: the generic cell rate algorithm (ITU-T I.371). Must never ask a clock.

use crate::clock::Now;

/// When the peer's next message would be due if it kept exactly to its rate, in milliseconds since the node
/// started, modulo 2³². A peer that was quiet is due in the past and has its whole burst.
#[derive(Debug, Clone, Copy)]
pub struct Rate(u32);

/// How a message stands against the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Within rate and burst.
    Within,
    /// Over the burst: refuse this one.
    Over,
    /// Over it by as much again: the peer does not listen.
    Flood,
}

impl Rate {
    /// A peer that begins now, with its whole burst. Not at zero: every 49 days that is a moment just ahead.
    #[must_use]
    pub const fn new(now: Now) -> Self {
        Self(now.mono_ms as u32)
    }

    /// Counts one message. Messages over the burst count too, so that a peer that ignores the refusal is a flood.
    pub fn count(&mut self, now: Now, per_second: u32, burst: u32) -> Pace {
        let interval_ms = (1000 / per_second.max(1)).max(1);
        let now_ms = now.mono_ms as u32;
        let window_ms = interval_ms.saturating_mul(burst);
        let flood_ms = window_ms.saturating_mul(2);
        let ahead_ms = match self.0.wrapping_sub(now_ms) {
            // Nobody gets further ahead than into the flood: the peer was due in the past, maybe a wrap ago.
            ahead_ms if ahead_ms > flood_ms => 0,
            ahead_ms => ahead_ms,
        };
        if ahead_ms >= flood_ms {
            return Pace::Flood;
        }
        self.0 = now_ms.wrapping_add(ahead_ms).wrapping_add(interval_ms);
        if ahead_ms < window_ms { Pace::Within } else { Pace::Over }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    #[test]
    fn a_burst_passes_then_the_rate_then_a_flood_is_named() {
        let mut rate = Rate::new(at(0));
        for message in 0..100 {
            assert_eq!(rate.count(at(5), 50, 100), Pace::Within, "message {message}");
        }
        for message in 0..100 {
            assert_eq!(rate.count(at(5), 50, 100), Pace::Over, "message {message}");
        }
        assert_eq!(rate.count(at(5), 50, 100), Pace::Flood);
    }

    #[test]
    fn a_newcomer_has_its_whole_burst_also_just_before_the_counter_wraps() {
        for ahead in [1, 100, 1999, 3999, 4000] {
            let now = at((1 << 32) - ahead);
            let mut rate = Rate::new(now);
            for message in 0..100 {
                assert_eq!(rate.count(now, 50, 100), Pace::Within, "{ahead} ms before, message {message}");
            }
        }
    }

    #[test]
    fn a_steady_peer_at_the_rate_is_never_refused() {
        let mut rate = Rate::new(at(0));
        for message in 0..10_000u64 {
            assert_eq!(rate.count(at(message * 20), 50, 100), Pace::Within);
        }
    }

    #[test]
    fn a_peer_that_was_quiet_has_its_burst_again_also_after_the_counter_wrapped() {
        let mut rate = Rate::new(at(0));
        for start in [0, 10_000, u64::from(u32::MAX) - 50, u64::from(u32::MAX) + 60_000] {
            for message in 0..100 {
                assert_eq!(rate.count(at(start), 50, 100), Pace::Within, "at {start}, message {message}");
            }
        }
    }
}
