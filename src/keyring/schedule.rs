//! When a key set is looked at: when its answer says, sooner where a token names a key that is not in it, later and later
//! where it cannot be had. Must never look itself, nor ask a clock.

use crate::limits::{
    KEY_SET_KEEP_MS, KEY_SET_KEEP_MS_MAX, KEY_SET_KEEP_MS_MIN, KEY_SET_PAUSE_MS, KEY_SET_RETRY_MS,
    KEY_SET_RETRY_MS_MAX,
};

/// The moments of looks. All times are in milliseconds since some moment that does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    /// When the last look ended.
    looked_ms: u64,
    /// When the next one is due.
    due_ms: u64,
    /// Failures since the last success.
    failures: u32,
}

impl Schedule {
    /// A look is due at once.
    pub(super) const fn new(now_ms: u64) -> Self {
        Self { looked_ms: now_ms, due_ms: now_ms, failures: 0 }
    }

    /// Time until the next look.
    pub(super) const fn wait_ms(&self, now_ms: u64) -> u64 {
        self.due_ms.saturating_sub(now_ms)
    }

    /// A look found a set that may be kept for so many seconds, as its answer says.
    pub(super) fn found(&mut self, now_ms: u64, keep_s: Option<u64>) {
        let asked_ms = keep_s.map_or(KEY_SET_KEEP_MS, |seconds| seconds.saturating_mul(1000));
        let keep_ms = asked_ms.clamp(KEY_SET_KEEP_MS_MIN, KEY_SET_KEEP_MS_MAX);
        *self = Self { looked_ms: now_ms, due_ms: now_ms + keep_ms, failures: 0 };
    }

    /// A look found nothing. `random` is from 0 to 1: nodes that lost the same set at the same moment come back at different
    /// ones.
    pub(super) fn failed(&mut self, now_ms: u64, random: f64) {
        let doubled_ms = KEY_SET_RETRY_MS.saturating_mul(1 << self.failures.min(16));
        let wait_ms = doubled_ms.min(KEY_SET_RETRY_MS_MAX);
        let spread_ms = wait_ms / 2 + (wait_ms as f64 / 2.0 * random.clamp(0.0, 1.0)) as u64;
        *self =
            Self { looked_ms: now_ms, due_ms: now_ms + spread_ms, failures: self.failures.saturating_add(1) };
    }

    /// Somebody showed a token whose key is unknown: it may have come into the set since the last look. However many do that,
    /// there is a pause between two looks.
    pub(super) fn missed(&mut self) {
        self.due_ms = self.due_ms.min(self.looked_ms + KEY_SET_PAUSE_MS);
    }
}

/// How many seconds an answer with this `Cache-Control` may be kept (RFC 9111 §5.2.2); None where it does not say.
pub(super) fn keep_s(cache_control: &str) -> Option<u64> {
    let mut keep_s = None;
    for directive in cache_control.split(',') {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(0),
            "max-age" => keep_s = keep_s.or_else(|| seconds(value.trim().trim_matches('"'))),
            _ => {}
        }
    }
    keep_s
}

/// A number of seconds; one that is too large for us counts as the largest (RFC 9111 §1.2.2).
fn seconds(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE_MS: u64 = 60_000;

    fn found(keep_s: Option<u64>) -> Schedule {
        let mut schedule = Schedule::new(0);
        schedule.found(1000, keep_s);
        schedule
    }

    #[test]
    fn the_answer_says_when_to_look_again_within_bounds() {
        assert_eq!(Schedule::new(5).wait_ms(5), 0);
        for (keep_s, minutes) in
            [(None, 10), (Some(0), 1), (Some(59), 1), (Some(3600), 60), (Some(u64::MAX), 24 * 60)]
        {
            assert_eq!(found(keep_s).wait_ms(1000), minutes * MINUTE_MS, "{keep_s:?}");
        }
    }

    #[test]
    fn an_unknown_key_brings_the_next_look_forward_and_a_thousand_do_no_more() {
        let mut schedule = found(Some(3600));
        schedule.missed();
        assert_eq!(schedule.wait_ms(1000), KEY_SET_PAUSE_MS);
        assert_eq!(schedule.wait_ms(20 * MINUTE_MS), 0, "the last look is long ago");
        let mut again = schedule;
        (0..1000).for_each(|_| again.missed());
        assert_eq!(again, schedule);
    }

    #[test]
    fn failures_wait_longer_and_longer_and_a_success_forgets_them() {
        let mut schedule = Schedule::new(0);
        let mut waits = Vec::new();
        for _ in 0..9 {
            schedule.failed(0, 1.0);
            waits.push(schedule.wait_ms(0) / 1000);
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        schedule.failed(0, 0.0);
        assert_eq!(schedule.wait_ms(0), 150_000, "at least half of it");
        schedule.found(0, None);
        schedule.failed(0, 1.0);
        assert_eq!(schedule.wait_ms(0), 5_000);
    }

    #[test]
    fn an_unknown_key_while_the_set_cannot_be_had_does_not_wait_for_the_longest_time() {
        let mut schedule = Schedule::new(0);
        (0..9).for_each(|_| schedule.failed(0, 1.0));
        schedule.missed();
        assert_eq!(schedule.wait_ms(0), KEY_SET_PAUSE_MS);
    }

    #[test]
    fn how_long_an_answer_may_be_kept_is_read_as_browsers_do() {
        for (header, expected) in [
            ("max-age=300", Some(300)),
            ("public, max-age=22766, must-revalidate, no-transform", Some(22766)),
            ("Max-Age=5", Some(5)),
            ("max-age=\"7\"", Some(7)),
            ("max-age=1, max-age=2", Some(1)),
            ("max-age=99999999999999999999999", Some(u64::MAX)),
            ("no-store", Some(0)),
            ("max-age=300, no-cache", Some(0)),
            ("", None),
            ("private", None),
            ("max-age", None),
            ("max-age=-1", None),
            ("max-age=1.5", None),
            ("s-maxage=300", None),
            ("max-agent=300", None),
        ] {
            assert_eq!(keep_s(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_a_look_is_due_within_a_day_and_never_more_often_than_the_pause_allows(
            events in prop::collection::vec((0u8..3, any::<Option<u64>>(), 0.0f64..1.0), 1..40),
        ) {
            let mut schedule = Schedule::new(0);
            for (event, keep_s, random) in events {
                match event {
                    0 => schedule.found(0, keep_s),
                    1 => schedule.failed(0, random),
                    _ => schedule.missed(),
                }
                prop_assert!(schedule.wait_ms(0) <= KEY_SET_KEEP_MS_MAX);
                if event < 2 {
                    prop_assert!(schedule.wait_ms(0) >= KEY_SET_RETRY_MS / 2);
                }
            }
        }
    }
}
